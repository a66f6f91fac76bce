"""Files of this machine: written under a temporary name beside their own, synced, and renamed."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rayal.storage.failures import storage_errors

TEMPORARY = ".tmp-"
OURS = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]{32}(-\w{8})?")
"""What `temporary_name` gives, also as the prefix of a TemporaryDirectory. Other programs, and the
user, have files of their own that begin as TEMPORARY does."""


def swept(paths: Iterable[Path]) -> list[str]:
    """Remove those that rayal named; return them."""
    leftovers = sorted(path for path in paths if OURS.fullmatch(path.name))
    for path in leftovers:
        _remove(path)
    return [str(path) for path in leftovers]


def _remove(path: Path) -> None:
    """A file, a folder with all that is in it, or a link, but not what it leads to."""
    with storage_errors(str(path)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may lie in a folder just removed


def scan(folder: Path) -> dict[str, str]:
    """Name -> `file` or `directory`, of what is in a folder. Not by fsspec, whose older versions
    take a temporary file that is renamed while they look for an absent folder. A link to a folder
    is none: it may lead back up."""
    with os.scandir(folder) as entries:
        return {
            entry.name: "directory" if entry.is_dir(follow_symlinks=False) else "file"
            for entry in entries
        }


def temporary_name() -> str:
    """A new name, for what `sweep` removes if the process is killed."""
    return f"{TEMPORARY}{uuid.uuid4().hex}"


def replace(path: Path, data: bytes) -> None:
    """Put a file in place of what is there, in a folder that is made where it is not; it is on the
    disk when this returns."""
    make_folder(path.parent)
    temporary = path.with_name(temporary_name())  # same folder: a rename stays within one disk
    try:
        with open(temporary, "xb") as file:  # plain open: the mode follows the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not; each is on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some shared disks sync files only
            raise
    finally:
        os.close(descriptor)
