"""rayal: distributed active-learning experiments on Ray, tracked in MLflow.

Names are imported when they are first used, so that `import rayal` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"

if TYPE_CHECKING:
    from rayal import testing as testing
    from rayal.api.compare import Comparison as Comparison
    from rayal.api.compare import compare as compare
    from rayal.api.experiments import load as load
    from rayal.api.experiments import load_sweep as load_sweep
    from rayal.api.jobs import Job as Job
    from rayal.api.jobs import jobs as jobs
    from rayal.api.plan import plan as plan
    from rayal.api.run import Run as Run
    from rayal.api.run import open_run as open_run
    from rayal.api.run import run as run
    from rayal.api.status import status as status
    from rayal.api.submit import submit as submit
    from rayal.api.sweep import Sweep as Sweep
    from rayal.api.sweep import open_sweep as open_sweep
    from rayal.api.sweep import sweep as sweep
    from rayal.api.sync import sync as sync
    from rayal.experiment.experiment import Experiment as Experiment
    from rayal.experiment.sweep.settings import SweptExperiment as SweptExperiment

_HOMES = {
    "Comparison": "rayal.api.compare",
    "Experiment": "rayal.experiment.experiment",
    "Job": "rayal.api.jobs",
    "Run": "rayal.api.run",
    "Sweep": "rayal.api.sweep",
    "SweptExperiment": "rayal.experiment.sweep.settings",
    "compare": "rayal.api.compare",
    "jobs": "rayal.api.jobs",
    "load": "rayal.api.experiments",
    "load_sweep": "rayal.api.experiments",
    "open_run": "rayal.api.run",
    "open_sweep": "rayal.api.sweep",
    "plan": "rayal.api.plan",
    "run": "rayal.api.run",
    "status": "rayal.api.status",
    "submit": "rayal.api.submit",
    "sweep": "rayal.api.sweep",
    "sync": "rayal.api.sync",
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
