"""Pixels do not suffer from what is noted beside them, and are all there."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rayal.data import picture
from rayal.data.images import BadImage, Decoding, decode, load
from tests.data.test_images import encoded, photo

COLOUR, GREY = Decoding(channels=3), Decoding(channels=1)
PHOTO = photo(20, 30)
PLAIN = {kind: decode(encoded(PHOTO, kind), COLOUR) for kind in ("JPEG", "PNG", "TIFF", "WEBP")}


def directory(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """EXIF with these tags: number, type, count, four bytes."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    tags = b"".join(struct.pack(f"{order}HHL", *entry[:3]) + entry[3] for entry in entries)
    return head + struct.pack(f"{order}H", len(entries)) + tags + bytes(4)


def with_exif(exif: bytes, kind: str = "JPEG") -> bytes:
    data = encoded(PHOTO, kind)
    if kind == "PNG":
        return data[:33] + chunk(b"eXIf", exif) + data[33:]
    body = b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", right)


SIX = (0x112, 3, 1, struct.pack("<HH", 6, 0))
BESIDE = {
    "alone": [SIX],
    "an impossible fraction": [SIX, (0x11A, 10, 1, struct.pack("<L", 38))],
    "a value far behind the end": [(0x10E, 5, 1, struct.pack("<L", 9000)), SIX],
    "a directory that leads to itself": [SIX, (0x8769, 4, 1, struct.pack("<L", 8))],
    "a long number": [(0x112, 4, 1, struct.pack("<L", 6))],
}
NOT_TURNED = {
    "nothing": b"",
    "garbage": b"\x13\x37" * 40,
    "cut": directory(SIX)[:12],
    "zero": directory((0x112, 3, 1, bytes(4))),
    "nine": directory((0x112, 3, 1, struct.pack("<HH", 9, 0))),
    "text": directory((0x112, 2, 2, b"6\0\0\0")),
    "far away": b"II*\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("beside", BESIDE)
def test_orientation_is_read_alone(beside: str, kind: str) -> None:
    """A camera's mistake in another tag would cost a good photograph, or leave it on its side."""
    exif = directory(*BESIDE[beside]) + struct.pack("<ll", -1, 0)
    turned = np.rot90(PLAIN[kind], -1, (1, 2))

    np.testing.assert_array_equal(turned, decode(with_exif(exif, kind), COLOUR))


@pytest.mark.parametrize("exif", NOT_TURNED.values(), ids=NOT_TURNED)
def test_what_is_no_orientation_turns_nothing(exif: bytes) -> None:
    """The pixels are what they are."""
    np.testing.assert_array_equal(PLAIN["JPEG"], decode(with_exif(exif), COLOUR))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_all_turns(kind: str) -> None:
    """Of every format, as any viewer shows it."""
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    plain = decode(encoded(PHOTO, kind, **options), COLOUR)
    side = plain.transpose(0, 2, 1)
    turns = [plain, plain[:, :, ::-1], plain[:, ::-1, ::-1], plain[:, ::-1]]
    turns += [side, side[:, :, ::-1], side[:, ::-1, ::-1], side[:, ::-1]]
    for number, turned in enumerate(turns, 1):
        exif = Image.Exif()
        exif[0x112] = number
        how = {"tiffinfo": {0x112: number}} if kind == "TIFF" else {"exif": exif.tobytes()}
        data = encoded(PHOTO, kind, **how, **options)

        np.testing.assert_array_equal(turned, decode(data, COLOUR))
        with picture.opened(data, (kind,)) as image:
            assert turned.shape[1:] == picture.upright_size(image)


def test_viewers_do_not_read_xmp() -> None:
    """An editor that turned the pixels may leave the old word there."""
    xmp = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>'
    data = encoded(PHOTO, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp

    np.testing.assert_array_equal(PLAIN["JPEG"], decode(data[:2] + segment + data[2:], COLOUR))


def test_text_in_a_png_does_not_matter() -> None:
    """Generated images carry megabytes of it, damaged ones a wrong checksum."""
    data = encoded(PHOTO)
    large = chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(3 << 20)))
    for text in (large, chunk(b"tEXt", b"a\0b", checksum=7), chunk(b"iCCP", b"\0")):
        np.testing.assert_array_equal(PLAIN["PNG"], decode(data[:33] + text + data[33:], COLOUR))
    behind = data[:-12] + chunk(b"tEXt", b"a\0b", checksum=7) + data[-12:]
    for whole in (behind, data + b"junk", data[:-12]):
        np.testing.assert_array_equal(PLAIN["PNG"], decode(whole, COLOUR))


