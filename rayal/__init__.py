"""rayal: distributed active-learning experiments on Ray, tracked in MLflow."""

__version__ = "0.4.0"
