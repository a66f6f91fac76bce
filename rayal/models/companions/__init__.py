"""Modules beside the model: teachers, discriminators, class statistics, a loss head, a graph."""
