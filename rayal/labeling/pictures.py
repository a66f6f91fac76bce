"""Images of a store as files that people open: as they were where every browser shows them, else as
PNG, upright. Of a unit that is a region the whole image, dimmed and grey but for the region."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from rayal.data import picture, uri
from rayal.data.images import FORMATS, BadImage
from rayal.data.pool import Images
from rayal.data.store import Store
from rayal.data.walk import SUFFIXES as IMAGE_SUFFIXES
from rayal.errors import DataError, quoted
from rayal.labeling.exchange.base import IMAGES, Item
from rayal.storage.folder import Folder

Handing = Literal["copied", "linked"]
CHUNK = 64  # images in memory at a time
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp"}
"""What browsers show."""
SIGNS = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 60  # signs of an id in a file name
TAG = 8  # signs of a request's name in it
DARK, YELLOW, QUALITY = 0.5, (255, 220, 0), 95
LINE = 500
"""By what the longer side of an image is divided for the width of a line (pixels)."""


class Picture(NamedTuple):
    """An image file."""

    data: bytes
    suffix: str
    size: tuple[int, int]
    """H W, as people see it."""


class Album(Protocol):
    """Where the images of units are."""

    def image(self, unit: str) -> str:
        """The image that a unit is, or lies in; raises DataError for one that lies nowhere."""

    def stored(self, images: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Each image as it is stored: pixels C H W, encoded bytes, or an address."""

    def shown(self, unit: str, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """The pixels of its image, H W `size`, that a unit is; None: all of them."""


def write_pictures(
    album: Album, units: Sequence[str], handing: Handing, out: Folder, name: str = ""
) -> Iterator[Item]:
    """The units as items to be labeled, by image; their pictures are put into `out`/images.

    File names sort by rank, and end with a part of the request's `name`: some tools give back
    nothing else, and an image may be in two requests. `linked` leaves images where they are that
    are known by address alone. Raises DataError for one that cannot be read.
    """
    lying = dict[str, list[tuple[int, str]]]()
    for rank, unit in enumerate(units, start=1):
        lying.setdefault(album.image(unit), []).append((rank, unit))
    for image, stored in album.stored([*lying]):
        whole = picture_of(image, stored)
        for rank, unit in lying[image]:
            part = album.shown(unit, whole.size)
            if part is None and handing == "linked" and isinstance(stored, str):
                yield Item(unit, rank, stored, whole.size)
                continue
            found = whole if part is None else dimmed(whole, part)
            file = file_name(unit, rank, len(units), found.suffix, name)
            (out / IMAGES).write(file, found.data)
            yield Item(unit, rank, f"{IMAGES}/{file}", whole.size, part is not None)


def pictures(store: Store, images: Sequence[str]) -> Iterator[tuple[str, object, Picture]]:
    """Each image, as the store has it (pixels, bytes or an address), and as a file for people.

    Raises DataError for one that cannot be read.
    """
    for image, stored in stored_images(store, images):
        yield image, stored, picture_of(image, stored)


def file_name(unit: str, rank: int, of: int, suffix: str, request: str = "") -> str:
    """A name by which files sort by rank, from 1, among so many; it ends with a part of the
    request's name, if there is one."""
    rank_text = f"{rank:0{max(4, len(str(of)))}d}"
    return "-".join(filter(None, (rank_text, _safe(unit), request[:TAG]))) + suffix


def picture_of(unit: str, stored: object) -> Picture:
    """The file of an image: of pixels C H W, encoded bytes, or an address."""
    try:
        if isinstance(stored, np.ndarray):
            return of_pixels(stored)
        data = uri.read_uri(stored) if isinstance(stored, str) else stored
        assert isinstance(data, bytes)
        with picture.opened(data, FORMATS) as image:
            kept = SUFFIXES.get(image.format or "")
            if kept is None or picture.orientation(image) != 1:
                return _png(picture.upright(image))
            return Picture(data, kept, (image.height, image.width))
    except (BadImage, OSError) as error:
        raise unshowable(unit, error) from error


def unshowable(unit: str, reason: object) -> DataError:
    """What is said of an image that cannot be read."""
    return DataError(f"{quoted(unit)} cannot be shown to people: {reason}; leave it out")


def of_pixels(pixels: NDArray[np.uint8]) -> Picture:
    """The file of an image C H W, as PNG."""
    return _png(Image.fromarray(np.moveaxis(pixels, 0, -1).squeeze()))


def _png(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Picture(buffer.getvalue(), ".png", (image.height, image.width))


def dimmed(whole: Picture, part: NDArray[np.bool_]) -> Picture:
    """Dark and grey but for this part, H W, along which runs a bright line."""
    from scipy import ndimage  # takes a fifth of a second, which most runs do without

    with Image.open(io.BytesIO(whole.data)) as image:
        colours = np.asarray(image.convert("RGB"))
        grey = np.asarray(image.convert("L"))[:, :, None] * DARK
    width = max(1, max(whole.size) // LINE)
    line = ndimage.binary_dilation(part, iterations=width) & ~part
    drawn = np.where(part[:, :, None], colours, grey.astype(np.uint8))
    drawn[line] = YELLOW
    if whole.suffix != SUFFIXES["JPEG"]:
        return _png(Image.fromarray(drawn))
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=QUALITY)
    return Picture(buffer.getvalue(), whole.suffix, whole.size)


def stored_images(store: Store, images: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Each image as the store has it: pixels, bytes, or an address."""
    for rows in store.pool.chunks(images, CHUNK):
        yield from stored_rows(store.pool, rows)


def stored_rows(images: Images, rows: pa.Table) -> Iterator[tuple[str, object]]:
    """As `stored_images`, of rows; raises DataError for one without an image."""
    for number, unit in enumerate(rows["id"].to_pylist()):
        try:
            yield from images.stored(rows.slice(number, 1))
        except BadImage as error:
            raise unshowable(unit, error) from error


def _safe(unit: str) -> str:
    """What a file name can hold of an id, its end first to stay, without the suffix of an image."""
    stem, suffix = os.path.splitext(unit)
    kept = stem if suffix.lower() in IMAGE_SUFFIXES else unit
    return SIGNS.sub("_", kept)[-LONGEST:].strip("._") or "image"
