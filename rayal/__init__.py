"""rayal: distributed active-learning experiments on Ray, tracked in MLflow.

Names are imported when they are first used, so that `import rayal` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"

if TYPE_CHECKING:
    from rayal import testing as testing
    from rayal.api.experiments import load as load
    from rayal.api.score import score as score
    from rayal.api.scores import Scores as Scores
    from rayal.api.select import Picks as Picks
    from rayal.api.select import select as select
    from rayal.experiment.experiment import Experiment as Experiment
    from rayal.models.wrap import wrap as wrap

_HOMES = {
    "Experiment": "rayal.experiment.experiment",
    "Picks": "rayal.api.select",
    "Scores": "rayal.api.scores",
    "load": "rayal.api.experiments",
    "score": "rayal.api.score",
    "select": "rayal.api.select",
    "wrap": "rayal.models.wrap",
}
"""Public name -> the module that has it; the same names as above."""

__all__ = ["__version__", "testing", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """The public names, imported at their first use."""
    if name == "testing":
        return import_module("rayal.testing")
    if name not in _HOMES:
        raise AttributeError(f"module 'rayal' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
