"""Which fields of an experiment decide what a run finds: the one list of them.

A run continues only with the same values; the arms of a sweep and of a report are told apart by
them; whatever else a file says may change at any time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rayal.storage.folder import Json

COMPUTE = ("device", "train_workers", "score_batch", "shard_rows")
"""Of `compute`, what decides the last bits of numbers, or the files of a pass."""
LATER = {"compile": False}
"""So does this. Fields added later are left out where they have these values: what was recorded
before them has none."""
LATER_OF_PARTS = {("scheme", "augment", "padding"): "black", ("model", "enlarge"): 1}
"""Likewise fields of parts, by the way to them."""
FREE = ("tracking", "max_bad", "keep")
"""Who watches, how many bad images are put up with, and what stays on the disk."""
PLACES = ("root", "store", "download")
"""Of `dataset`, where files lie; what they hold is in the fingerprint of the prepared data."""
REPEATED = ("name", "seed")
"""What runs of one arm differ in, or say of the question that they answer."""
BESIDE = ("observers",)
"""What is only recorded: it decides files of a run, and nothing that is compared between runs."""


def identifying(fields: Mapping[str, Any]) -> Json:
    """Of the fields of an experiment as `model_dump` and `experiment.yaml` have them, those that a
    run must have in common with what is there to continue it; `compute.device` and so on flat."""
    kept = {key: value for key, value in fields.items() if key not in ("compute", *FREE)}
    for way, value in LATER_OF_PARTS.items():
        kept = _without(kept, way, value)
    if isinstance(dataset := kept.get("dataset"), Mapping):
        kept["dataset"] = {key: value for key, value in dataset.items() if key not in PLACES}
    compute = fields.get("compute", {})
    decides = [key for key in COMPUTE if key in compute]
    decides += [key for key, value in LATER.items() if compute.get(key, value) != value]
    return kept | {f"compute.{key}": compute[key] for key in decides}


def of_arm(fields: Mapping[str, Any]) -> Json:
    """Of these, what tells arms apart: one arm's runs differ by seed only."""
    return {
        key: value for key, value in identifying(fields).items() if key not in (*REPEATED, *BESIDE)
    }


def _without(fields: Mapping[str, Any], way: Sequence[str], value: object) -> Json:
    """The same fields, less the one at the end of the way where it has this value."""
    key, *rest = way
    if rest and isinstance(inner := fields.get(key), Mapping):
        return {**fields, key: _without(inner, rest, value)}
    left_out = not rest and fields.get(key) == value
    return {name: each for name, each in fields.items() if not (left_out and name == key)}
