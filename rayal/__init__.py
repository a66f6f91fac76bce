"""rayal: distributed active-learning experiments on Ray, tracked in MLflow.

Names are imported when they are first used, so that `import rayal` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.5.0.dev0"

if TYPE_CHECKING:
    from rayal import testing as testing
    from rayal.api.active_learner import ActiveLearner as ActiveLearner
    from rayal.api.compare import Comparison as Comparison
    from rayal.api.compare import Drawn as Drawn
    from rayal.api.compare import compare as compare
    from rayal.api.configs import origins as origins
    from rayal.api.configs import schema as schema
    from rayal.api.draft import Draft as Draft
    from rayal.api.draft import draft as draft
    from rayal.api.experiments import DEMO as DEMO
    from rayal.api.experiments import load as load
    from rayal.api.experiments import load_sweep as load_sweep
    from rayal.api.features import FeaturePass as FeaturePass
    from rayal.api.features import Made as Made
    from rayal.api.features import features as features
    from rayal.api.forecast import Forecast as Forecast
    from rayal.api.forecast import forecast as forecast
    from rayal.api.jobs import Job as Job
    from rayal.api.jobs import Jobs as Jobs
    from rayal.api.jobs import jobs as jobs
    from rayal.api.labels import Added as Added
    from rayal.api.labels import Exported as Exported
    from rayal.api.labels import LabelStatus as LabelStatus
    from rayal.api.labels import Pulled as Pulled
    from rayal.api.labels import Pushed as Pushed
    from rayal.api.labels import add_labels as add_labels
    from rayal.api.labels import export_labels as export_labels
    from rayal.api.labels import label_status as label_status
    from rayal.api.labels import pull_labels as pull_labels
    from rayal.api.labels import push_labels as push_labels
    from rayal.api.opened_run import Run as Run
    from rayal.api.opened_run import open_run as open_run
    from rayal.api.parts import describe as describe
    from rayal.api.parts import list_parts as list_parts
    from rayal.api.picks import Picks as Picks
    from rayal.api.plan import plan as plan
    from rayal.api.prune import Pruning as Pruning
    from rayal.api.prune import prune as prune
    from rayal.api.replay import Replay as Replay
    from rayal.api.replay import replay as replay
    from rayal.api.run import run as run
    from rayal.api.score import score as score
    from rayal.api.scores import Scores as Scores
    from rayal.api.select import select as select
    from rayal.api.status import Status as Status
    from rayal.api.status import status as status
    from rayal.api.submit import Submitted as Submitted
    from rayal.api.submit import submit as submit
    from rayal.api.sweep import sweep as sweep
    from rayal.api.swept import Sweep as Sweep
    from rayal.api.swept import open_sweep as open_sweep
    from rayal.api.sync import Synced as Synced
    from rayal.api.sync import sync as sync
    from rayal.data.card import ImageSpec as ImageSpec
    from rayal.data.datasets.base import Dataset as Dataset
    from rayal.data.datasets.base import EncodedDataset as EncodedDataset
    from rayal.data.source import Source as Source
    from rayal.data.source import Units as Units
    from rayal.data.store import Store as Store
    from rayal.errors import ClusterError as ClusterError
    from rayal.errors import DataError as DataError
    from rayal.errors import LabelsPending as LabelsPending
    from rayal.errors import LockedError as LockedError
    from rayal.errors import PrunedError as PrunedError
    from rayal.errors import RayalError as RayalError
    from rayal.errors import StorageError as StorageError
    from rayal.errors import UsageError as UsageError
    from rayal.experiment.compute import Compute as Compute
    from rayal.experiment.described.part import Described as Described
    from rayal.experiment.experiment import Experiment as Experiment
    from rayal.experiment.guards import Guards as Guards
    from rayal.experiment.keep import Keep as Keep
    from rayal.experiment.origins import Setting as Setting
    from rayal.experiment.stop import Stop as Stop
    from rayal.experiment.sweep.settings import SweptExperiment as SweptExperiment
    from rayal.labeling.budget import Budget as Budget
    from rayal.labeling.exchange.base import Format as Format
    from rayal.labeling.oracles.base import Label as Label
    from rayal.labeling.oracles.base import Oracle as Oracle
    from rayal.models.base import Model as Model
    from rayal.models.base import Outputs as Outputs
    from rayal.models.companions.base import Companion as Companion
    from rayal.models.companions.base import CompanionSpec as CompanionSpec
    from rayal.models.companions.base import LearningCompanion as LearningCompanion
    from rayal.models.network import DenseNetwork as DenseNetwork
    from rayal.models.network import Network as Network
    from rayal.models.wrap import wrap as wrap
    from rayal.plugins import Plugins as Plugins
    from rayal.runs.events import Event as Event
    from rayal.runs.events import Listener as Listener
    from rayal.runs.events import Observer as Observer
    from rayal.selection.candidates import Candidates as Candidates
    from rayal.signals.batch import Signals as Signals
    from rayal.storage.folder import Folder as Folder
    from rayal.strategies.base import PixelStrategy as PixelStrategy
    from rayal.strategies.base import RegionStrategy as RegionStrategy
    from rayal.strategies.base import Strategy as Strategy
    from rayal.training.base import Batch as Batch
    from rayal.training.base import TrainingScheme as TrainingScheme
    from rayal.training.base import Unlabeled as Unlabeled
    from rayal.training.learner import Learner as Learner
    from rayal.workflows.plan.features import FeaturesPlan as FeaturesPlan
    from rayal.workflows.plan.run_plan import Plan as Plan
    from rayal.workflows.plan.sweep import SweepPlan as SweepPlan
    from rayal.workflows.prune import Pruned as Pruned
    from rayal.workflows.score.settings import PoolScoring as PoolScoring

_HOMES = {
    "ActiveLearner": "rayal.api.active_learner",
    "Added": "rayal.api.labels",
    "Batch": "rayal.training.base",
    "Budget": "rayal.labeling.budget",
    "Candidates": "rayal.selection.candidates",
    "ClusterError": "rayal.errors",
    "Companion": "rayal.models.companions.base",
    "CompanionSpec": "rayal.models.companions.base",
    "Comparison": "rayal.api.compare",
    "Compute": "rayal.experiment.compute",
    "DEMO": "rayal.api.experiments",
    "DataError": "rayal.errors",
    "Dataset": "rayal.data.datasets.base",
    "DenseNetwork": "rayal.models.network",
    "Described": "rayal.experiment.described.part",
    "Draft": "rayal.api.draft",
    "Drawn": "rayal.api.compare",
    "EncodedDataset": "rayal.data.datasets.base",
    "Event": "rayal.runs.events",
    "Experiment": "rayal.experiment.experiment",
    "Exported": "rayal.api.labels",
    "FeaturePass": "rayal.api.features",
    "FeaturesPlan": "rayal.workflows.plan.features",
    "Forecast": "rayal.api.forecast",
    "Folder": "rayal.storage.folder",
    "Format": "rayal.labeling.exchange.base",
    "ImageSpec": "rayal.data.card",
    "Job": "rayal.api.jobs",
    "Jobs": "rayal.api.jobs",
    "Guards": "rayal.experiment.guards",
    "Keep": "rayal.experiment.keep",
    "Label": "rayal.labeling.oracles.base",
    "LabelStatus": "rayal.api.labels",
    "LabelsPending": "rayal.errors",
    "Learner": "rayal.training.learner",
    "LearningCompanion": "rayal.models.companions.base",
    "Listener": "rayal.runs.events",
    "LockedError": "rayal.errors",
    "Made": "rayal.api.features",
    "Model": "rayal.models.base",
    "Network": "rayal.models.network",
    "Observer": "rayal.runs.events",
    "Oracle": "rayal.labeling.oracles.base",
    "Outputs": "rayal.models.base",
    "Picks": "rayal.api.picks",
    "PixelStrategy": "rayal.strategies.base",
    "Plan": "rayal.workflows.plan.run_plan",
    "Plugins": "rayal.plugins",
    "PoolScoring": "rayal.workflows.score.settings",
    "Pruned": "rayal.workflows.prune",
    "PrunedError": "rayal.errors",
    "Pruning": "rayal.api.prune",
    "Pulled": "rayal.api.labels",
    "Pushed": "rayal.api.labels",
    "RayalError": "rayal.errors",
    "RegionStrategy": "rayal.strategies.base",
    "Replay": "rayal.api.replay",
    "Run": "rayal.api.opened_run",
    "Scores": "rayal.api.scores",
    "Setting": "rayal.experiment.origins",
    "Signals": "rayal.signals.batch",
    "Source": "rayal.data.source",
    "Status": "rayal.api.status",
    "Stop": "rayal.experiment.stop",
    "StorageError": "rayal.errors",
    "Store": "rayal.data.store",
    "Strategy": "rayal.strategies.base",
    "Submitted": "rayal.api.submit",
    "Sweep": "rayal.api.swept",
    "SweepPlan": "rayal.workflows.plan.sweep",
    "SweptExperiment": "rayal.experiment.sweep.settings",
    "Synced": "rayal.api.sync",
    "TrainingScheme": "rayal.training.base",
    "Units": "rayal.data.source",
    "Unlabeled": "rayal.training.base",
    "UsageError": "rayal.errors",
    "add_labels": "rayal.api.labels",
    "compare": "rayal.api.compare",
    "describe": "rayal.api.parts",
    "draft": "rayal.api.draft",
    "export_labels": "rayal.api.labels",
    "features": "rayal.api.features",
    "forecast": "rayal.api.forecast",
    "jobs": "rayal.api.jobs",
    "list_parts": "rayal.api.parts",
    "label_status": "rayal.api.labels",
    "load": "rayal.api.experiments",
    "load_sweep": "rayal.api.experiments",
    "open_run": "rayal.api.opened_run",
    "open_sweep": "rayal.api.swept",
    "origins": "rayal.api.configs",
    "plan": "rayal.api.plan",
    "prune": "rayal.api.prune",
    "pull_labels": "rayal.api.labels",
    "push_labels": "rayal.api.labels",
    "replay": "rayal.api.replay",
    "run": "rayal.api.run",
    "schema": "rayal.api.configs",
    "score": "rayal.api.score",
    "select": "rayal.api.select",
    "status": "rayal.api.status",
    "submit": "rayal.api.submit",
    "sweep": "rayal.api.sweep",
    "sync": "rayal.api.sync",
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
