"""Signals of a small real network, for the tests of all strategies."""

from collections.abc import Callable, Sequence

import pytest
import torch

from rayal.data.card import ImageSpec
from rayal.models.build import build
from rayal.models.companions.base import Companions
from rayal.models.companions.class_statistics import ClassStatistics, ClassStatisticsSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.parts import build as build_part
from rayal.signals.batch import Networks, Signals
from rayal.strategies.base import Strategy

UNITS = 24
CLASSES = 5

Score = Callable[..., torch.Tensor | None]


class Bench:
    """Scores chosen rows of one fixed batch, as the pass would."""

    def __init__(self) -> None:
        spec = ImageSpec(channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3)
        model = build_part("models", {"name": "small_cnn", "width": 8, "dropout": 0.5})
        self.networks = [build(model, CLASSES, spec, seed).eval() for seed in (1, 2, 3)]
        self.images = torch.randn(UNITS, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        self.ids = [f"unit-{i}" for i in range(UNITS)]
        statistics = ClassStatistics(CLASSES, 32, "diagonal", reset=True)
        outputs = self.networks[0](torch.randn(UNITS, 3, 16, 16))
        statistics.observe(outputs, torch.arange(UNITS) % CLASSES)
        self.companions = Companions([(ClassStatisticsSpec(), statistics)])

    def signals(self, rows: Sequence[int], *, cycle: int, seed: int = 0) -> Signals:
        current, previous, random = self.networks
        networks = Networks(
            current,
            {"previous": previous, "initial": previous, "random": random, EmaTeacherSpec: previous},
            members=(previous, random),
            companions=self.companions,
            seed=seed,
            cycle=cycle,
        )
        return Signals([self.ids[row] for row in rows], self.images[list(rows)], networks)

    def score(
        self, strategy: Strategy, rows: Sequence[int] = range(UNITS), *, cycle: int = 1
    ) -> torch.Tensor | None:
        view = self.signals(rows, cycle=cycle).declared_by(
            strategy.part_name(), strategy.needs, strategy.reference(cycle)
        )
        return strategy.score(view)


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()
