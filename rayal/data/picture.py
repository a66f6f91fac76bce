"""Image files opened for their pixels alone: whole, upright, whatever is wrong with the rest.

What pixels do not need is taken out before anything reads it: text, colour profiles, thumbnails and
what cameras note are faulty in many good photographs. Of EXIF the orientation is read, nothing
else; what XMP says of it counts no more than in a viewer.
"""

import io
import warnings
import zlib
from collections.abc import Sequence

from PIL import ExifTags, Image, ImageFile

from rayal.data import jpeg, tiff
from rayal.data.bad_image import BadImage

PNG, JPEG, EXIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"Exif\0\0"

JPEG_KEPT = (0xE0, 0xEE)
"""Segments of applications that say what the components are: JFIF and Adobe."""

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the kind of colour."""
ADAM_7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
    *((1, 0, 2, 2), (0, 1, 1, 2)),
)
"""Of each pass of an interlaced PNG its first column and row, and the steps between its pixels."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, what makes an image upright; 1 and whatever is no orientation: nothing."""

# A warning about a bomb scrolls by while the memory fills up: make it an error in this process.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Of what is noted in a file beside its pixels.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def opened(data: bytes, formats: Sequence[str]) -> ImageFile.ImageFile:
    """An image whose header alone is read; UnidentifiedImageError for any other content, BadImage
    for a damaged file."""
    if not data:
        raise BadImage("empty file")
    exif = b""
    if data.startswith(PNG):
        data, exif = _png(data)
    elif data.startswith(JPEG):
        data, exif = _jpeg(data)
    image = Image.open(io.BytesIO(data), formats=tuple(formats))
    if exif:
        image.info["exif"] = exif
    return image


def upright(image: ImageFile.ImageFile) -> Image.Image:
    """The pixels of an opened image, turned as its EXIF says; BadImage where some are missing."""
    # Set by some libraries at import; it turns lost rows into grey ones without a word.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    turn = TURNS.get(orientation(image))
    assert isinstance(image.fp, io.BytesIO)
    content = image.fp.getvalue()
    if image.format == "JPEG":
        jpeg.load_whole(image, content)
    elif image.format == "TIFF":
        tiff.check_strips(image, content)
        image.load_end = lambda: None  # type: ignore[method-assign]  # turns, and writes EXIF back
    image.load()
    if image.format == "PNG":
        _check_rows(image, content)
    return image if turn is None else image.transpose(turn)


def reduce(image: ImageFile.ImageFile, least: tuple[int, int]) -> None:
    """`upright` will give the smallest of a JPEG's own reductions, by 2, 4 and 8, whose height and
    width are not below `least`; any other image stays as it is."""
    height, width = least
    if image.format == "JPEG":
        image.draft(None, (height, width) if orientation(image) >= 5 else (width, height))


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Height and width of what `upright` gives."""
    width, height = image.size
    if image.format == "TIFF":  # which some versions of Pillow have turned already
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
    return (width, height) if orientation(image) >= 5 else (height, width)


def orientation(image: ImageFile.ImageFile) -> int:
    """As EXIF counts, 1 to 8; 1 where it is not said, or not to be understood."""
    if image.format == "TIFF":
        said = image.tag_v2.get(ExifTags.Base.Orientation)  # type: ignore[attr-defined]
    else:
        said = _orientation(image.info.get("exif", b""))
    return said if said in TURNS else 1


def _orientation(exif: bytes) -> int | None:
    """The first tag of this number in the first directory, whatever the others hold."""
    while exif.startswith(EXIF):
        exif = exif[len(EXIF) :]
    big = exif[:2] == b"MM"

    def number(place: int, size: int) -> int:
        return int.from_bytes(exif[place : place + size], "big" if big else "little")

    first = number(4, 4) + 2
    last = min(first + 12 * number(first - 2, 2), len(exif) - 10)
    for entry in range(first, last, 12):
        if number(entry, 2) == ExifTags.Base.Orientation:
            return number(entry + 8, {3: 2, 4: 4}.get(number(entry + 2, 2), 0))
    return None


def _check_rows(image: ImageFile.ImageFile, data: bytes) -> None:
    """BadImage for a loaded PNG whose stream of pixels was too short: what it lacks is 0."""
    width, height = image.size
    interlaced = bool(image.info.get("interlace"))
    if not interlaced and image.crop((0, height - 1, width, height)).getbbox(alpha_only=False):
        return
    depth, kind = data[24:26]
    bits = depth * PNG_CHANNELS[kind]
    passes = ADAM_7 if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    expected = sum(high * (1 + -(-wide * bits // 8)) for wide, high in sizes if wide > 0 < high)
    parts, place = list[bytes](), len(PNG)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            parts.append(data[place + 8 : end - 4])
        place = end
    if len(zlib.decompressobj().decompress(b"".join(parts), expected)) < expected:
        raise BadImage("truncated: the PNG's stream of pixels ends too early")


def _png(data: bytes) -> tuple[bytes, bytes]:
    """The chunks of a PNG that pixels need, and its EXIF; BadImage for a damaged one.

    It may end without an end: whether pixels are missing their own stream tells.
    """
    kept, exif, place, behind = [PNG], b"", len(PNG), memoryview(data)
    while (end := place + 12 + int.from_bytes(data[place : place + 4])) <= len(data):
        kind, body = data[place + 4 : place + 8], behind[place + 4 : end - 4]
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf"):
            whole = zlib.crc32(body) == int.from_bytes(data[end - 4 : end])
            if kind == b"eXIf":
                exif = bytes(body[4:]) if whole else b""
            elif not whole:
                raise BadImage(f"the checksum of PNG chunk {kind.decode('latin-1')!r} is wrong")
            else:
                kept.append(data[place:end])
        place = end
        if kind == b"IEND":
            break
    else:
        if place < len(data):
            raise BadImage("truncated: the PNG ends within a chunk")
    return b"".join(kept), exif


def _jpeg(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG without comments and without what applications wrote into it, and its EXIF."""
    kept, exif, place = [JPEG], b"", len(JPEG)
    while data[place : place + 1] == b"\xff" and place + 1 < len(data):
        kind = data[place + 1]
        if kind == 0xFF:
            place += 1
            continue
        if kind in jpeg.ALONE or kind in (jpeg.START_OF_SCAN, jpeg.END):
            break
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        segment = data[place:end]
        if kind == 0xE1 and segment[4:].startswith(EXIF):
            exif += segment[4 + len(EXIF) :]  # one block may need several segments
        elif kind in JPEG_KEPT or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            kept.append(segment)
        place = end
    return b"".join([*kept, data[place:]]), exif
