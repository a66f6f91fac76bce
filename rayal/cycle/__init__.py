"""The active-learning cycle, stage by stage: train, evaluate, score, select, label."""
