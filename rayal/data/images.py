"""Any image file to uint8 pixels: one documented rule per mode, hostile bytes refused.

| stored as                       | becomes                                                     |
|---------------------------------|-------------------------------------------------------------|
| 1 bit, grey                     | grey; with 3 channels the same in all of them               |
| RGB, YCbCr, LAB, HSV            | RGB; with 1 channel 0.299 R + 0.587 G + 0.114 B             |
| palette                         | its colours, then as RGB                                    |
| CMYK                            | RGB by Pillow's rule, without a colour profile              |
| with transparency (RGBA, LA, or | laid on white, then as without                              |
| one colour of a palette or RGB) |                                                             |
| 16 bits a channel               | the high byte                                               |
| 32-bit integers or floats       | refused: their range is not known                           |
| an animation or several pages   | the first                                                   |
| with an EXIF orientation        | upright                                                     |

A truncated file is bad, never padded with grey. Colour profiles and all other metadata are ignored,
faulty or not.

Pillow decodes and torch resizes: three to four times as fast as Pillow, the same on every
processor, and what torchvision does to uint8 tensors. Of a photograph's values 0.1 to 3 % differ
from Pillow's by one level (a fifth where the sizes lead to ties), two in a million by two.
"""

import math
from operator import not_
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import Field, PositiveInt, model_validator
from torch.nn.functional import interpolate

from rayal.data import picture
from rayal.data.bad_image import BadImage as BadImage
from rayal.data.bad_image import WrongSize
from rayal.data.content import described
from rayal.data.in_place import copied, in_place
from rayal.settings import Settings

Pixels = NDArray[np.uint8]
Volume = NDArray[np.float32]
Vector = NDArray[np.float16]
Stored = Pixels | Volume | Vector
"""What stores keep decoded: pictures C H W, volumes C D H W, or vectors of features C."""
Sides = tuple[PositiveInt, PositiveInt]
"""Height and width."""

