"""What a file often is that was taken for data: told from its first bytes."""

BEGINNINGS = (
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself; fetch that with `git lfs pull`",
    ),
    (b"\x1f\x8b", "is packed with gzip; unpack it"),
    (b"BZh", "is packed with bzip2; unpack it"),
    (b"\xfd7zXZ", "is packed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it"),
)
PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEAD = 512
"""Bytes that are enough."""


def mistaken(data: bytes) -> str | None:
    """What these bytes, the beginning of a file at least, are in place of data, and the way out;
    None where they may be data."""
    if not data:
        return "is empty (0 bytes); download or write it again"
    if data[:HEAD].lstrip().lower().startswith(PAGES):
        return "is a page of the web, not the file itself; the download failed: download it again"
    return next((what for start, what in BEGINNINGS if data.startswith(start)), None)
