"""Zips that people give: read in memory, and only what a zip of labels can be."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from rayal.errors import UsageError, quoted

LARGEST, RATIO = 2**26, 200
"""Bytes that may come out of a zip in any case, and of a larger one for each byte of it."""
FILES = 10**6
BEGINS = b"PK"
REMNANTS = frozenset({".ds_store", "thumbs.db", "desktop.ini", "__macosx"})
"""What file managers leave behind, in small letters."""


class Zip:
    """The files of a zip; nothing is unpacked on a disk."""

    def __init__(self, data: bytes) -> None:
        """Raises UsageError for what is no whole zip, too large when unpacked, or has names that
        lead elsewhere."""
        with _problems("the file"):
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        infos = [info for info in self._archive.infolist() if not info.is_dir()]
        size = sum(info.file_size for info in infos)
        if size > max(LARGEST, RATIO * len(data)) or len(infos) > FILES:
            raise UsageError(
                f"the zip of {len(data):,} bytes would become {size:,} in {len(infos):,} files;"
                " give one of answers alone"
            )
        for info in infos:
            _check(info)
        self._infos = {info.filename: info for info in infos if not _is_remnant(info.filename)}
        if len({info.filename for info in infos}) < len(infos):
            raise UsageError("the zip holds several files of one name; make it again")

    @property
    def names(self) -> list[str]:
        """Its files, with their folders, in the order of the zip; what file managers leave behind
        apart."""
        return [*self._infos]

    def read(self, name: str) -> bytes:
        """Raises UsageError for a file that is damaged."""
        with _problems(name):
            return self._archive.read(self._infos[name])


def is_zip(data: bytes) -> bool:
    return data.startswith(BEGINS)


def only(data: bytes, ending: str) -> bytes:
    """The content of a file; of a zip, that of the one file in it whose name ends so.

    Raises UsageError where there is none or there are several.
    """
    if not is_zip(data):
        return data
    archive = Zip(data)
    found = [name for name in archive.names if name.endswith(ending)]
    if len(found) != 1:
        holds = f"holds {len(found)} files {ending}" if found else f"holds no {ending}"
        raise UsageError(f"the zip {holds}; give that file itself")
    return archive.read(found[0])


def _check(info: zipfile.ZipInfo) -> None:
    name, parts = info.filename, info.filename.split("/")
    if "\\" in name or ":" in parts[0] or not {"", ".", ".."}.isdisjoint(parts):
        raise UsageError(f"the zip holds {quoted(name)}, which leads out of it; make it again")
    if info.flag_bits & 1:
        raise UsageError("the zip has a password; make it again without one")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UsageError(f"the zip holds the link {quoted(name)}; put in the file itself")


def _is_remnant(name: str) -> bool:
    parts = name.split("/")
    return any(part.casefold() in REMNANTS or part.startswith("._") for part in parts)


@contextmanager
def _problems(what: str) -> Iterator[None]:
    """What the modules raise on damaged bytes as UsageError."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise UsageError(f"{what} is no whole zip ({error}); make it again") from error