Interpolation = Literal["bilinear", "bicubic", "nearest-exact"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is recognised, whatever a file is called. Not all that Pillow knows: EPS would start
Ghostscript."""

ROOM = 2
"""A reduced image stays so many times as large as what it is resized to; hardly a value then
depends on it."""

PILLOW_LIMIT = 89_478_485  # pixels; above this Pillow itself warns of a decompression bomb


def _is_none(value: object) -> bool:
    return value is None


def _is_bilinear(value: object) -> bool:
    return value == "bilinear"


class Decoding(Settings):
    """How encoded images become arrays of one shape.

    With `size`: resize, then cut out the centre square. With `shape`: resize. With `canvas`: lay
    each, in its own size, at the top left of an area of one size.
    """

    channels: Literal[1, 3] = 3
    """Channels that networks see: 3 for colour, 1 for grey."""
    size: PositiveInt | None = None
    """Side of the square that networks see (pixels); null: as stored, one size for all images."""
    resize: PositiveInt | None = None
    """Shorter side before the centre is cut out (pixels, at least `size`); null: `size`."""
    squash: bool = False
    """Resize both sides to `resize`, whatever the shape, instead of keeping the proportions."""
    # Left out where they are null, so that what was identified by older options still is.
    shape: Sides | None = Field(default=None, exclude_if=_is_none)
    """Height and width (pixels) that every image is resized to, whatever its proportions; null:
    `size` says."""
    canvas: Sides | None = Field(default=None, exclude_if=_is_none)
    """Height and width (pixels) of the area at whose top left each image lies as it is, the rest in
    the image's mean colour; a larger image is bad. null: none."""
    interpolation: Literal["bilinear", "bicubic"] = Field(
        default="bilinear", exclude_if=_is_bilinear
    )
    """How images are resized; several networks of torchvision and most of timm were trained with
    bicubic resizing."""
    reduced: bool = Field(default=False, exclude_if=not_)
    """A JPEG is decoded at a half, a quarter or an eighth of its size where both sides are then
    still twice as long as the resize makes them. Photographs of 3 and 12 megapixels to 224 pixels
    are decoded 1.4 and 2.2 times as fast. Most values then differ by 2 levels at most, in fine
    texture some by more."""
    max_pixels: PositiveInt = Field(default=PILLOW_LIMIT, le=PILLOW_LIMIT)
    """Larger images (width x height, as stored or after the resize) are bad."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.size is None and (self.resize is not None or self.squash):
            raise ValueError("resize and squash need a size; set size")
        if self.size and self.resize and self.resize < self.size:
            raise ValueError(f"resize {self.resize} is below size {self.size}; raise resize")
        if sum(each is not None for each in (self.size, self.shape, self.canvas)) > 1:
            raise ValueError("size, shape and canvas exclude one another; set two of them to null")
        if self.reduced and self.size is None and self.shape is None:
            raise ValueError("reduced is for images that are resized; set size or shape")
        for name in ("shape", "canvas"):
            if (sides := getattr(self, name)) and math.prod(sides) > self.max_pixels:
                raise ValueError(f"{name} {sides} has more than max_pixels {self.max_pixels}")
        return self

    @property
    def frame(self) -> tuple[int, int] | None:
        """Height and width of every result; None where it is that of the image."""
        square = (self.size, self.size) if self.size else None
        return self.shape or self.canvas or square


def frame_of(height: int, width: int) -> str:
    """The option that makes images of this size, for messages."""
    return f"size: {height}" if height == width else f"shape: [{height}, {width}]"


class Loaded(NamedTuple):
    """An image file's pixels, before they are resized."""

    image: Image.Image
    """Upright, in mode L or RGB; smaller than the file says where the decoding is `reduced`."""
    height: int
    """As the file says, upright, as is `width`."""
    width: int


def decode(data: bytes, decoding: Decoding) -> Pixels:
    """The pixels, (C, H, W), of an encoded image; raises BadImage with the reason."""
    return pixels(load(data, decoding), decoding)


def load(data: bytes, decoding: Decoding, shape: tuple[int, ...] | None = None) -> Loaded:
    """The whole image, before it is resized; raises BadImage.

    `shape`, C H W, is what the decoding must make of it: an image that will not fit is refused by
    its header.
    """
    try:
        with picture.opened(data, FORMATS) as image:
            height, width = picture.upright_size(image)
            _check_area(width, height, decoding)
            if decoding.canvas is not None:
                _check_canvas(height, width, decoding.canvas)
            elif shape is not None and decoding.frame is None and (height, width) != shape[1:]:
                found = shape[0], height, width
                reason = (
                    f"is {found} instead of {shape} (C, H, W); set {frame_of(*shape[1:])} of the"
                    " dataset (of `rayal score`: of decoding)"
                )
                raise WrongSize(reason, height, width)
            if decoding.reduced:
                rows, columns = _target((height, width), decoding)
                picture.reduce(image, (ROOM * rows, ROOM * columns))
            mode: Literal["L", "RGB"] = "RGB" if decoding.channels == 3 else "L"
            return Loaded(_in_mode(picture.upright(image), mode), height, width)
    except BadImage:
        raise
    except UnidentifiedImageError as error:  # whose message is the address of a buffer
        formats = ", ".join(FORMATS)
        raise BadImage(f"not an image in one of the formats {formats}{described(data)}") from error
    except Exception as error:  # decoders raise anything on hostile bytes; one must not end a pass
        raise BadImage(f"{type(error).__name__}: {error}") from error


def pixels(loaded: Loaded, decoding: Decoding) -> Pixels:
    """The image of `load` in its final size, (C, H, W); raises BadImage when that is too large."""
    image, *size = loaded
    if decoding.canvas is not None or decoding.frame is None:
        return arranged(copied(image), decoding, decoding.interpolation)
    framed = _framed(in_place(image), tuple(size), decoding, decoding.interpolation)
    return np.ascontiguousarray(framed[: len(image.mode)])


def arranged(
    values: Pixels, decoding: Decoding, mode: Interpolation, fill: int | None = None
) -> Pixels:
    """Pixels, (C, H, W), in their final size; raises BadImage when that is too large.

    `fill` is what a canvas shows beside them; None: their mean.
    """
    if decoding.canvas is not None:
        return _on_canvas(values, decoding.canvas, fill)
    if decoding.frame is None:
        return np.ascontiguousarray(values)
    return np.ascontiguousarray(_framed(values, values.shape[1:], decoding, mode))


class Placed(NamedTuple):
    """Where the images of a decoding that has a frame and no canvas come from."""

    resized: tuple[int, int]
    """Height and width after the resize."""
    window: tuple[slice, slice]
    """Rows and columns of it that are kept."""


def placed(size: tuple[int, int], decoding: Decoding) -> Placed:
    """How an image of this height and width is resized and cut."""
    assert decoding.frame is not None
    resized = _target(size, decoding)
    return Placed(resized, _window(resized, decoding.frame))


def _in_mode(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode in ("I", "F"):
        raise BadImage(f"mode {image.mode} (32 bits a pixel) has no known range")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    return image.convert(mode)


def _framed(
    values: Pixels, size: tuple[int, ...], decoding: Decoding, mode: Interpolation
) -> Pixels:
    """Of an image whose height and width, before anything was reduced, are `size`."""
    assert decoding.frame is not None
    resized = _resized(values, _target(size, decoding), decoding, mode)
    return resized[:, *_window(resized.shape[1:], decoding.frame)]


def _resized(
    values: Pixels, size: tuple[int, int], decoding: Decoding, mode: Interpolation
) -> Pixels:
    """To this height and width with antialiasing, or the nearest pixel on the same grid."""
    _check_area(size[1], size[0], decoding)
    if values.shape[1:] == size:
        return values
    antialias = mode != "nearest-exact"
    # By values[None] torch would not see that channels lie last, and take up to twice as long.
    rows = values.transpose(1, 2, 0)
    batch = torch.from_numpy(rows.reshape(1, *rows.shape).transpose(0, 3, 1, 2))
    resized: Pixels = interpolate(batch, size, mode=mode, antialias=antialias).numpy()[0]
    return resized


def _target(sides: tuple[int, ...], decoding: Decoding) -> tuple[int, int]:
    """Height and width after the resize, of those before it: `shape`, or the shorter side made
    `resize` (the longer rounded down), or both sides."""
    if decoding.shape is not None:
        return decoding.shape
    side = decoding.resize or decoding.size
    assert side is not None
    if decoding.squash:
        return side, side
    height, width = sides
    shorter = min(height, width)
    return side * height // shorter, side * width // shorter


def _window(sides: tuple[int, ...], frame: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the centre."""
    top, left = (round((has - wants) / 2) for has, wants in zip(sides, frame, strict=True))
    return slice(top, top + frame[0]), slice(left, left + frame[1])


def _on_canvas(values: Pixels, canvas: tuple[int, int], fill: int | None) -> Pixels:
    """At the top left; an image that fills the canvas is only copied."""
    channels, height, width = values.shape
    _check_canvas(height, width, canvas)
    beside = values.mean((1, 2)).round() if fill is None else np.full(channels, fill)
    drawn = np.empty((channels, *canvas), np.uint8)
    drawn[:] = beside.astype(np.uint8)[:, None, None]
    drawn[:, :height, :width] = values
    return drawn


def _check_area(width: int, height: int, decoding: Decoding) -> None:
    if width * height > decoding.max_pixels:
        raise BadImage(f"{width}x{height} pixels are more than max_pixels {decoding.max_pixels}")


def _check_canvas(height: int, width: int, canvas: tuple[int, int]) -> None:
    if height > canvas[0] or width > canvas[1]:
        raise BadImage(f"{height}x{width} (HxW) is larger than the canvas {canvas[0]}x{canvas[1]}")
