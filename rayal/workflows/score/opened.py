"""What a pass in this process predicts with: modules as they are, or the models of files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor, nn

from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.data.card import ImageSpec
from rayal.data.pool import Images
from rayal.data.tasks.base import Task
from rayal.errors import UsageError, counted
from rayal.models.base import Precision
from rayal.models.module import task_of
from rayal.models.wrap import wrap
from rayal.signals.networks import Networks, Reference, forward
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from rayal.workflows.score.models import ModelFiles, PoolModels, check_strategies


class Modules(NamedTuple):
    """Modules in the memory of this process, rayal's or others."""

    model: nn.Module
    previous: nn.Module | None = None
    """Of the cycle before."""
    members: Sequence[nn.Module] = ()
    """An ensemble's other ones."""

    @property
    def all(self) -> list[nn.Module]:
        """Every one of them, the model first."""
        return [each for each in (self.model, self.previous, *self.members) if each is not None]


@dataclass(frozen=True)
class Opened:
    """What a pass predicts with, in eval mode, and what its models are for."""

    networks: Networks
    task: Task
    num_classes: int
    classes: tuple[str, ...] = ()
    """Their names; none where nobody has said."""
    image: ImageSpec | None = None
    """What the model was trained on, where that is known."""

    @classmethod
    def modules(
        cls,
        given: Modules,
        strategies: Mapping[str, Strategy],
        images: Tensor,
        *,
        seed: int,
        precision: Precision,
    ) -> "Opened":
        """Modules as they are, tried with a few images as they take them; they have to be
        `rayal.models.module.evaluating`.

        Raises UsageError for what a strategy asks and they lack.
        """
        check_beside(strategies, given.previous)
        network = wrap(given.model, images=images)
        logits = forward(network, images, precision).logits
        task = task_of(logits)
        check_strategies(strategies, task, network, 1 + len(given.members))
        asked = any(each.reference(1) == "previous" for each in strategies.values())
        references: dict[Reference, nn.Module] = {}
        if given.previous is not None and asked:
            references["previous"] = wrap(given.previous, images=images)
        networks = Networks(
            model=network,
            references=references,
            members=[wrap(member, images=images) for member in given.members],
            seed=seed,
            cycle=1,
            precision=precision,
        )
        return cls(networks, task, logits.shape[1])

    @classmethod
    def files(
        cls,
        models: PoolModels,
        strategies: Mapping[str, Strategy],
        place: Folder,
        device: str,
        *,
        seed: int,
    ) -> "Opened":
        """The models of files, opened as a worker opens them; `place` holds them meanwhile."""
        try:
            networks = cls._networks(models, strategies, place, device, seed)
        finally:
            place.delete()
        card = models.card
        return cls(networks, card.task, len(card.classes), card.classes, card.image)

    @staticmethod
    def _networks(
        models: PoolModels,
        strategies: Mapping[str, Strategy],
        place: Folder,
        device: str,
        seed: int,
    ) -> Networks:
        card = models.card
        files = ModelFiles.of(place, models.write(place))
        job = ScoreJob(
            strategies=strategies,
            card=card,
            model=card.model,
            images=cast(Images, None),  # these are here already
            data="",
            weights=files.weights,
            out=place.url,
            seed=seed,
            cycle=1,
            previous=files.previous,
            members=files.members,
            companions=files.companions,
        )
        return Scorer(job, device).networks


def check_beside(strategies: Mapping[str, Strategy], previous: nn.Module | None) -> None:
    """Raises UsageError for a strategy that asks more than modules: what is trained beside a model,
    or a model before that is not there."""
    for name, strategy in strategies.items():
        for spec in (*strategy.companions(), *strategy.fits()):
            raise UsageError(
                f"strategy {name!r} asks the {spec.name} that is made beside a model, and a"
                " module has none; give the run that trained it, or its folder, in place of the"
                " module"
            )
        if previous is None and strategy.reference(1) == "previous":
            raise UsageError(
                f"strategy {name!r} compares with the model of the cycle before; give it:"
                " previous=module"
            )


def class_names(asked: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The names of so many classes; none where nobody gives any. Raises UsageError for others."""
    if asked is not None and len(asked) != count:
        raise UsageError(
            f"{counted(len(asked), 'class', 'classes')} given, the model has {count}; give as many"
        )
    return () if asked is None else tuple(asked)
