"""What a fit sees: batches of labeled units and candidates, the same wherever their images lie."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.data.pixels import valid_pixels
from rayal.randomness import Key, torch_generator
from rayal.training.augment import normalise
from rayal.training.fits.base import Batches, FitBatch, Shown
from rayal.training.images import ImageItems, Items
from rayal.training.round_robin import RoundRobin

BATCH = 256
"""Images that are shown at a time where a fit looks at all of them."""


class AllImages:
    """One worker's part of the images of some units, see `fits.base.Images`."""

    def __init__(
        self, items: ImageItems, count: int, spec: ImageSpec, rank: int, workers: int
    ) -> None:
        self.items, self.count, self.spec = items, count, spec
        self.rank, self.workers = rank, workers

    def __len__(self) -> int:
        return self.count

    def share(self) -> Iterator[Shown]:
        own = torch.arange(self.count).tensor_split(self.workers)[self.rank]
        parts = own.split(BATCH) if len(own) else ()  # type: ignore[no-untyped-call]
        for images, sizes in self.items.with_sizes(parts):
            valid = None if sizes is None else valid_pixels(sizes, *images.shape[2:])
            yield Shown(normalise(images, self.spec), valid)


class FitFeed:
    """The batches of one fit on one worker: in each step the next of the labeled units and the next
    of the candidates, both of a `RoundRobin`."""

    def __init__(
        self,
        labeled: AllImages,
        labels: Items,
        candidates: AllImages,
        shown: Batches,
        *key: Key,
    ) -> None:
        """`key` is what all random numbers are drawn from."""
        self.labeled, self.labels, self.candidates = labeled, labels, candidates
        (self.size, self.augment), self.key = shown, key

    def batches(self, steps: range) -> Iterator[FitBatch]:
        """This worker's part of the batch of each step."""
        turns = RoundRobin(len(self.labeled), self.size, *self.key, "labeled")
        parts = self._own(turns, steps)
        others = self._own(
            RoundRobin(len(self.candidates), self.size, *self.key, "candidates"), steps
        )
        images = self._images(self.labeled, parts, steps, "labeled augment")
        unlabeled = self._images(self.candidates, others, steps, "candidates augment")
        labels = self.labels.batches(parts)
        return (FitBatch(*each) for each in zip(images, labels, unlabeled, strict=True))

    def _own(self, turns: RoundRobin, steps: range) -> list[Tensor]:
        rank, workers = self.labeled.rank, self.labeled.workers
        return [turns.places(step).tensor_split(workers)[rank] for step in steps]

    def _images(
        self, all_images: AllImages, parts: list[Tensor], steps: range, name: str
    ) -> Iterator[Tensor]:
        own = torch.arange(self.size).tensor_split(all_images.workers)[all_images.rank]
        for step, images in zip(steps, all_images.items.batches(parts), strict=True):
            draws = self.augment.draw(self.size, torch_generator(*self.key, name, step))
            yield normalise(self.augment(images, draws[own]), all_images.spec)
