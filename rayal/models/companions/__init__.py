"""Modules beside the model: a teacher, a discriminator, class statistics, a graph network."""
