"""What a training sees: batches of the labeled set, the same wherever the images lie.

The order of an epoch and its augmentation are drawn from (seed, cycle, epoch) and indexed by an
image's place in the labeled list. So a batch depends neither on where images are kept, nor on how
many workers share it, nor on restarts. n labeled images, B of one batch on this worker.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, count, repeat
from typing import NamedTuple

import torch
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.errors import DataError, UsageError
from rayal.models.device import Beside
from rayal.randomness import Key, torch_generator
from rayal.training.augment import Augment, normalise
from rayal.training.base import Batch, TrainingScheme, Unlabeled
from rayal.training.images import Items, Resident
from rayal.training.round_robin import RoundRobin

FLOAT = 4  # bytes of a float32
LEAST = 2  # images that every worker has in every batch: batch norm cannot train on one


class Feed:
    """The batches of one training on one worker."""

    def __init__(
        self,
        images: Items,
        labels: Items,
        count: int,
        scheme: TrainingScheme,
        spec: ImageSpec,
        *,
        key: tuple[Key, ...],
        rank: int = 0,
        workers: int = 1,
        unlabeled: "UnlabeledFeed | None" = None,
        most: int = 0,
    ) -> None:
        """`count` is n, of images and labels; `key` is what random numbers are drawn from: seed and
        cycle; `most` is how many bytes images may take that are normalised beforehand."""
        self.images, self.labels, self.count = images, labels, count
        self.scheme, self.spec = scheme, spec
        self.ready = False
        """Whether they are normalised already, once for all: vectors, and what nothing augments."""
        if isinstance(images, Resident):
            fits = images.items.numel() * FLOAT <= most
            self.ready = not spec.sides or scheme.augment.changes_nothing and fits
            if self.ready:
                self.images = Resident(normalise(images.items, spec))
        self.key, self.rank, self.workers = key, rank, workers
        self.unlabeled = unlabeled
        self.ends = batch_ends(count, scheme.batch_size, workers)
        self.steps = scheme.steps or scheme.length * len(self.ends)
        """Steps of the whole training."""
        self.epochs = -(-self.steps // len(self.ends))
        """Passes over the labeled set, the last one perhaps not whole."""

    def updates(self, epochs: int) -> int:
        """Updates in so many epochs: their steps, and those of their phases."""
        steps = min(epochs * len(self.ends), self.steps)
        if self.unlabeled is None:
            return steps
        return steps + self.unlabeled.wanted.extra_updates(self.unlabeled.count, epochs)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This worker's part of every batch of an epoch (counted from 0), phases first."""
        if self.unlabeled is not None and self.unlabeled.wanted.phases:
            yield from self._phases(self.unlabeled, epoch)
            yield from self._labeled(epoch)
            return
        first = epoch * len(self.ends)
        steps = range(first, min(first + len(self.ends), self.steps))
        others = repeat(Views()) if self.unlabeled is None else self.unlabeled.views(steps)
        for batch, views in zip(self._labeled(epoch), others, strict=False):
            yield batch._replace(unlabeled=views.plain, strong=views.strong)

    def _labeled(self, epoch: int, *turn: Key) -> Iterator[Batch]:
        """The labeled pass of an epoch; others of its length, by their `turn` in the phases."""
        first = epoch * len(self.ends)
        generator = torch_generator(*self.key, "train", epoch, *turn)
        order = torch.randperm(self.count, generator=generator)
        batches = order.tensor_split(self.ends[:-1])[: self.steps - first]
        parts = [batch.tensor_split(self.workers)[self.rank] for batch in batches]
        items = zip(self.images.batches(parts), self.labels.batches(parts), strict=False)
        seen = items if self.ready else self._augmented(items, parts, epoch, *turn)
        for place, (images, labels) in enumerate(seen):
            yield Batch(
                images=images,
                labels=labels,
                step=first + place,
                steps=self.steps,
                weight=len(parts[place]) * self.workers / len(batches[place]),
            )

    def _augmented(
        self, items: Iterator[tuple[Tensor, Tensor]], parts: Sequence[Tensor], *key: Key
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels as stored, augmented and normalised."""
        augment = self.scheme.augment
        draws = augment.draw(self.count, torch_generator(*self.key, "augment", *key))
        for part, (images, labels) in zip(parts, items, strict=False):
            dense = labels.ndim > 1
            yield (
                normalise(augment(images, draws[part]), self.spec),
                augment.of_masks(labels, draws[part]) if dense else labels,
            )

    def _phases(self, unlabeled: "UnlabeledFeed", epoch: int) -> Iterator[Batch]:
        """The phases before an epoch: none before the first."""
        phases, each = unlabeled.wanted.phases, unlabeled.wanted.phase_batches(unlabeled.count)
        for number, phase in enumerate(phases if epoch else ()):
            start = ((epoch - 1) * len(phases) + number) * each
            images = unlabeled.views(range(start, start + each))
            labeled = chain.from_iterable(self._labeled(epoch, phase, turn) for turn in count())
            step = epoch * len(self.ends)
            for views, batch in zip(images, labeled, strict=False):
                seen = batch._replace(unlabeled=views.plain, strong=views.strong)
                yield seen._replace(step=step, phase=phase)


class Views(NamedTuple):
    """The unlabeled images of one step on one worker, as `Batch` holds them."""

    plain: Tensor | None = None  # Bu channels H W
    strong: Tensor | None = None  # the same images, in the same order


class UnlabeledFeed:
    """The unlabeled batches of one training on one worker, of a `RoundRobin` over all images. In
    phases steps are counted on from one to the next, and each begins where a permutation does."""

    def __init__(
        self,
        images: Items,
        count: int,
        wanted: Unlabeled,
        augment: Augment,
        spec: ImageSpec,
        *,
        key: tuple[Key, ...],
        rank: int = 0,
        workers: int = 1,
        beside: Beside | None = None,
    ) -> None:
        """`count` is the number of unlabeled images, all of them in `images`; `beside` is where a
        GPU makes them ready while it trains."""
        self.images, self.count, self.wanted = images, count, wanted
        self.augment, self.spec = augment, spec
        self.key, self.rank, self.workers = key, rank, workers
        self.beside = beside or Beside()
        self.turns = RoundRobin(count, wanted.batch_size, *key, "unlabeled")

    def views(self, steps: range) -> Iterator[Views]:
        """This worker's part of each step's batch, in the one view or both."""
        parts = [self._places(step).tensor_split(self.workers)[self.rank] for step in steps]
        found, strong = self.images.batches(parts), self.wanted.strong
        for step in steps:
            with self.beside.work():
                images = next(found)
                plain = self._view(images, self.augment, "unlabeled augment", step)
                other = None
                if strong is not None:
                    other = self._view(images, strong, "strong augment", step)
            joined = self.beside.joined
            yield Views(joined(plain), None if other is None else joined(other))

    def _view(self, images: Tensor, augment: Augment, name: str, step: int) -> Tensor:
        """This worker's images of a step under one of its augmentations, normalised."""
        draws = augment.draw(self.wanted.batch_size, torch_generator(*self.key, name, step))
        own = draws.tensor_split(self.workers)[self.rank]
        return normalise(augment(images, own), self.spec)

    def _places(self, step: int) -> Tensor:
        if self.wanted.phases:  # each pass begins with a permutation of its own
            turn, batch = divmod(step, self.wanted.phase_batches(self.count))
            return self.turns.at(turn * self.count + batch * self.wanted.batch_size)
        return self.turns.places(0 if self.wanted.fixed else step)


def batch_ends(images: int, batch_size: int, workers: int) -> list[int]:
    """Where each batch of an epoch ends.

    A last batch too small to give every worker two images joins the one before. Raises UsageError
    for a batch size, and DataError for a labeled set, that is too small for even one such batch.
    """
    least = LEAST * workers
    if batch_size < least:
        raise UsageError(
            f"scheme.batch_size {batch_size} gives {workers} training workers less than {LEAST}"
            " images each; raise it, or lower compute.train_workers"
        )
    if images < least:
        raise DataError(
            f"labeled images: {images}, but {workers} training workers need {LEAST} each (batch"
            " norm); raise budget.initial" + ", or lower compute.train_workers" * (workers > 1)
        )
    ends = [*range(batch_size, images, batch_size), images]
    if len(ends) > 1 and ends[-1] - ends[-2] < least:
        del ends[-2]
    return ends
