"""Masks: the class of every pixel of an image, in files of others and in rayal's own coding.

A label is the class of an image (int), a mask in rayal's own coding (bytes: a PNG of mode L whose
values are classes or IGNORE), or the address of somebody else's mask file (str), which stays where
it is. Only this module looks inside; ledgers, stores and oracles hand labels on.

H rows, W columns.
"""

import io
import json
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rayal.data import images, picture, uri
from rayal.data.images import BadImage, Decoding, arranged
from rayal.errors import quoted
from rayal.settings import Settings, wanted
from rayal.storage.location import located

IGNORE = 255
"""A pixel that is no class: never trained on, never judged."""

Mask = NDArray[np.uint8]
"""H W, class index or IGNORE."""
LabelValue = int | bytes | str

FORMATS = ("BMP", "GIF", "PNG", "PPM", "TIFF")
"""What masks are recognised in: formats that keep every value. JPEG does not."""
MODES = ("1", "L", "P", "I;16", "I;16B", "I")
"""One number a pixel; of a palette its index, whatever its colours."""
SHOWN = 8  # values in a message
HEAD = 2**16  # bytes
FAR = 1e6  # pixels: where a coordinate is cut off, far outside of any image


class BadMask(ValueError):
    """This is not a usable mask; the message is the reason, without the name of the file."""


class UnknownValues(BadMask):
    """It holds numbers, or names, that nobody has said the class of."""


class MaskDecoding(Settings):
    """How an original mask file becomes classes."""

    values: dict[int, int]
    """Stored value (0 to 65535) -> class or IGNORE; any other value is an error."""
    names: dict[str, int | None] = {}
    """Name of a polygon -> class, IGNORE, or null for one that is not drawn, for JSON files of
    polygons as Cityscapes has them; any other name is an error."""

    @field_validator("values", "names")
    @classmethod
    def _in_range(cls, value: dict[object, int | None]) -> dict[object, int | None]:
        if wrong := {item for item in value.values() if item is not None and not _is_class(item)}:
            are = "is neither a class" if len(wrong) == 1 else "are neither classes"
            raise ValueError(f"{_some(wrong)} {are} (0 to 254) nor {IGNORE}")
        if wrong := {key for key in value if isinstance(key, int) and not 0 <= key < 2**16}:
            are = "is no value" if len(wrong) == 1 else "are no values"
            raise ValueError(f"{_some(wrong)} {are} of a pixel (0 to 65535)")
        return value


def decode(label: bytes | str, masks: MaskDecoding, decoding: Decoding) -> Mask:
    """The mask of a label in the geometry of the images that networks see; raises BadMask.

    One that has this geometry already is returned as it is.
    """
    if isinstance(label, str):
        return arrange(read_mask(label, masks, decoding), decoding)
    stored = _pixels(label, decoding)
    own = {each for each in (*masks.values.values(), *masks.names.values()) if each is not None}
    return arrange(_classes(stored, {each: each for each in (*own, IGNORE)}), decoding)


