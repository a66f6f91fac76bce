"""Fits: what is made of labeled units and candidates between a training and its pass."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.models import parallel
from rayal.models.companions.base import Companion
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen, Fitted
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from rayal.training.fits.base import FitSpec, Fitting
from tests.support.doubles import Silent


class Side(Companion):
    """On which side of a plane the pixels of an image are, labeled units on the one."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.plane = nn.Linear(pixels, 1)

    def forward(self, images):
        return self.plane(images.flatten(1))[:, 0]


class SideFitting(Fitting):
    def __init__(self, companion, scene, lr):
        self.companion, self.scene = companion, scene
        self.network = parallel.averaging(companion)
        self.optimizer = torch.optim.Adam(companion.parameters(), lr=lr)

    @property
    def parts(self):
        return {"companion": self.companion, "optimizer": self.optimizer}

    def step(self, batch, step):
        logits = self.network(torch.cat([batch.labeled, batch.candidates]))
        truth = torch.cat([torch.ones(len(batch.labeled)), torch.zeros(len(batch.candidates))])
        loss = binary_cross_entropy_with_logits(logits + torch.rand(()) / 10, truth)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}


class SideSpec(FitSpec):
    name = "side"
    length: int = 25
    size: int = 8

    @property
    def batch_size(self):
        return self.size

    def steps(self, labeled, candidates):
        return self.length

    def build(self, model, classes, image):
        return Side(image.channels * image.height * image.width)

    def start(self, companion, scene):
        return SideFitting(companion, scene, self.lr)


class Outside(Strategy):
    """What is least like the labeled units."""

    needs = frozenset({"images", "companion"})
    side: SideSpec = SideSpec()

    def fits(self):
        return (self.side,)

    def score(self, s):
        return softplus(-s.companion(SideSpec)(s.images))


def go(x, folder, engine=None):
    """Runs to the end; the picks of each cycle and the fitted companions."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, engine or LocalEngine(x.compute), Silent())
        cycles = range(pool.cycle)
        return (
            [ledger.result(cycle, Chosen).ids for cycle in cycles],
            [ledger.result(cycle, Fitted).fits["side"].companion.sha256 for cycle in cycles],
        )


def test_a_fit_stands_between_training_and_scoring(tiny, tmp_path):
    """The pass would ask an untrained companion, or that of another cycle."""
    picks, fits = go(tiny(strategy=Outside(), observers=(Outside(),)), tmp_path)

    assert len(set(fits)) == len(fits) == len(picks)
    assert not (tmp_path / f"cycle-{len(picks):03d}" / "fit").exists()  # nothing is scored there
