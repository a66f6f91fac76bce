"""What the first bytes of a file say that it is, whatever its name."""

import re

HEAD = 512
"""Bytes that are enough."""

READ = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM.{4}\0{4}.{4}[\x0c-\x7c]\0\0\0",
    "PPM": rb"P[1-6]\s+[0-9#]",
}
"""Formats of images that rayal reads."""
OTHER = {
    "an AVIF image": rb"....ftyp(avif|avis)",
    "a HEIC image": rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)",
    "a JPEG 2000 image": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XL image": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "an icon": rb"\0\0\x01\0[^\0]",
    "a Photoshop image": rb"8BPS\0",
    "an OpenEXR image": rb"v/1\x01",
    "an SVG drawing": rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg[\s>]",
}
"""Images that rayal does not read."""
STRANGE = {
    "an HTML page": rb"(\xef\xbb\xbf)?\s*<(?i:!doctype html|html)",
    "a Git LFS pointer": rb"version https://git-lfs",
    "a gzip file": rb"\x1f\x8b",
    "a ZIP file": rb"PK\x03\x04",
    "a PDF": rb"%PDF-",
}
"""What is found in the place of images."""


def named(head: bytes, kinds: dict[str, bytes]) -> str | None:
    """Which of these kinds begins so."""
    for name, pattern in kinds.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    return None


def described(data: bytes) -> str:
    """`: it is an AVIF image` for the end of a message; nothing where it cannot be told."""
    found = named(data[:HEAD], OTHER | STRANGE)
    return f": it is {found}" if found else ""
