"""Folders at any fsspec location, whose files are whole or absent.

A local file is written under a temporary name in its own folder, synced and renamed; elsewhere a
file is one object, which is there when all of it has arrived. What a reader finds is therefore old
or new, never half. Address and credentials of an object store come from the environment, as fsspec
and the store's own tools read them (FSSPEC_S3_ENDPOINT_URL, AWS_PROFILE, ...), never from rayal.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rayal.errors import OUT, LostError, PrunedError, RayalError, StorageError, UsageError

Json = dict[str, Any]

MISSING: Any = object()
ABSENT = "there is no such file; check the path"
TEMPORARY = ".tmp-"
OURS = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]{32}(-\w{8})?")
"""What `temporary_name` gives, also as the prefix of a TemporaryDirectory. Other programs, and the
user, have files of their own that begin as TEMPORARY does."""
S3 = ("s3://", "s3a://")
S3_ENVIRONMENT = {
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "3",  # 5 in the legacy mode: a quarter of a minute for a dead server
}
"""How often a request is tried, with pauses of seconds. What the user has set stays."""


DONE = "done.json"
"""What a finished stage has in its folder, written last."""
PRUNED = "pruned"
"""Key in it of what was removed on purpose: kind (`weights`), files, bytes, when (UTC)."""


class FileRecord(NamedTuple):
    """What was written, for a later read to check against."""

    name: str
    bytes: int
    sha256: str


class Folder:
    """A folder, which need not exist yet: a local path, or a URL such as `s3://bucket/runs/x`.

    Every failure of the storage is a StorageError that names the file and the way out; nothing on
    a disk is tried twice. What other machines write is seen at once. Pickles as its URL.
    """

    url: str
    """An absolute path for a local folder."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        text = os.fspath(url).removeprefix("file://")
        if not text or "\0" in text:
            raise UsageError(f"{text!r} is not a folder; give a path or a URL")
        if "://" in text:
            self.url = text.rstrip("/")
            self._fs, self._path = located(self.url, remember=False)
        else:
            self.url = self._path = str(Path(os.path.abspath(os.path.expanduser(text))))
            self._fs = LocalFileSystem()

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return Folder, (self.url,)

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    def __truediv__(self, name: str) -> "Folder":
        """The folder `name` inside this one; UsageError for a name that would lead out of it."""
        inside = object.__new__(Folder)  # a run has hundreds: its file system is known already
        inside.url, inside._path = f"{self.url}/{_checked(name)}", f"{self._path}/{name}"
        inside._fs = self._fs
        return inside

    @cached_property
    def local(self) -> Path | None:
        """None where files can only be reached through fsspec."""
        return None if "://" in self.url else Path(self._path)

    def make(self) -> None:
        """Create the folder; object stores, which have none, need nothing."""
        if self.local is not None:
            with storage_errors(self.url):
                _make_folder(self.local)

    def write(self, name: str, data: bytes) -> FileRecord:
        """Put `data` in place of what is there; after a failure the old content is still whole."""
        with storage_errors(f"{self.url}/{name}", needed=len(data)):
            if self.local is None:
                self._fs.pipe_file(self._at(name), data)
            else:
                _replace(Path(self._at(name)), data)
        return recorded(name, data)

    def read(self, name: str, record: FileRecord | None = None) -> bytes:
        """The content of a file; StorageError if it is missing, or differs from `record`."""
        with storage_errors(f"{self.url}/{name}"):
            data: bytes = self._fs.cat_file(self._at(name))
        if record is not None:
            if len(data) != record.bytes:
                raise self._damaged(name, f"{len(data)} bytes instead of {record.bytes}")
            if hashlib.sha256(data).hexdigest() != record.sha256:
                raise self._damaged(name, "its sha256 differs from the recorded one")
        return data

    def write_json(self, name: str, value: Json) -> FileRecord:
        """Write an object as readable JSON."""
        return self.write(name, json.dumps(value, indent=1).encode() + b"\n")

    def read_json(self, name: str, default: Any = MISSING) -> Any:
        """The value in a JSON file; `default`, if given, where there is no file."""
        if default is not MISSING and not self.exists(name):
            return default
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise self._damaged(name, f"not JSON: {error}") from error

    def write_sealed(self, name: str, value: Json) -> FileRecord:
        """Write an object with its own sha256 inside, for `read_sealed` to notice any damage."""
        assert "sha256" not in value
        return self.write_json(name, {**value, "sha256": _seal(value)})

    def read_sealed(self, name: str, default: Any = MISSING, *, older: bool = False) -> Any:
        """What `write_sealed` wrote; StorageError if a single bit of its meaning changed.

        `older`: whether a file without a seal is taken as it is, since rayal 0.4 wrote such.
        """
        value = self.read_json(name, default)
        if value is default:
            return default
        if older and isinstance(value, dict) and "sha256" not in value:
            return value
        if not isinstance(value, dict) or value.pop("sha256", None) != _seal(value):
            raise self._damaged(name, "its content does not match its sha256")
        return value

    def exists(self, name: str) -> bool:
        """Whether there is a file or a folder of this name."""
        with storage_errors(f"{self.url}/{name}"):
            try:
                self._fs.info(self._at(name))  # not fs.exists, which takes any failure for absence
            except FileNotFoundError:
                return False
        return True

    def names(self) -> list[str]:
        """The files and folders in here, sorted; none where the folder is absent."""
        return sorted(self._entries())

    def folders(self) -> list[str]:
        """The folders in here, sorted."""
        return sorted(name for name, kind in self._entries().items() if kind == "directory")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with storage_errors(f"{self.url}/{name}"), suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove these files, which are there; of an object store in few requests."""
        if self.local is not None:
            for name in names:
                self.remove(name)
        elif names:
            with storage_errors(self.url), suppress(FileNotFoundError):
                self._fs.rm([self._at(name) for name in names])

    def delete(self) -> None:
        """Remove the folder with all that is in it, if it is there."""
        with storage_errors(self.url), suppress(FileNotFoundError):
            if self.local is None:
                self._fs.rm(self._path, recursive=True)
            else:
                doomed = self.local.with_name(temporary_name())
                self.local.rename(doomed)  # gone at once, never half there
                shutil.rmtree(doomed)

    def delete_empty(self) -> None:
        """Remove the folder if there is one with nothing in it; object stores have none such."""
        if self.local is not None:
            with suppress(OSError):  # one that holds something stays, as does one in use
                self.local.rmdir()

    def sweep(self) -> list[str]:
        """Remove the temporary files that killed writers left anywhere below; return their paths.

        Only for the one writer of the folder: a file that is being written looks the same.
        """
        if self.local is None:  # objects have no temporary names
            return []
        with storage_errors(self.url):
            return _swept(self.local.rglob(f"{TEMPORARY}*"))

    def sweep_new(self) -> list[str]:
        """As `sweep`, of a folder in which nothing was whole yet: only here and not below, since it
        may be anybody's folder."""
        if self.local is None or not self.local.is_dir():
            return []
        with storage_errors(self.url):
            return _swept(self.local.iterdir())

    def _entries(self) -> dict[str, str]:
        """Name -> `file` or `directory`, of what is in here."""
        with storage_errors(self.url), suppress(FileNotFoundError):
            found = self._list() if self.local is None else _scan(self.local)
            return {name: kind for name, kind in found.items() if not name.startswith(TEMPORARY)}
        return {}

    def _list(self) -> dict[str, str]:
        entries = self._fs.ls(self._path, detail=True)
        paths = {entry["name"].rstrip("/"): entry["type"] for entry in entries}
        return {path.rsplit("/", 1)[-1]: kind for path, kind in paths.items() if path != self._path}

    def _at(self, name: str) -> str:
        return f"{self._path}/{_checked(name)}"

    def _damaged(self, name: str, reason: str) -> LostError:
        return LostError(f"{self.url}/{name} is damaged ({reason}); restore it from a copy")


