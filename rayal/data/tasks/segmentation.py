"""One class per pixel.

N images, C classes, H W pixels, h w the logit grid, whose predictions are interpolated to pixels.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.card import Card
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, BadMask, LabelValue, decode
from rayal.data.pixels import labeled_rows, on_grid, per_image, upsampled
from rayal.data.tasks._confusion import UNLABELED, ConfusionMatrix
from rayal.data.tasks.base import Evaluator, Task
from rayal.errors import DataError, quoted


class Segmentation(Task):
    """Cross entropy of the labeled pixels; mean intersection over union, and per class.

    Pixels without a label (`masks.IGNORE`) count nowhere; an image without any has loss 0.
    """

    headline: ClassVar[str] = "miou"
    dense: ClassVar[bool] = True

    average: Literal["pixel", "image"] = "pixel"
    """What the loss of a batch is the mean over: all its labeled `pixel`s, or of every `image` the
    mean over its own, where one bought polygon weighs as much as a whole image."""

    def targets(self, labels: Mapping[str, LabelValue], card: Card) -> Tensor:
        if card.masks is None:
            raise DataError(f"dataset {card.name!r} has no masks; use task: classification")
        decoding = card.decoding or Decoding()  # raw: masks have their final size already
        found = np.empty((len(labels), card.image.height, card.image.width), np.uint8)
        for place, (unit, label) in enumerate(labels.items()):
            try:
                if isinstance(label, int):
                    raise BadMask(f"{label} is a class, not a mask")
                mask = decode(label, card.masks, decoding)
                if mask.shape != found.shape[1:]:
                    raise BadMask(f"is {mask.shape} instead of {found.shape[1:]} (H, W)")
            except BadMask as error:
                raise DataError(f"mask of {quoted(unit)}: {error}; mend or remove it") from error
            found[place] = mask
        return torch.from_numpy(found)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = upsampled(logits, labels.shape[1:])
        losses = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="none")
        return losses.sum(dim=(1, 2)) / (labels != IGNORE).sum(dim=(1, 2)).clamp(min=1)

    def weights(self, labels: Tensor) -> Tensor | None:
        """Of the mean over pixels: how many of each image are labeled."""
        return (labels != IGNORE).sum(dim=(1, 2)).float() if self.average == "pixel" else None

    def accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """On the logit grid: near enough to watch, without another map of every class."""
        truth = on_grid(labels, logits.shape[2:])
        right = (logits.argmax(dim=1) == truth).sum()
        return right / (truth != IGNORE).sum().clamp(min=1)

    def per_unit(self, values: Tensor, valid: Tensor | None) -> Tensor:
        return per_image(values, valid)

    def evaluator(self, num_classes: int) -> Evaluator:
        return PixelConfusion(num_classes)


class PixelConfusion(ConfusionMatrix):
    """Of labeled pixels."""

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.watch(logits)
        for grid, mask in zip(logits, labels, strict=True):  # one map at a time
            rows = upsampled(grid[None].float(), mask.shape)[0].flatten(1).T  # pixels, C
            rows, truth = labeled_rows(rows, mask.flatten())
            truth = torch.where(truth == IGNORE, UNLABELED, truth.long())
            nll = F.cross_entropy(rows, truth, ignore_index=UNLABELED, reduction="none")
            self.add(rows, truth, nll.sum(dtype=torch.float64))

    def compute(self, state: NDArray[np.float64]) -> dict[str, Any]:
        """IoU = right / (true + predicted - right) pixels of a class. The mean leaves out classes
        that are neither there nor predicted, for which it is not defined."""
        confusion = self.confusion(state)
        pixels, right = confusion.sum(), confusion.diagonal()
        if not pixels:
            raise DataError("no labeled pixel was evaluated: the test split has none")
        union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
        ious = [float(r / u) if u else None for r, u in zip(right, union, strict=True)]
        return {
            "miou": float(np.mean([iou for iou in ious if iou is not None])),
            "accuracy": float(right.sum() / pixels),
            "nll": float(state[-1] / pixels),
            "per_class_iou": ious,
        }
