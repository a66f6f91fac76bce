"""rayal: distributed active-learning experiments on Ray, tracked in MLflow.

Names are imported when they are first used, so that `import rayal` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.5.0.dev0"

if TYPE_CHECKING:
    from rayal import testing as testing
    from rayal.api.experiments import load as load
    from rayal.experiment.experiment import Experiment as Experiment

_HOMES = {
    "Experiment": "rayal.experiment.experiment",
    "load": "rayal.api.experiments",
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
