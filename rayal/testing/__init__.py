"""The contract suites: what every kind of part promises, for whoever writes one.

In a test file: `class TestMine(rayal.testing.StrategyContract): part = Mine()`, and pytest runs it.
Anywhere else: `rayal.testing.check(Mine())`.
"""

from rayal.testing.checking import check
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

__all__ = [
    "Broken",
    "Contract",
    "DatasetContract",
    "DenseStrategyContract",
    "EngineContract",
    "FitContract",
    "FormatContract",
    "ModelContract",
    "OracleContract",
    "SchemeContract",
    "StrategyContract",
    "check",
]
