"""Folders at any fsspec location, whose files are whole or absent.

A local file is written under a temporary name in its own folder, synced and renamed; elsewhere a
file is one object, which is there when all of it has arrived. What a reader finds is therefore old
or new, never half. Address and credentials of an object store come from the environment, as fsspec
and the store's own tools read them (FSSPEC_S3_ENDPOINT_URL, AWS_PROFILE, ...), never from rayal.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from rayal.errors import LostError, UsageError
from rayal.storage.failures import storage_errors
from rayal.storage.local_files import (
    TEMPORARY,
    make_folder,
    replace,
    scan,
    swept,
    temporary_name,
)
from rayal.storage.location import S3, located

Json = dict[str, Any]

MISSING: Any = object()


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
                make_folder(self.local)

    def write(self, name: str, data: bytes) -> FileRecord:
        """Put `data` in place of what is there; after a failure the old content is still whole."""
        with storage_errors(f"{self.url}/{name}", needed=len(data)):
            if self.local is None:
                self._fs.pipe_file(self._at(name), data)
            else:
                replace(Path(self._at(name)), data)
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
        with storage_errors(f"{self.url}/{name}"):
            try:  # asked for at once: of an object store each question is a request
                data = self._read_small(name)
            except FileNotFoundError:
                if default is MISSING:
                    raise
                return default
        try:
            return json.loads(data)
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

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name, a small one; of an object store `exists` takes two
        requests to say no, as it looks for a folder too."""
        if self.local is not None:
            return self.exists(name)
        with storage_errors(f"{self.url}/{name}"), suppress(FileNotFoundError):
            self._read_small(name)
            return True
        return False

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
            return swept(self.local.rglob(f"{TEMPORARY}*"))

    def sweep_new(self) -> list[str]:
        """As `sweep`, of a folder in which nothing was whole yet: only here and not below, since it
        may be anybody's folder."""
        if self.local is None or not self.local.is_dir():
            return []
        with storage_errors(self.url):
            return swept(self.local.iterdir())

    def _read_small(self, name: str) -> bytes:
        """The content of a file that is no larger than a part of a large one; FileNotFoundError."""
        whole = {"max_concurrency": 1} if self.url.startswith(S3) else {}  # else asks for its size
        data: bytes = self._fs.cat_file(self._at(name), **whole)
        return data

    def _entries(self) -> dict[str, str]:
        """Name -> `file` or `directory`, of what is in here."""
        with storage_errors(self.url), suppress(FileNotFoundError):
            found = self._list() if self.local is None else scan(self.local)
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


def recorded(name: str, data: bytes) -> FileRecord:
    """The record of a file with this content."""
    return FileRecord(name, len(data), hashlib.sha256(data).hexdigest())


def _checked(name: str) -> str:
    parts = name.split("/")
    strange = any(part in ("", ".", "..") or part.startswith(TEMPORARY) for part in parts)
    if strange or any(mark in name for mark in ("\\", "\0", "::")):
        raise UsageError(f"{name!r} does not name something inside a folder; use 'a' or 'a/b'")
    return name


def _seal(value: Json) -> str:
    as_read_back = json.loads(json.dumps(value))  # tuples are lists there, and keys strings
    return hashlib.sha256(json.dumps(as_read_back, sort_keys=True).encode()).hexdigest()