def test_damaged_chunks_are_bad() -> None:
    """A wrong palette is another picture."""
    data = encoded(PHOTO.quantize(8))
    at = data.index(b"PLTE") + 6
    with pytest.raises(BadImage, match="the checksum of PNG chunk 'PLTE' is wrong"):
        decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], COLOUR)
    with pytest.raises(BadImage, match="ends within a chunk"):
        decode(data[:-20], COLOUR)


def rows_missing(kind: str) -> bytes:
    """An image whose pixels end too early, and that ends well."""
    if kind.endswith("PNG"):
        head = struct.pack(">LLBBBBB", 30, 20, 8, 2, 0, 0, kind != "PNG")
        body = zlib.compress(bytes(10 * 91))
        parts = (chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    if kind == "GIF":
        data = encoded(PHOTO.convert("P"), "GIF")
        first = data.index(b"\x2c", 13 + 768) + 11
        return data[: first + 1] + data[first + 1 : first + 1 + data[first]] + b"\0;"
    if kind == "BMP":
        return encoded(PHOTO, "BMP")[:-90]
    if kind == "PPM":
        return b"P3\n4 4\n255\n" + b"255 0 0 " * 15
    return short_strips(
        encoded(PHOTO.convert("1") if "group" in kind else PHOTO, "TIFF", compression=kind)
    )


def short_strips(data: bytes) -> bytes:
    """A TIFF whose last strip is said to have half of its bytes."""
    start = struct.unpack("<L", data[4:8])[0]
    for entry in range(
        start + 2, start + 2 + 12 * struct.unpack("<H", data[start : start + 2])[0], 12
    ):
        tag, _, count, size = struct.unpack("<HHLL", data[entry : entry + 12])
        if tag == 279:
            assert count == 1
            return data[: entry + 8] + struct.pack("<L", size // 2) + data[entry + 12 :]
    raise AssertionError("no strips")


@pytest.mark.parametrize(
    "kind",
    [
        "PNG",
        "interlaced PNG",
        "GIF",
        "BMP",
        "PPM",
        "jpeg",
        "group3",
        "group4",
        "tiff_lzw",
        "packbits",
    ],
)
def test_pixels_that_end_early_are_bad(kind: str) -> None:
    """The rest would be black, white or grey, and look like a certain class."""
    with pytest.raises(BadImage):
        decode(rows_missing(kind), COLOUR)


@pytest.mark.parametrize("compression", ["jpeg", "group3", "group4", "tiff_adobe_deflate"])
def test_whole_strips_are_good(compression: str) -> None:
    """Also in several strips, the last one shorter."""
    image = photo(300, 200)
    image = image.convert("1") if "group" in compression else image
    data = encoded(image, "TIFF", compression=compression)

    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pillow, decode(data, COLOUR))


def test_a_size_that_will_not_fit_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """81 million pixels would be decoded for each image that is refused by its shape."""
    monkeypatch.setattr(picture, "upright", lambda _: pytest.fail("decoded"))
    data = encoded(PHOTO, exif=directory(SIX))

    with pytest.raises(
        BadImage, match=r"is .3, 30, 20. instead of .3, 20, 30. .*; set shape: .20, 30. of"
    ):
        load(data, COLOUR, (3, 20, 30))
    with pytest.raises(BadImage, match="30x20 .* is larger than the canvas 25x25"):
        load(data, Decoding(canvas=(25, 25)), (3, 25, 25))


@pytest.mark.parametrize(
    "data, what",
    [
        (b"<!DOCTYPE html><p>403", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0\0\0\x1cftypavif\0\0", "an AVIF image"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image"),
        (b"\x1f\x8b\x08", "a gzip file"),
    ],
)
def test_what_it_is_instead_is_said(data: bytes, what: str) -> None:
    """A download of error pages would be searched for damage."""
    with pytest.raises(BadImage, match=f"not an image in one of .* WEBP: it is {what}"):
        decode(data, COLOUR)
