"""A scoring pass over images in the memory of this process, by networks that are there too.

What is written is what a pass over files writes: shards and `done.json`, for `select` to read. N
images of C channels.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import cast

import torch
from torch import Tensor, nn

from rayal.cycle import shard_file
from rayal.cycle.columns import Columns
from rayal.cycle.score import ScoreJob, tell_of_equals
from rayal.cycle.scorer import Scorer
from rayal.data.card import ImageSpec
from rayal.data.in_memory import InMemory
from rayal.data.pool import Images
from rayal.data.tasks.base import Task
from rayal.errors import DataError, UsageError, quoted
from rayal.models.base import Precision
from rayal.models.wrap import wrap
from rayal.parts import find
from rayal.runs.events import Event, Observer
from rayal.runs.results import PoolScored, ScoredShard
from rayal.signals.batch import Networks, Reference, Signals, forward
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.storage.journal import DONE
from rayal.strategies.base import Strategy
from rayal.training.augment import normalise
from rayal.workflows.score.models import ModelFiles, PoolModels, check_strategies

SHARD = 16384
"""Images whose scores come into one file."""
LARGEST, NUMBERS = 256, 2**22
"""Of a batch of `auto` size the most images, and about the most numbers in them."""


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
        model: nn.Module,
        previous: nn.Module | None,
        members: Sequence[nn.Module],
        strategies: Mapping[str, Strategy],
        images: Tensor,
        *,
        seed: int,
        precision: Precision,
    ) -> "Opened":
        """Modules as they are, rayal's or others, tried with a few images as they take them.

        They have to be `evaluating`. Raises UsageError for what a strategy asks and they lack.
        """
        check_beside(strategies, previous)
        network = wrap(model, images=images)
        logits = forward(network, images, precision).logits
        task: Task = find("tasks", "segmentation" if logits.ndim > 2 else "classification")()
        check_strategies(strategies, task, network, 1 + len(members))
        asked = any(each.reference(1) == "previous" for each in strategies.values())
        references: dict[Reference, nn.Module] = {}
        if previous is not None and asked:
            references["previous"] = wrap(previous, images=images)
        networks = Networks(
            model=network,
            references=references,
            members=[wrap(member, images=images) for member in members],
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
        networks = Scorer(job, device).networks
        return cls(networks, card.task, len(card.classes), card.classes, card.image)


def check_beside(strategies: Mapping[str, Strategy], previous: nn.Module | None) -> None:
    """Raises UsageError for a strategy that asks more than modules: what is trained beside a model,
    or a model before that is not there."""
    for name, strategy in strategies.items():
        for spec in strategy.companions():
            raise UsageError(
                f"strategy {name!r} asks the {spec.name} that is trained beside a model, and a"
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
        raise UsageError(f"{len(asked)} classes given, the model has {count}; give as many")
    return () if asked is None else tuple(asked)


@contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """All of these are in eval mode inside, and as they were after."""
    before = {each: each.training for module in modules for each in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for each, training in before.items():
            each.training = training


class Prepared:
    """Images as networks take them: on their device, in their type of numbers, pixels normalised.

    Numbers that are no pixels are left as they are.
    """

    def __init__(
        self,
        images: InMemory,
        ids: Ids,
        model: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        trained: ImageSpec | None = None,
    ) -> None:
        """`mean` and `std` per channel, of pixels in [0, 1]; None: as the model was `trained`, else
        0 and 1."""
        self.images, self.ids = images, ids
        weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        self.device, self.dtype = weight.device, weight.dtype
        first = images.rows(slice(0, 1))
        self.shape = tuple(first.shape[1:])
        if mean is None and trained is not None and first.dtype == torch.uint8:
            mean, std = trained.mean, trained.std
        self._image = self._spec(first, mean, std)

    def rows(self, rows: slice, fill: int = 0) -> Tensor:
        """These, and so many more of the last one. Raises DataError for a number that is not
        finite, with the unit's id."""
        images = self.images.rows(rows)
        if images.dtype != torch.uint8:
            self._check_finite(images, rows)
        images = torch.cat([images, images[-1:].repeat(fill, *[1] * (images.ndim - 1))])
        images = images.to(self.device)
        if self._image is not None:
            images = normalise(images, self._image)
        return images.to(self.dtype).contiguous()

    def _spec(
        self, first: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
    ) -> ImageSpec | None:
        pixels = first.dtype == torch.uint8
        if not pixels or first.ndim == 2:
            if mean is not None:
                raise UsageError(
                    "mean and std are of uint8 pixels, N C H W; normalise these images yourself, or"
                    " leave mean and std out"
                )
            if pixels:
                raise UsageError("vectors N D are uint8; give floating-point numbers")
            return None
        channels, height, width = first.shape[1:]
        mean = (0.0,) * channels if mean is None else tuple(mean)
        std = (1.0,) * channels if std is None else tuple(std)
        if not len(mean) == len(std) == channels:
            raise UsageError(
                f"mean {mean} and std {std} need one value for each of {channels} channels"
            )
        return ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)

    def _check_finite(self, images: Tensor, rows: slice) -> None:
        good = images.isfinite().flatten(1).all(dim=1)
        if not good.all():
            unit = self.ids[rows][int(good.int().argmin())]
            raise DataError(
                f"image {quoted(unit)} holds numbers that are not finite; mend it, or leave it out"
            )


