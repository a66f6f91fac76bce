"""Modules beside the model: a teacher, a discriminator, class statistics, a loss head."""