class FileLocation(NamedTuple):
    """A file of a finished stage, for another process to read: where it is and what it must be."""

    folder: str
    """URL of the stage's folder."""
    record: FileRecord

    def read(self) -> bytes:
        """The content, checked; raises StorageError like `Folder.read`."""
        folder = Folder(self.folder)
        with of_stage(folder):
            return folder.read(self.record.name, self.record)


def way_out(stage: Folder) -> str:
    """What helps where a file of a finished stage is damaged."""
    return f"delete the folder {stage.url} to do that stage again"


@contextmanager
def of_stage(stage: Folder, instead: str | None = None) -> Iterator[None]:
    """Reading files of a finished stage: adds the way out (`instead` of doing the stage again)
    where one is damaged or not there; raises PrunedError where it was removed on purpose."""
    try:
        with suggesting(instead or way_out(stage)):
            yield
    except LostError as error:
        check_there(stage, error)
        raise


def check_there(stage: Folder, cause: Exception | None = None) -> None:
    """Raises PrunedError where files of this stage were removed on purpose."""
    pruned = None
    with suppress(StorageError):  # damaged: of the file itself more is known
        pruned = stage.read_sealed(DONE, default={}).get(PRUNED)
    if pruned is not None:
        raise PrunedError(
            f"{stage.url} has no {pruned['kind']} any more: they were pruned on"
            f" {pruned['when'][:10]}, and nothing is damaged; run the experiment again with"
            f" keep.{pruned['kind']}=all and another {OUT}: on a CPU the same seed gives the same"
            " bytes"
        ) from cause


