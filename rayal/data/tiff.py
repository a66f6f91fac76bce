"""Whether the strips of a TIFF hold all of its pixels, where its decoder would not say."""

import io
from collections.abc import Iterator

from PIL import Image, ImageFile

from rayal.data import jpeg
from rayal.data.bad_image import BadImage

COMPRESSION, HEIGHT, FILL_ORDER, STRIP_ROWS, JPEG_TABLES = 259, 257, 266, 278, 347
PLACES, SIZES = (273, 324), (279, 325)
"""Of strips, and of tiles."""
GROUP_3, GROUP_4, JPEG = 3, 4, 7

END_OF_LINE = "000000000001"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_strips(image: ImageFile.ImageFile, data: bytes) -> None:
    """BadImage where a strip of JPEG or fax coding ends before its pixels do.

    Of fax the end marks are looked for: every line of group 3 has one, every strip of group 4 two.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(COMPRESSION)
    if compression not in (GROUP_3, GROUP_4, JPEG):
        return
    height = int(tags[HEIGHT])
    rows = min(int(tags.get(STRIP_ROWS, height)), height)
    for number, strip in enumerate(_strips(tags, data)):
        if compression == JPEG:
            _check_jpeg(tags.get(JPEG_TABLES), strip)
            continue
        strip = strip.translate(REVERSED) if tags.get(FILL_ORDER) == 2 else strip
        lines = min(rows, height - number * rows) if compression == GROUP_3 else 2
        part = strip if compression == GROUP_3 else strip[-8:]
        bits = format(int.from_bytes(b"\1" + part), "b")
        if bits.count(END_OF_LINE) < lines:
            raise BadImage(f"truncated: strip {number} of the TIFF ends before its pixels do")


def _strips(tags: dict[int, tuple[int, ...]], data: bytes) -> Iterator[bytes]:
    places, sizes = (
        next((tags[tag] for tag in kind if tag in tags), ()) for kind in (PLACES, SIZES)
    )
    for place, size in zip(places, sizes, strict=True):
        yield data[place : place + size]


def _check_jpeg(tables: bytes | None, strip: bytes) -> None:
    whole = tables[:-2] + strip[2:] if tables else strip
    with Image.open(io.BytesIO(whole), formats=["JPEG"]) as part:
        jpeg.load_whole(part, whole)
