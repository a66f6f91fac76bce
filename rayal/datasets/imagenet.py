"""ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation images, 1,000 classes."""

import os
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import PositiveInt

from rayal.datasets.image_folder import ImageFolder
from rayal.errors import DataError
from rayal.source import Keep

META = "meta.bin"


class Imagenet(ImageFolder):
    """`root/train/n01440764/*.JPEG` and `root/val/n01440764/*.JPEG`, read where they are.

    The validation images are the test split. The images are neither copied nor decoded while
    preparing: one that is missing or damaged shows up while scoring. They are identified by name
    and size only. `root/meta.bin`, written by torchvision, gives the classes readable names.

    *Source*: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015.
    """

    layout: ClassVar[str] = "train/ and val/ with a folder for each of the 1,000 wnids"
    origin: ClassVar[str] = "https://image-net.org"
    licence: ClassVar[str] = "research and education only"

    test: str = "val"
    """Folder of the test images, below root."""
    encoding: Keep = "uri"
    """How the store keeps images; see image_folder."""
    verify: bool = False
    """Decode every image once while preparing (about three hours of one core)."""
    size: PositiveInt | None = 224
    """Side of the square that networks see (pixels)."""
    resize: PositiveInt | None = 256
    """Shorter side before the centre is cut out (pixels)."""
    mean: tuple[float, ...] | None = (0.485, 0.456, 0.406)
    """Per channel, of pixels in [0, 1]; null: computed from the pool, with `verify`."""
    std: tuple[float, ...] | None = (0.229, 0.224, 0.225)
    """Given together with mean."""

    def files(self) -> list[str]:
        named = [META] if (self.folder / META).exists() else []
        return [*named, *super().files()]

    def identity(self, path: str) -> str:
        """The size: 140 GB are not read to see whether a store is there."""
        return str(os.stat(path).st_size)

    def class_names(self, classes: Sequence[str]) -> list[str]:
        """The wnid and its first name: two classes are called crane."""
        meta = self.folder / META
        if not meta.exists():
            return list(classes)
        try:
            names, _ = torch.load(meta, weights_only=True)
            return [f"{wnid} {names[wnid][0]}" for wnid in classes]
        except Exception as error:  # torch.load raises anything on bytes that are not its own
            raise DataError(
                f"{meta} is not the class list of torchvision: {error}; remove it, or make it anew"
            ) from error
