"""Failures of the storage, as errors that name the place and the way out."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rayal.errors import LostError, RayalError, StorageError

ABSENT = "there is no such file; check the path"


@contextmanager
def storage_errors(place: str, needed: int = 0) -> Iterator[None]:
    """Turn a failure at `place` into a StorageError; `needed` is the bytes of a write."""
    remote = "://" in place
    try:
        yield
    except RayalError:
        raise
    except OSError as error:
        explained = _explained_far(error) if remote else _explained(error, needed)
        kind = LostError if explained == ABSENT else StorageError
        raise kind(f"{place}: {explained}") from error
    except Exception as error:
        if not remote:  # a mistake of ours; clients of object stores raise classes of their own
            raise
        raise StorageError(f"{place}: {_explained_far(error)}") from error


@contextmanager
def suggesting(way_out: str) -> Iterator[None]:
    """Add a way out that only the caller knows where a file is damaged or not there."""
    try:
        yield
    except LostError as error:
        raise LostError(f"{error}, or {way_out}") from error


def _explained(error: OSError, needed: int) -> str:
    match error:
        case FileNotFoundError():
            return ABSENT
        case PermissionError() | OSError(errno=errno.EROFS):
            return "no permission; choose another folder, or change who may read and write here"
        case NotADirectoryError() | FileExistsError() | IsADirectoryError():
            return "a file is where a folder should be, or the reverse; choose another folder"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return f"no space for {needed} bytes; free some, then run the same command again"
        case OSError(errno=errno.ENAMETOOLONG):
            return "the path is too long; choose a shorter one"
    return f"{error.strerror or error}; check the storage, then run the same command again"


def _explained_far(error: Exception) -> str:
    """As `_explained`, where all that is known is what the client of an object store says."""
    said = str(error).strip().split("\n")[0] or type(error).__name__
    match error:
        case FileNotFoundError() if "bucket does not exist" in said:
            return "there is no such bucket; create it, or check the URL"
        case FileNotFoundError():
            return ABSENT
        case PermissionError():
            return f"no permission ({said}); choose another folder, or other credentials"
    return (
        f"{said}; check the network and, in the environment, address and credentials of the storage"
        " (of S3: AWS_ENDPOINT_URL, AWS_PROFILE or AWS_ACCESS_KEY_ID), then run the same command"
        " again"
    )
