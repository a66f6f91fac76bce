"""All promises of a part at once, where there is no pytest: in a notebook, or before a long run."""

from typing import Any

from rayal.data.datasets.base import Dataset
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Format
from rayal.labeling.oracles.base import Oracle
from rayal.models.base import Model
from rayal.parts import Component
from rayal.strategies.base import Strategy
from rayal.testing.contract import Broken, Contract
from rayal.testing.dataset import DatasetContract
from rayal.testing.dense_strategy import DenseStrategyContract
from rayal.testing.engine import EngineContract
from rayal.testing.fit import FitContract
from rayal.testing.format import FormatContract
from rayal.testing.model import ModelContract
from rayal.testing.oracle import OracleContract
from rayal.testing.scheme import SchemeContract
from rayal.testing.strategy import StrategyContract
from rayal.training.base import TrainingScheme

CONTRACTS: dict[type[Component], type[Contract]] = {
    Dataset: DatasetContract,
    Format: FormatContract,
    Model: ModelContract,
    Oracle: OracleContract,
    Strategy: StrategyContract,
    TrainingScheme: SchemeContract,
}
ENGINE = "train", "fit", "evaluate", "score", "fastest_batch", "close"


def check(part: Any) -> None:
    """Tries every promise of a part's kind: `check(Mine())`, or `check(MyEngine)` for an engine.

    Takes seconds. Raises AssertionError with all the promises that are not kept, each in a sentence
    with what came instead; UsageError for what is no part that has a contract.
    """
    problems = [problem for contract in contracts(part) for problem in broken(contract, part)]
    if len(problems) == 1:
        raise Broken(problems[0])
    if problems:
        raise Broken("\n  ".join([f"{len(problems)} promises are not kept", *problems]))


def contracts(part: Any) -> list[type[Contract]]:
    """The suites that a part has to pass."""
    if isinstance(part, Strategy):
        dense = [DenseStrategyContract] if "segmentation" in part.tasks else []
        only_dense = dense and "classification" not in part.tasks
        fits = [FitContract] if part.fits() else []
        return [*([] if only_dense else [StrategyContract]), *dense, *fits]
    found = [contract for kind, contract in CONTRACTS.items() if isinstance(part, kind)]
    if not found and isinstance(part, type) and all(hasattr(part, name) for name in ENGINE):
        found = [EngineContract]
    if not found and isinstance(part, type) and issubclass(part, Component):
        raise UsageError(f"{part.__name__} is a class; give an instance of it: {part.__name__}()")
    if not found:
        kind = part.__name__ if isinstance(part, type) else type(part).__name__
        raise UsageError(
            f"{kind} has no contract; give a strategy, model, dataset, oracle, format or training"
            " scheme as it is in an experiment, such as Mine(), or the class of an engine"
        )
    return found


def broken(contract: type[Contract], part: Any) -> list[str]:
    """What a part breaks of a contract, in the order of its tests, each problem once."""
    suite_of: type[Contract] = type(contract.__name__, (contract,), {"part": part})
    suite, found = suite_of(), dict[str, str]()
    try:
        for name in tests(contract):
            try:
                getattr(suite, name)()
            except Broken as problem:
                found.setdefault(str(problem), "")
            except Exception as error:
                raised = f"{suite.kind} {suite.name()} raises {type(error).__name__}: {error}"
                found.setdefault(raised, f" ({contract.__name__}.{name})")
    finally:
        suite_of.teardown_class()
    return [problem + where for problem, where in found.items()]


def tests(contract: type[Contract]) -> list[str]:
    """The names of its tests: the base's first, and in the order in which they are written."""
    names = (name for kind in reversed(contract.__mro__) for name in vars(kind))
    return list(dict.fromkeys(name for name in names if name.startswith("test_")))