def auto_batch(shape: Sequence[int]) -> int:
    """Images of this shape in one forward pass, a power of two: all of a batch, with what a network
    makes of it, has to be in memory at once."""
    most = max(1, min(LARGEST, NUMBERS // max(1, math.prod(shape))))
    return int(2 ** int(math.log2(most)))


def score_images(
    opened: Opened,
    classes: tuple[str, ...],
    images: Prepared,
    strategies: Mapping[str, Strategy],
    out: Folder,
    observer: Observer,
    batch: int,
) -> PoolScored:
    """Scores all images into the folder `out`/scores, as a pass over files does; `classes` are the
    names of the model's, if they have some.

    Raises DataError for a score that is not finite, with the unit's id.
    """
    place, total = out / "scores", len(images.images)
    batch = min(batch, total)
    rows = max(1, SHARD // batch) * batch
    columns = Columns(strategies, opened.task, 1, batch, keeps_predicted=not opened.task.dense)
    started, shards = monotonic(), list[ScoredShard]()
    observer.on(Event("begun", "score", unit="images"))
    for number, start in enumerate(range(0, total, rows)):
        observer.on(Event("further", "score", None, start, total, "images"))
        part = slice(start, min(start + rows, total))
        shards.append(_shard(opened.networks, images, columns, part, place, number))
    observer.on(Event("further", "score", None, total, total, "images"))
    tell_of_equals(shards)
    seconds = monotonic() - started
    result = PoolScored(
        units=total,
        columns=tuple(strategies),
        options={name: each.model_dump(mode="json") for name, each in strategies.items()},
        shards=tuple(shard.file for shard in shards),
        bad=0,
        classes=classes,
        images_per_second=total / seconds if seconds else math.nan,
        seconds=seconds,
    )
    place.write_sealed(DONE, {"result": result.to_json()})  # last: it says that all is there
    observer.on(Event("ended", "score", result=result))
    return result


def _shard(
    networks: Networks,
    images: Prepared,
    columns: Columns,
    part: slice,
    place: Folder,
    number: int,
) -> ScoredShard:
    ids = list(images.ids[part])

    def signals(rows: slice, fill: int) -> Signals:
        units = ids[rows]
        start = part.start + rows.start
        batch = images.rows(slice(start, start + len(units)), fill)
        return Signals(units + units[-1:] * fill, batch, networks)

    started = monotonic()
    found = columns.of(ids, signals)
    record = place.write(f"shard-{number:05d}.parquet", shard_file.encode(ids, found, {}))
    return ScoredShard(
        shard=number,
        rows=len(ids),
        bad=0,
        first_bad=None,
        file=record,
        seconds=monotonic() - started,
        ranges=shard_file.ranges(found),
    )