def recorded(name: str, data: bytes) -> FileRecord:
    """The record of a file with this content."""
    return FileRecord(name, len(data), hashlib.sha256(data).hexdigest())


def located(url: str, *, remember: bool = True) -> tuple[Any, str]:
    """The file system of a URL and the path in it; UsageError for one that cannot be had.

    With `remember` a folder is listed once, whatever is written there afterwards.
    """
    if "::" in url:
        raise UsageError(f"{url}: chained file systems are not supported; name one of them")
    if url.startswith(S3):
        for name, value in S3_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    try:
        fs, path = url_to_fs(url, use_listings_cache=remember)
    except ImportError as error:
        way_out = "pip install s3fs" if url.startswith(S3) else error
        raise UsageError(f"{url} needs a package that is not installed: {way_out}") from error
    except ValueError as error:  # unknown protocol
        raise UsageError(f"{url} cannot be opened: {error}") from error
    return fs, path.rstrip("/")


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


def _swept(paths: Iterable[Path]) -> list[str]:
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


def _checked(name: str) -> str:
    parts = name.split("/")
    strange = any(part in ("", ".", "..") or part.startswith(TEMPORARY) for part in parts)
    if strange or any(mark in name for mark in ("\\", "\0", "::")):
        raise UsageError(f"{name!r} does not name something inside a folder; use 'a' or 'a/b'")
    return name


def _scan(folder: Path) -> dict[str, str]:
    """As `_list`. Not by fsspec, whose older versions take a temporary file that is renamed while
    they look for an absent folder. A link to a folder is none: it may lead back up."""
    with os.scandir(folder) as entries:
        return {
            entry.name: "directory" if entry.is_dir(follow_symlinks=False) else "file"
            for entry in entries
        }


def temporary_name() -> str:
    """A new name, for what `sweep` removes if the process is killed."""
    return f"{TEMPORARY}{uuid.uuid4().hex}"


def _replace(path: Path, data: bytes) -> None:
    _make_folder(path.parent)
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


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
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


def _seal(value: Json) -> str:
    as_read_back = json.loads(json.dumps(value))  # tuples are lists there, and keys strings
    return hashlib.sha256(json.dumps(as_read_back, sort_keys=True).encode()).hexdigest()


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
