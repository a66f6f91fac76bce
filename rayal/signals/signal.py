"""The signals there are, and what each requires: of an experiment, of a pass, of a plan.

N images of a batch, C classes, D features; h w is the grid on which dense networks predict.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, cast, get_args

from rayal.errors import UsageError
from rayal.parts import suggest

SignalName = Literal[
    "images",
    "model",
    "grid_logits",
    "grid_entropy",
    "logits",
    "log_probs",
    "probs",
    "features",
    "embedding",
    "layers",
    "previous_probs",
    "gradient_norms",
    "mc_log_probs",
    "ensemble_log_probs",
    "companion",
    "noise",
]
SIGNAL_NAMES: frozenset[SignalName] = frozenset(get_args(SignalName))

Requirement = Literal[
    "pixels",
    "forward",
    "reference",
    "ensemble",
    "dropout",
    "dense",
    "companion",
    "weights",
    "training",
]
"""`pixels`: the images are read and decoded. `forward`: the model sees them. `reference`: so does
the strategy's other model. `ensemble`: so do the other members, of which there are some. `dropout`:
the model has layers that drop something. `dense`: the model predicts on a grid. `companion`: one
was trained beside the model. `weights`: it has some, by which gradients are taken. `training`: the
model was trained on labels; of one that was not it says nothing."""

Width = Literal["one", "classes", "features", "grid", "embedding"]
"""How many numbers a unit has: 1, C, D, 2 + h w, or as the companion's spec says."""


class Signal(NamedTuple):
    """What a strategy may read under this name; `Signals` computes it."""

    name: SignalName
    requires: frozenset[Requirement]
    width: Width = "classes"
    """Of a row that a pass keeps of it."""


def _signal(name: SignalName, *requires: Requirement, width: Width = "classes") -> Signal:
    return Signal(name, frozenset(requires), width)


SIGNALS: dict[SignalName, Signal] = {
    signal.name: signal
    for signal in (
        _signal("images", "pixels"),
        _signal("model", "pixels", "forward", "training"),
        _signal("grid_logits", "pixels", "forward", "training"),
        _signal("grid_entropy", "pixels", "forward", "dense", "training", width="grid"),
        _signal("logits", "pixels", "forward", "training"),
        _signal("log_probs", "pixels", "forward", "training"),
        _signal("probs", "pixels", "forward", "training"),
        _signal("features", "pixels", "forward", width="features"),
        _signal("embedding", "pixels", "forward", "companion", "training", width="embedding"),
        _signal("layers", "pixels", "forward"),
        _signal("previous_probs", "pixels", "reference", "training"),
        _signal("gradient_norms", "pixels", "forward", "weights", "training"),
        _signal("mc_log_probs", "pixels", "forward", "dropout", "training"),
        _signal("ensemble_log_probs", "pixels", "forward", "ensemble", "training"),
        _signal("companion", "companion", "training"),
        _signal("noise", width="one"),
    )
}


def required(names: Iterable[SignalName]) -> frozenset[Requirement]:
    """What these signals require together. Raises UsageError for a name that is none."""
    names = frozenset(names)
    if unknown := sorted(names - SIGNAL_NAMES):
        raise UsageError(f"there is no signal {unknown[0]!r}; {suggest(unknown[0], SIGNALS)}")
    return frozenset().union(*(SIGNALS[name].requires for name in names))


def kept_name(signal: SignalName, companion: str | None) -> str:
    """What a pass calls the rows that it keeps of a signal: as the signal, and of an embedding with
    the name of the companion that makes it, so that it may keep several."""
    return f"{signal}.{companion}" if SIGNALS[signal].width == "embedding" else signal


def signal_of(kept: str) -> SignalName:
    """The signal of a `kept_name`."""
    return cast(SignalName, kept.partition(".")[0])