def encode(mask: Mask) -> bytes:
    """Rayal's own coding: a PNG of mode L; the same bytes for the same mask."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(label: bytes) -> Mask:
    """What `encode` made this of."""
    return np.array(Image.open(io.BytesIO(label)))


def merged(labels: Sequence[bytes]) -> bytes:
    """One mask, in rayal's own coding, of several of the same image and geometry: of each pixel the
    class that the last of them says which says one."""
    first, *others = map(decoded, labels)
    for other in others:
        first = np.where(other == IGNORE, first, other)
    return encode(first)


def read_mask(original: bytes | str, masks: MaskDecoding, decoding: Decoding) -> Mask:
    """The classes in somebody else's mask file, or in the file at an address, in its own size.

    Upright by its EXIF orientation, like images. Raises BadMask. Of `decoding` only `max_pixels`
    counts.
    """
    try:
        data = uri.read_uri(original) if isinstance(original, str) else original
    except BadImage as error:
        raise BadMask(str(error)) from error
    if masks.names and _is_drawn(data):
        return _drawn(data, masks, decoding)
    others = ", JSON of polygons" if masks.names else ""
    return _classes(_pixels(data, decoding, others), masks.values)


def same_size(image: str, mask: str, masks: MaskDecoding) -> bool:
    """Whether the headers of an image and of its mask, at these addresses, tell the same size.

    False also where one of them tells none: then only decoding both can say.
    """
    try:
        head = _head(mask)
        if masks.names and _is_drawn(head):
            drawn = _polygons(uri.read_uri(mask))
            size = drawn.height, drawn.width
        else:
            size = _size(head, FORMATS)
        return size == _size(_head(image), images.FORMATS)
    except Exception:  # as in `_pixels`
        return False


def arrange(mask: Mask, decoding: Decoding) -> Mask:
    """The mask where `decoding` puts its image: the nearest pixel, a canvas filled with IGNORE.

    Raises BadMask for one that is larger than the canvas.
    """
    try:
        final: Mask = arranged(mask[None], decoding, "nearest-exact", IGNORE)[0]
    except BadImage as error:
        raise BadMask(str(error)) from error
    return final


def _head(address: str) -> bytes:
    """The first bytes of a file, where its size is said; raises for what is no regular file."""
    if os.path.isabs(address):
        if not stat.S_ISREG(os.stat(address).st_mode):
            raise BadImage(f"no regular file: {address}")
        with open(address, "rb") as file:
            return file.read(HEAD)
    fs, path = located(uri.checked(address))
    data: bytes = fs.cat_file(path, 0, HEAD)
    return data


def _size(head: bytes, formats: tuple[str, ...]) -> tuple[int, int]:
    """Height and width of an image, upright; from the first bytes of its file."""
    with Image.open(io.BytesIO(head), formats=formats) as image:
        return picture.upright_size(image)


def _pixels(data: bytes, decoding: Decoding, others: str = "") -> NDArray[np.integer]:
    """The stored values, H W, of an image file with one number a pixel; `others` are the formats
    that would have done too, for the message."""
    try:
        with picture.opened(data, FORMATS) as image:
            _check_area(image.width, image.height, decoding)
            if image.mode not in MODES:
                numbers = len(image.getbands())
                what = f"{numbers} numbers" if numbers > 1 else "no whole number"
                raise BadMask(
                    f"mode {image.mode} has {what} for each pixel; convert it to one whole number"
                    " (grey or palette)"
                )
            return np.array(picture.upright(image))
    except BadMask:
        raise
    except BadImage as error:
        raise BadMask(str(error)) from error
    except UnidentifiedImageError as error:  # whose message is the address of a buffer
        raise BadMask(f"not a mask in one of the formats {', '.join(FORMATS)}{others}") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise BadMask(f"{type(error).__name__}: {error}") from error


def _classes(stored: NDArray[np.integer], values: dict[int, int]) -> Mask:
    """Stored values as classes."""
    if len(far := np.unique(stored[(stored < 0) | (stored >= 2**16)])):
        raise _unknown(far.tolist(), values)
    size = 2**16 if stored.dtype.itemsize > 1 else 2**8
    table, known = np.full(size, IGNORE, np.uint8), np.zeros(size, bool)
    for value, number in values.items():
        if value < size:
            table[value], known[value] = number, True
    whole = stored.astype(np.uint16 if size > 2**8 else np.uint8, copy=False)
    if not known[whole].all():
        raise _unknown(np.unique(whole[~known[whole]]).tolist(), values)
    classes: Mask = table[whole]
    return classes


def _unknown(strange: Sequence[int], values: Iterable[int]) -> UnknownValues:
    said = f"value {strange[0]} is no class"
    if len(strange) > 1:
        said = f"values {_some(strange)} are no classes"
    return UnknownValues(f"{said}; known are {_ranges(values)}")


class _Polygon(BaseModel):
    """One object of a file of polygons; whatever else is said of it does not matter."""

    model_config = ConfigDict(allow_inf_nan=False)

    label: str
    polygon: list[tuple[float, float]] = Field(min_length=3)
    """Corners of pixels, x y; 0 0 is the top left corner of the image."""
    deleted: bool = False


class _Polygons(BaseModel):
    height: int = Field(alias="imgHeight", gt=0)
    width: int = Field(alias="imgWidth", gt=0)
    objects: list[_Polygon]


def _is_drawn(data: bytes) -> bool:
    """Whether this begins as JSON does, perhaps behind a byte order mark, and no image does."""
    return data[:64].removeprefix(BOM_UTF8).lstrip()[:1] == b"{"


def _polygons(data: bytes) -> _Polygons:
    try:
        return _Polygons.model_validate(json.loads(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadMask(f"not a file of polygons: {place}: {wanted(first)}") from error
    except (ValueError, RecursionError) as error:
        raise BadMask(f"not a file of polygons: {error}") from error


def _drawn(data: bytes, masks: MaskDecoding, decoding: Decoding) -> Mask:
    """Polygons one over the other in the order of the file; where there is none, IGNORE.

    A pixel belongs to a polygon when its centre is inside.
    """
    from rayal.data.polygons import fill  # with scipy, which most readers of masks do without

    found = _polygons(data)
    _check_area(found.width, found.height, decoding)
    mask = np.full((found.height, found.width), IGNORE, np.uint8)
    for item in found.objects:
        if item.deleted:
            continue
        if item.label not in masks.names:
            raise UnknownValues(
                f"polygons are called {quoted(item.label)}; known are {_some(masks.names)}"
            )
        number = masks.names[item.label]
        if number is not None:
            outline = np.clip(np.array(item.polygon), -FAR, FAR)
            window, inside = fill([outline], mask.shape)
            mask[window][inside] = number
    return mask


def _check_area(width: int, height: int, decoding: Decoding) -> None:
    if width * height > decoding.max_pixels:
        raise BadMask(f"{width}x{height} pixels are more than max_pixels {decoding.max_pixels}")


def _is_class(value: int) -> bool:
    return 0 <= value <= IGNORE


def _some(items: Iterable[object]) -> str:
    each = list(items)
    return ", ".join(map(str, each[:SHOWN])) + (", ..." if len(each) > SHOWN else "")


def _ranges(values: Iterable[int]) -> str:
    """0-18, 255 for the numbers from 0 to 18 and 255."""
    ranges = list[list[int]]()
    for value in sorted(values):
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return ", ".join(f"{low}-{high}" if low < high else f"{low}" for low, high in ranges)
