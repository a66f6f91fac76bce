"""What jobs/bench/training.py measures rayal against: a training as one writes it by hand in
PyTorch, on images that lie on the device.

B images of a batch, C classes.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayal.data.card import ImageSpec

PAD = 4
"""Black pixels around an image, out of which it is cut again."""


@dataclass(frozen=True)
class Data:
    """A set on the device: uint8 images and, of labeled ones, classes."""

    images: Tensor
    labels: Tensor | None
    spec: ImageSpec

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All of it in any order, cut out and mirrored by chance, normalised; a last batch of one
        image is left out, which batch norm cannot train on."""
        device, labels = self.images.device, self.labels
        mean, std = (
            torch.tensor(each, device=device)[:, None, None]
            for each in (self.spec.mean, self.spec.std)
        )
        for rows in torch.randperm(len(self.images), device=device).split(size):
            if len(rows) > 1:
                images = (_changed(self.images[rows]).float() / 255 - mean) / std
                yield images, rows if labels is None else labels[rows]


class PlainTraining:
    """Cross entropy on the labeled images by SGD; where there are unlabeled ones also the squared
    distance of the logits to those of a moving average of the model, as TOD has it."""

    def __init__(
        self, model: nn.Module, labeled: Data, unlabeled: Data | None, size: int, bf16: bool
    ) -> None:
        self.model, self.labeled, self.unlabeled = model.train(), labeled, unlabeled
        self.size, self.bf16 = size, bf16
        if bf16 and labeled.images.is_cuda:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )

    def seconds(self, epochs: int) -> tuple[float, int]:
        """Of so many epochs, after one that warms up; and how many labeled images they saw."""
        self._epoch()
        started, seen = self._now(), 0
        for _ in range(epochs):
            seen += self._epoch()
        return self._now() - started, seen

    def _epoch(self) -> int:
        seen, others = 0, self._others()
        losses = []
        for images, labels in self.labeled.batches(self.size):
            with self._precision():
                loss = F.cross_entropy(self.model(images).logits.float(), labels)
                if self.unlabeled is not None:
                    loss = loss + 0.05 * self._distance(next(others))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.unlabeled is not None:
                self._follow()
            losses.append(loss.detach())
            seen += len(labels)
        mean = torch.stack(losses).mean().item()  # once an epoch
        assert mean == mean, "the hand-written training diverged"
        return seen

    def _others(self) -> Iterator[Tensor]:
        while self.unlabeled is not None:
            for images, _ in self.unlabeled.batches(self.size):
                yield images

    def _distance(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            teacher = self.teacher(images).logits.float()
        student: Tensor = self.model(images).logits.float()
        return (student - teacher).square().sum(dim=1).mean()

    @torch.no_grad()
    def _follow(self) -> None:
        for mean, value in zip(self.teacher.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 0.001)

    def _precision(self) -> AbstractContextManager[object]:
        device = self.labeled.images.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.bf16)

    def _now(self) -> float:
        if self.labeled.images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def _changed(images: Tensor) -> Tensor:
    """Each at a place of its own in its padding, and mirrored or not: B channels H W."""
    count, _, height, width = images.shape
    padded = F.pad(images, [PAD] * 4).unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(2 * PAD + 1, (2, count), device=images.device)
    cut = padded[torch.arange(count, device=images.device), :, top, left]
    mirrored = torch.rand(count, device=images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], cut.flip(3), cut)
