"""A small real network in three states and one batch of images, for tests of strategies.

N units, C classes.
"""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.build import build
from rayal.models.companions.base import Companion, Companions, CompanionSpec, Spec
from rayal.models.companions.teacher import Teacher
from rayal.models.device import sent
from rayal.parts import build as build_part
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks, Reference, forward
from rayal.strategies.base import Strategy
from rayal.testing.fits import fitted
from rayal.training.fits.base import FitSpec

UNITS, CLASSES = 24, 5
IMAGE = ImageSpec(channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3)


class Bench:
    """Scores chosen rows of one fixed batch, as a pass would: no files, milliseconds."""

    def __init__(
        self,
        specs: Sequence[CompanionSpec] = (),
        device: str = "cpu",
        fits: Sequence[FitSpec] = (),
    ) -> None:
        """`specs`: of what lives beside the first network; `fits`: of what is made after it."""
        self.device = torch.device(device)
        model = build_part("models", {"name": "small_cnn", "width": 8, "dropout": 0.5})
        self.networks = [build(model, CLASSES, IMAGE, seed).eval() for seed in (1, 2, 3)]
        """The one that is asked, that of the last cycle, and one of random weights."""
        images = torch.randn(UNITS, *IMAGE.shape, generator=torch.Generator().manual_seed(0))
        self.images = sent(images, self.device)
        """N C H W, normalised."""
        self.ids = [f"unit-{i}" for i in range(UNITS)]
        there = beside(self.networks, specs, CLASSES, IMAGE)
        self.companions: list[tuple[Spec, Companion]] = [
            *there,
            *fitted(fits, self.networks[0], there, CLASSES, IMAGE),
        ]
        for module in (*self.networks, *(companion for _, companion in self.companions)):
            module.to(self.device)

    @classmethod
    def of(cls, strategy: Strategy, device: str = "cpu") -> "Bench":
        """With all that this strategy asks for."""
        return cls(strategy.companions(), device, strategy.fits())

    def signals(self, rows: Sequence[int], *, cycle: int, seed: int = 0) -> Signals:
        """All signals of these rows as one batch."""
        current, previous, random = self.networks
        references: dict[Reference, nn.Module] = {
            "previous": previous,
            "initial": previous,
            "random": random,
            **teachers(self.companions),
        }
        networks = Networks(
            current,
            references,
            members=(previous, random),
            companions=Companions(self.companions),
            seed=seed,
            cycle=cycle,
        )
        images = self.images[sent(torch.tensor(list(rows)), self.device)]
        return Signals([self.ids[row] for row in rows], images, networks)

    def score(
        self, strategy: Strategy, rows: Sequence[int] = range(UNITS), *, cycle: int = 1
    ) -> Tensor | None:
        """What the strategy says of these rows, limited to the signals it declares."""
        view = self.signals(rows, cycle=cycle).declared_by(
            strategy.part_name(), strategy.needs, strategy.reference(cycle), strategy.embeds()
        )
        return strategy.score(view)


def beside(
    networks: Sequence[nn.Module], specs: Sequence[CompanionSpec], classes: int, image: ImageSpec
) -> list[tuple[CompanionSpec, Companion]]:
    """Companions of these specs, in eval mode, as a training leaves them that began with the last
    network and has seen one batch of the first: of every place as many labels of each class."""
    if not specs:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        last = copy.deepcopy(networks[-1])
        built = [(spec, spec.build(last, classes, lambda: copy.deepcopy(last))) for spec in specs]
    images = torch.randn(4 * classes, *image.shape, generator=torch.Generator().manual_seed(1))
    outputs = forward(networks[0], images)
    shape = (len(images), *(image.shape[1:] if outputs.logits.ndim == 4 else ()))
    labels = (torch.arange(math.prod(shape)) % classes).view(shape)
    for _, companion in built:
        companion.begin(last)
        companion.observe(outputs, labels)
        companion.after_step(networks[0])
        companion.eval()
    return built


def teachers(built: Iterable[tuple[Spec, Companion]]) -> dict[Reference, nn.Module]:
    """The networks that strategies compare with, by the type of the spec that made them."""
    return {
        type(spec): companion.network  # type: ignore[misc]
        for spec, companion in built
        if isinstance(companion, Teacher)
    }
