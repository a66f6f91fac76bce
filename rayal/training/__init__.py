"""How a model is trained: feeds, augmentation, checkpoints, schemes."""
