"""Votes of annotators who are sometimes wrong, in a file as the oracle `recorded` reads it."""

from pathlib import Path

import numpy as np

from rayal.data.store import Store
from rayal.storage import csv_file


def write_votes(file: Path, store: Store, wrong: float, annotators: int = 3) -> None:
    """CSV, a row for each vote; so large a share of them names another class."""
    rng, classes = np.random.default_rng(0), store.card.classes
    rows = []
    for unit, label in store.labels("pool").items():
        for annotator in range(annotators):
            mistaken = rng.random() < wrong
            said = (label + rng.integers(1, len(classes))) % len(classes) if mistaken else label
            rows.append((unit, f"annotator-{annotator}", classes[int(said)]))
    file.write_text(csv_file.dump(["id", "annotator", "label"], rows), newline="")
