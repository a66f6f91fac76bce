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
LATER_OF_PARTS: dict[tuple[str, ...], object] = {
    ("scheme", "augment", "padding"): "black",
    ("scheme", "early_stopping"): None,
    ("model", "enlarge"): 1,
    ("guards", "min_distance"): None,
    ("guards", "per_class"): None,
    ("guards", "test_images"): "keep",
    ("guards", "same_images"): "keep",
    ("guards",): {},
    ("explore",): 0.0,
    ("score_transform",): "test",
    ("dataset", "test_label"): None,
    ("first",): {"name": "random"},
    ("labeled",): None,
    ("fine_tune",): None,
}
"""Likewise fields of the experiment and of its parts, by the way to them; what holds nothing then
is left out after them."""
FREE = ("tracking", "max_bad", "keep", "stop")
"""Who watches, how many bad images are put up with, what stays on the disk, and what ends a run
before its budget is spent: it decides no label that is bought before."""
PLACES = ("root", "store", "download")
"""Of `dataset`, where files lie; what they hold is in the fingerprint of the prepared data."""
ASKING = ("format", "images", "wait")
"""Of `oracle: people`, how they are asked and how long they are waited for."""
REPEATED = ("name", "seed")
"""What runs of one arm differ in, or say of the question that they answer."""
BESIDE = ("observers", "fine_tune")
"""What comes beside the curve or after it: it decides files of a run, and nothing of its curve."""
ADDED = "fine_tune"
"""What may be added to a run at any time, and changed as long as it has not begun."""


def identifying(fields: Mapping[str, Any]) -> Json:
    """Of the fields of an experiment as `model_dump` and `experiment.yaml` have them, those that a
    run must have in common with what is there to continue it; `compute.device` and so on flat."""
    kept = {key: value for key, value in fields.items() if key not in ("compute", *FREE)}
    for way, value in LATER_OF_PARTS.items():
        kept = _without(kept, way, value)
    kept = _without_places(kept)
    if isinstance(tuned := kept.get("fine_tune"), Mapping):
        kept["fine_tune"] = _without_places(tuned)
    if isinstance(oracle := kept.get("oracle"), Mapping) and oracle.get("name") == "people":
        kept["oracle"] = {key: value for key, value in oracle.items() if key not in ASKING}
    compute = fields.get("compute", {})
    decides = [key for key in COMPUTE if key in compute]
    decides += [key for key, value in LATER.items() if compute.get(key, value) != value]
    return kept | {f"compute.{key}": compute[key] for key in decides}


def of_arm(fields: Mapping[str, Any]) -> Json:
    """Of these, what tells arms apart: one arm's runs differ by seed only."""
    return {
        key: value for key, value in identifying(fields).items() if key not in (*REPEATED, *BESIDE)
    }


def _without_places(fields: Mapping[str, Any]) -> Json:
    if not isinstance(dataset := fields.get("dataset"), Mapping):
        return dict(fields)
    return {**fields, "dataset": {k: v for k, v in dataset.items() if k not in PLACES}}


def _without(fields: Mapping[str, Any], way: Sequence[str], value: object) -> Json:
    """The same fields, less the one at the end of the way where it has this value."""
    key, *rest = way
    if rest and isinstance(inner := fields.get(key), Mapping):
        return {**fields, key: _without(inner, rest, value)}
    left_out = not rest and fields.get(key) == value
    return {name: each for name, each in fields.items() if not (left_out and name == key)}
