"""JPEGs decoded whole or not at all.

The decoder fills what a JPEG has lost with grey, and skips what it cannot make sense of, both
without a word: a file that was cut and then given an end passes for a photograph. So it is fed scan
by scan. Shortly before the end of a scan it must want more; behind it, where padding stands in
place of the next marker, it must want nothing: padding is data to a scan that lacks some, and
skipped by one that is complete. What it wants shows in what it leaves of its input. No more than
the last two blocks of 8 x 8 pixels may be lost unseen, for which the padding is enough.
"""

import re
from typing import NamedTuple

from PIL import Image, ImageFile

from rayal.data.bad_image import BadImage

START_OF_SCAN, END, INTERVAL = 0xDA, 0xD9, 0xDD
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
"""Markers without a length."""

RESTARTS = range(0xD0, 0xD8)
ALL = 2**64 - 1
"""A bit for each coefficient of a block."""

MARKER = re.compile(rb"\xff[^\x00\xff]")

AHEAD = 16
"""Bytes: more than the decoder reads ahead of what it decodes, with their zeros behind 255."""
PADDING = b"\xff\x00" * 8  # bits that are all 1, which is no code of any table


class _Scan(NamedTuple):
    header: bytes
    interval: int
    """Units between two restart markers; 0: there are none."""
    start: int
    end: int
    restarts: list[int]
    """Numbers, 0 to 7, of the restart markers between; not of one at the very end, which belongs to
    nothing and harms nothing."""


class _Layout(NamedTuple):
    progressive: bool
    frame: bytes
    """Of the frame header, what follows its length."""
    scans: list[_Scan]

    @property
    def components(self) -> bytes:
        return self.frame[6::3]

    def units(self, parts: bytes) -> int:
        """How many a scan of these components has: of one component its blocks of 8 x 8 pixels, of
        several the squares that hold whole blocks of each."""
        height, width = (int.from_bytes(self.frame[at : at + 2]) for at in (1, 3))
        sampling = dict(zip(self.components, self.frame[7::3], strict=True))
        most = [max(each[n] for each in map(_halves, sampling.values())) for n in (0, 1)]
        own = _halves(sampling[parts[0]]) if len(parts) == 1 else (1, 1)
        across, down = (
            _ceiling(_ceiling(side * of, whole), 8)
            for side, of, whole in zip((width, height), own, most, strict=True)
        )
        return across * down


def _ceiling(value: int, divisor: int) -> int:
    return -(-value // divisor)


def _halves(byte: int) -> tuple[int, int]:
    return byte >> 4, byte & 15


def load_whole(image: ImageFile.ImageFile, data: bytes) -> None:
    """Load the pixels of a JPEG that was opened from `data`; BadImage where some are missing."""
    layout = _layout(data)
    if layout is None:  # arithmetic or lossless coding, which cannot be fed in parts
        image.load()
        return
    _check_scans(layout)
    feed = _Feed(image)
    if not layout.progressive and layout.scans[0].header[0] == len(layout.components):
        _feed_one(feed, layout.scans[0], data)
    else:
        _feed_all(feed, layout.scans, data)
    image.tile = []  # loaded


def _layout(data: bytes) -> _Layout | None:
    """None for a coding that is not looked into; BadImage for a file without its end."""
    place, interval, progressive, frame, scans = 2, 0, False, b"", list[_Scan]()
    while found := MARKER.search(data, place):
        place = found.end()
        kind = data[place - 1]
        if kind == END:
            return _Layout(progressive, frame, scans)
        if kind in ALONE:
            continue
        if kind in OTHER_FRAMES:
            return None
        length = int.from_bytes(data[place : place + 2])
        body, place = data[place + 2 : place + length], place + length
        if kind in (*SEQUENTIAL, PROGRESSIVE):
            progressive, frame = kind == PROGRESSIVE, body
        elif kind == INTERVAL:
            interval = int.from_bytes(body[:2])
        elif kind == START_OF_SCAN:
            end, restarts = _scan_end(data, place)
            scans.append(_Scan(body, interval, place, end, restarts))
            place = end
    raise BadImage("truncated: the end of the JPEG is missing")


def _scan_end(data: bytes, place: int) -> tuple[int, list[int]]:
    """Where a scan that starts here ends, and its restart markers."""
    restarts, last = list[int](), -1
    for found in MARKER.finditer(data, place):
        if found[0][1] not in RESTARTS:
            end = found.start()
            return end, restarts[:-1] if last == end else restarts
        restarts.append(found[0][1] & 7)
        last = found.end()
    raise BadImage("truncated: the end of the JPEG is missing")


def _check_scans(layout: _Layout) -> None:
    """BadImage unless the scans hold every coefficient of each component to its last bit, and all
    their restart markers."""
    lacking = dict.fromkeys(layout.components, ALL)
    for scan in layout.scans:
        count, *rest = scan.header
        parts, (first, last, bits) = bytes(rest[0 : 2 * count : 2]), rest[2 * count :]
        held = ALL
        if layout.progressive:
            held = 0 if bits & 15 else (2 << last) - (1 << first)
        for part in parts:
            lacking[part] &= ~held
        expected = (layout.units(parts) - 1) // scan.interval if scan.interval else 0
        if scan.restarts != [number % 8 for number in range(expected)]:
            raise BadImage("corrupt JPEG data: a restart marker is missing, or not in its place")
    if any(lacking.values()):
        raise BadImage("truncated: scans of the JPEG are missing")


def _feed_one(feed: "_Feed", scan: _Scan, data: bytes) -> None:
    """A JPEG of one scan is finished as soon as its pixels are."""
    near = max(scan.start, scan.end - AHEAD)
    if not feed.add(data[:near]):
        raise BadImage("corrupt JPEG data: more than the pixels take")
    if feed.add(data[near : scan.end] + PADDING):
        raise BadImage("truncated: premature end of the JPEG's pixels")


def _feed_all(feed: "_Feed", scans: list[_Scan], data: bytes) -> None:
    """A JPEG of several is finished at its end; in between it shows what it wants."""
    place = 0
    for scan in scans:
        near = max(scan.start, scan.end - AHEAD)
        feed.add(data[place:near])
        if not feed.wants(data[near : near + 1]):
            raise BadImage("corrupt JPEG data: more than the pixels take")
        feed.add(data[near + 1 : scan.end] + PADDING)
        if feed.wants(b"\0"):
            raise BadImage("truncated: premature end of the JPEG's pixels")
        place = scan.end
    if feed.add(data[place:]):
        raise BadImage("truncated: premature end of the JPEG")


class _Feed:
    """The decoder of an opened image, and the input that it has left."""

    def __init__(self, image: ImageFile.ImageFile) -> None:
        image.load_prepare()
        name, extents, _, arguments = image.tile[0]
        self._decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
        self._decoder.setimage(image.im, extents)
        self._rest = b""

    def add(self, data: bytes) -> bool:
        """Whether the image is not finished after this; BadImage for what cannot be decoded."""
        self._rest += data
        taken, error = self._decoder.decode(self._rest)
        if taken < 0 and error < 0:
            raise BadImage("corrupt JPEG data")
        self._rest = b"" if taken < 0 else self._rest[taken:]
        return bool(taken >= 0)

    def wants(self, byte: bytes) -> bool:
        """Whether a scan goes on here: it takes several bytes at a time, so that it leaves what it
        had before this one, or this one. Between scans all is skipped."""
        left = self._rest
        self.add(byte)
        return bool(left or self._rest)
