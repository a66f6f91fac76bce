"""Why units were chosen: what the run folder says, not what the strategy would say today."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rayal.report.reasons import Reason, reasons
from rayal.runs.record import Record
from rayal.signals.batch import Signals
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from rayal.strategies.margin import Margin
from tests.support.whole_runs import chosen, go, sixty


class Even(Strategy):
    """1 for every third image, 0 for the others: more ties than can be bought."""

    def score(self, s: Signals) -> Tensor:
        return torch.tensor([float(int(unit[-4:]) % 3 == 0) for unit in s.ids])


@pytest.fixture
def told(tiny: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Reason]]:
    """The reasons of cycle 1 of a run on 60 images with this strategy."""

    def run(strategy: Any, **fields: Any) -> dict[str, Reason]:
        x = sixty(tiny, 32, strategy=strategy, **fields)
        go(x, tmp_path)
        found = reasons(Record(Folder(tmp_path)), x, 1)
        assert chosen(tmp_path)[1] == [*found]
        assert {} == reasons(Record(Folder(tmp_path)), x, 2)
        return found

    return run


def test_of_a_ranking(told: Callable[..., dict[str, Reason]]) -> None:
    """Whoever looks at a strange choice asks first how near it was; 15 + 15 of 60 were bought."""
    found = [*told(Margin()).values()]
    scores = [each.score for each in found]

    assert [*range(1, 16)] == [each.rank for each in found]
    assert [f"highest score by margin, rank {n} of 30" for n in range(1, 16)] == [
        each.text for each in found
    ]
    assert scores == sorted(scores, key=lambda score: -score)  # type: ignore[operator]


def test_of_one_that_compares(told: Callable[..., dict[str, Reason]]) -> None:
    """Core-set has no scores: its choice is an order; the pass has labeled units too."""
    found = [*told("core_set").values()]

    assert [(n, None, f"core_set pick {n} of 15") for n in range(1, 16)] == found


def test_ties_are_told(told: Callable[..., dict[str, Reason]]) -> None:
    """The dice would be taken for the strategy: of 30 equals that are left, 15 were taken."""
    found = [*told(Even()).values()]

    assert [0.0] * 15 == [each.score for each in found]
    assert "highest score by" in found[0].text
    assert [f"rank {n} of 30; tie broken by seed" for n in range(1, 16)] == [
        each.text.partition(", ")[2] for each in found
    ]
