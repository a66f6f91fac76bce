"""A folder made once: by one process at a time, whole or absent whatever kills it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fsspec.core import url_to_fs

from rayal.errors import StorageError
from rayal.storage.file_lock import alone
from rayal.storage.folder import Folder
from rayal.storage.local_files import TEMPORARY

LOCK = ".lock-{}"
"""File in the workplace that lets one process at a time make a folder; it stays there."""
SILENT = 600.0
"""Seconds in which whoever makes a folder writes no file of it, before it is given up."""


def build_once(folder: Folder, last: str, write: Callable[[Path], object], workplace: Path) -> None:
    """Let `write` fill an empty local folder, then make that `folder`; not where `last` is there.

    `last` is the file whose existence means that the folder is whole. A local `folder` must lie in
    `workplace` and appears by a rename; any other is uploaded from there, `last` at the end.
    """
    if folder.exists(last):
        return
    name = folder.url.rsplit("/", 1)[-1]
    signs = partial(_signs, workplace, f"{TEMPORARY}{name}-")
    with alone(workplace / LOCK.format(name), SILENT, signs):
        if folder.exists(last):  # made by another process meanwhile
            return
        try:
            with _temporary(workplace, f"{TEMPORARY}{name}-") as out:
                write(out)
                _publish(out, folder, last)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(
                f"{folder.url} cannot be made: {error}; free space or choose another place"
            ) from error


def _signs(workplace: Path, prefix: str) -> list[tuple[str, int]]:
    """What changes while another process is at it: the files that it writes, or sends away."""
    found = []
    with suppress(FileNotFoundError):  # a folder that is gone at this moment, which is a change too
        for path in workplace.glob(f"{prefix}*/**/*"):
            with suppress(OSError):
                found.append((str(path), path.stat().st_mtime_ns))
    return sorted(found)


@contextmanager
def _temporary(workplace: Path, prefix: str) -> Iterator[Path]:
    for leftover in workplace.glob(f"{prefix}*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix, dir=workplace, ignore_cleanup_errors=True) as temporary:
        out = Path(temporary) / "whole"  # made by mkdir, so that its mode follows the umask
        out.mkdir()
        yield out


def _publish(out: Path, folder: Folder, last: str) -> None:
    if folder.local is not None:
        try:
            out.rename(folder.local)
        except OSError:
            if not folder.exists(last):  # else another machine, that sees no lock, was faster
                raise
        return
    fs, path = url_to_fs(folder.url)
    files = sorted(file for file in out.rglob("*") if file.is_file())
    for file in sorted(files, key=lambda file: file == out / last):
        fs.put_file(str(file), f"{path}/{file.relative_to(out).as_posix()}")
        file.unlink()  # whoever waits sees that it goes on
