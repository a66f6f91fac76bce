"""How a model is trained: one scheme per file."""
