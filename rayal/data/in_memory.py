"""Images in the memory of this process: an array, a tensor, or a map-style dataset of torch.

N images of C channels, H rows, W columns, of volumes also planes before the rows; D numbers where
a network takes vectors.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayal.errors import DataError, UsageError, counted, quoted
from rayal.storage.ids import Ids

Layout = Literal["NCHW", "NHWC"]
"""Where an array has its channels."""
MODES = ("L", "RGB")
"""Of PIL images, whose pixels are what they show."""


class InMemory(Protocol):
    """Images that are there, as a network takes them but for their normalisation."""

    def __len__(self) -> int:
        """N."""

    def rows(self, rows: slice) -> Tensor:
        """Images N C H W, or vectors N D: uint8 pixels or floating-point numbers; or volumes, N C
        D H W, of floating-point numbers."""


class ArrayImages:
    """The images of one array or tensor, which is not copied."""

    def __init__(self, array: Any, layout: Layout | None, channels: int | None) -> None:
        """`channels` are those that the network takes, None where it says nothing of them."""
        self.array = array
        shape, kind = tuple(array.shape), type(array).__name__
        if not 2 <= len(shape) <= 5:
            raise UsageError(
                f"images of shape {shape} are none; give N C H W, N H W C or N H W, or volumes"
                " N C D H W"
            )
        usual: Layout | None = "NCHW" if isinstance(array, Tensor) else None
        self._order = _order(shape[1:], layout, channels, usual, f"{kind} of shape {shape}")
        _check_kind(array)

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, rows: slice) -> Tensor:
        part = self.array[rows]
        if not isinstance(part, Tensor):
            part = torch.from_numpy(np.array(part))  # a copy: memory may be read-only
        return _arranged(part.detach(), self._order)


class DatasetImages:
    """The images of a map-style dataset, whose items are images, or begin with one."""

    def __init__(self, dataset: Any, layout: Layout | None, channels: int | None) -> None:
        self.dataset = dataset
        first = _image(dataset[0], 0)
        usual: Layout | None = "NCHW" if isinstance(first, Tensor) else None
        self._shape = tuple(first.shape)
        if not 1 <= len(self._shape) <= 4:
            raise UsageError(
                f"images of shape {self._shape} are none; give C H W, H W C or H W, or volumes"
                " C D H W"
            )
        self._order = _order(self._shape, layout, channels, usual, f"images of {self._shape}")
        _check_kind(first)

    def __len__(self) -> int:
        return len(self.dataset)

    def rows(self, rows: slice) -> Tensor:
        return _arranged(torch.stack([*map(self._item, range(len(self))[rows])]), self._order)

    def _item(self, number: int) -> Tensor:
        image = _image(self.dataset[number], number)
        if tuple(image.shape) != self._shape:
            raise DataError(
                f"image {number} is of shape {tuple(image.shape)}, image 0 of {self._shape}; give"
                " the dataset a transform that resizes them to one"
            )
        return image.detach() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))


def in_memory(images: Any, layout: Layout | None = None, channels: int | None = None) -> InMemory:
    """These images, seen as N C H W.

    A tensor is N C H W; of an array, and of the items of a dataset that are no tensors, the axis of
    the channels is the one that has as many as the network takes: `channels`, or 1 or 3 where that
    is None. Without such an axis they are grey, N H W. Volumes are always N C D H W. Raises
    UsageError for what is none of this, and where two axes may be it.
    """
    if layout not in (None, *get_args(Layout)):
        raise UsageError(f"layout {layout!r} is none; choose one of: {', '.join(get_args(Layout))}")
    sized = hasattr(images, "__getitem__") and hasattr(images, "__len__")
    axes: int = getattr(images, "ndim", 1)  # an array without any has no length
    if sized and axes and not len(images):
        raise UsageError("there are no images to score; give some")
    if isinstance(images, Tensor | np.ndarray):
        return ArrayImages(images, layout, channels)
    if not sized:
        raise UsageError(
            f"images are {type(images).__name__}; give a tensor, an array, a dataset with __len__"
            " and __getitem__, or where they are stored: a folder, Parquet files, a dataset's name"
        )
    return DatasetImages(images, layout, channels)


def unit_ids(count: int, given: Iterable[str | int] | None) -> Ids:
    """The ids of so many images: as given, else their numbers from "0" on.

    Raises UsageError for what can be no ids of these.
    """
    if given is None:
        return Ids(map(str, range(count)))
    texts = [_id(place, each) for place, each in enumerate(given)]
    if len(texts) != count:
        raise UsageError(
            f"{counted(len(texts), 'id')} for {counted(count, 'image')}; give one for each"
        )
    try:
        ids = Ids(texts)
    except UnicodeEncodeError as error:
        raise UsageError(f"id {quoted(error.object)} is not Unicode; rename it") from error
    if len(ids.array.unique()) < count:
        twice, _ = Counter(texts).most_common(1)[0]
        raise UsageError(f"id {quoted(twice)} is used more than once; make the ids unique")
    return ids


def _id(place: int, given: Any) -> str:
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str) or not given:
        raise UsageError(f"id {place} is {quoted(given)}; give strings or whole numbers as ids")
    return str(given)


Order = tuple[int, ...] | None
"""How axes move to N C H W; None: a channel is added, or there is nothing to move."""


def _order(
    shape: Sequence[int],
    layout: Layout | None,
    channels: int | None,
    usual: Layout | None,
    what: str,
) -> Order:
    """Of images of this shape, without N."""
    wanted = (1, 3) if channels is None else (channels,)
    takes = "" if channels is None else f", and the model takes {channels} channels"
    if len(shape) == 2:
        if 1 not in wanted:
            raise UsageError(
                f"{what}: without an axis of channels, N H W, they are grey{takes}; repeat them:"
                f" np.repeat(images[:, None], {channels}, axis=1)"
            )
        return None
    if len(shape) == 1:
        return None
    if len(shape) == 4:
        if layout == "NHWC" or channels not in (None, shape[0]):
            raise UsageError(f"{what} are volumes N C D H W{takes}; give volumes so")
        return None
    there: dict[Layout, bool] = {"NCHW": shape[0] in wanted, "NHWC": shape[2] in wanted}
    likely: Layout = "NHWC" if shape[2] < shape[0] else "NCHW"  # channels are few
    chosen = layout or usual or _only(there, what, takes, likely)
    if channels is not None and not there[chosen]:
        other: Layout = "NHWC" if chosen == "NCHW" else "NCHW"
        way_out = f"say layout={other!r}" if there[other] else "give images of as many"
        raise UsageError(f"{what} as {chosen}{takes}; {way_out}")
    return (0, 3, 1, 2) if chosen == "NHWC" else (0, 1, 2, 3)


def _only(there: dict[Layout, bool], what: str, takes: str, likely: Layout) -> Layout:
    found: list[Layout] = [layout for layout, fits in there.items() if fits]
    if len(found) == 1:
        return found[0]
    if found or not takes:
        raise UsageError(
            f"{what}: channels may be the second axis or the last; say layout='NCHW' or"
            " layout='NHWC'"
        )
    return likely  # of which the caller says what is wrong


def _arranged(images: Tensor, order: Order) -> Tensor:
    if order is not None:
        return images.permute(order)
    return images[:, None] if images.ndim == 3 else images


def _image(item: Any, number: int) -> Any:
    """The image of a dataset's item, an array or a tensor."""
    if isinstance(item, tuple | list) and item:
        item = item[0]
    if isinstance(item, Image.Image):
        if item.mode not in MODES:
            raise UsageError(
                f"image {number} is a PIL image of mode {item.mode}; convert it:"
                " image.convert('RGB')"
            )
        return np.array(item)
    if not isinstance(item, Tensor | np.ndarray):
        raise UsageError(
            f"image {number} is {quoted(item)}; give datasets whose items are tensors, arrays or"
            " PIL images, or (image, label); images in files are given as their folder"
        )
    return item


def _check_kind(images: Any) -> None:
    kind = str(images.dtype).removeprefix("torch.")
    if kind != "uint8" and not kind.startswith(("float", "bfloat")):
        raise UsageError(
            f"images are {kind}; give uint8 pixels, or floating-point numbers as the model takes"
            " them"
        )
