"""The contract of a dataset: where the originals lie, and the store that everything else reads."""

import hashlib
import json
import logging
import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from pydantic import PositiveInt, field_validator, model_validator

from rayal.blame import plugin_fault, plugin_faults
from rayal.data.card import CARD, FORMAT
from rayal.data.images import Decoding
from rayal.data.named_file import located
from rayal.data.prepare import prepare
from rayal.data.source import Keep, Source, check_source, file_identity
from rayal.data.store import Store
from rayal.data.tasks.base import ForTasks
from rayal.errors import DataError, StorageError, UsageError
from rayal.location import Location
from rayal.parts import MAIN
from rayal.storage.file_lock import alone
from rayal.storage.folder import Folder, Json
from rayal.storage.once import SILENT, build_once

logger = logging.getLogger(__name__)


def cache() -> Path:
    """Where rayal keeps downloads and stores: $RAYAL_CACHE, or ~/.cache/rayal."""
    place = os.environ.get("RAYAL_CACHE") or "~/.cache/rayal"
    if "://" in place:
        raise UsageError(
            f"RAYAL_CACHE is {place}, but must be a folder of this machine; set it to one, and for"
            " stores elsewhere dataset.store"
        )
    return Path(place).expanduser().absolute()


class Dataset(ForTasks):
    """Images and labels of a pool and a test split.

    A dataset says which files hold the originals and what is in them; `open` does the rest, once.
    """

    kind: ClassVar[str] = "datasets"
    layout: ClassVar[str] = "its files"
    """What `root` should hold, for messages."""

    root: Location | None = None
    """Folder that holds the original files; null: <cache>/data/<name>."""
    store: Location | None = None
    """Folder for prepared stores, shared storage on a cluster; null: <cache>/stores."""
    download: bool = False
    """Fetch the originals into `root` when they are not there; not all datasets can."""
    limit_pool: PositiveInt | None = None
    """Use only so many images, the first of the pool, for small experiments; null: all."""
    limit_test: PositiveInt | None = None
    """Use only so many test images, the first; null: all."""
    mean: tuple[float, ...] | None = None
    """Mean per channel, of pixels in [0, 1], that images are normalised by (of volumes: of their
    numbers); null: computed from the pool."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel, like mean and given together with it; null: computed from the
    pool."""

    @field_validator("root")
    @classmethod
    def _on_disk(cls, value: str | None) -> str | None:
        path = None if value is None else value.removeprefix("file://")
        if path is not None and "://" in path:
            raise ValueError(
                f"{path} is a URL, but originals are read from a disk; mount the storage, copy"
                " them, or use dataset parquet, whose column of images may hold such addresses"
            )
        return path

    @model_validator(mode="after")
    def _statistics_together(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together; set both or neither")
        return self

    @abstractmethod
    def files(self) -> Iterable[str]:
        """The original files, relative to `folder`, whether they are there or not.

        May raise FileNotFoundError where only the files themselves could tell.
        """

    @abstractmethod
    def source(self) -> Source:
        """What the originals hold; called when they are there and the store is not."""

    def source_of(self, files: Sequence[str]) -> Source:
        """As `source`, where `files` were listed just now: a large folder is walked once."""
        return self.source()

    def fetch(self) -> None:
        """Download the originals into `folder`; raises OSError or RuntimeError on failure."""
        raise UsageError(f"dataset {self.part_name()!r} cannot be downloaded; set dataset.root")

    @classmethod
    def is_fetched(cls) -> bool:
        """Whether there is anything that `download: true` would fetch."""
        return cls.fetch is not Dataset.fetch

    def identity(self, path: str) -> str:
        """What changes when the content of an original file, at this path, does."""
        return file_identity(path)

    def shaping(self) -> Json:
        """The options that shape the store: all but where things lie."""
        return self.model_dump(mode="json", exclude={"root", "store", "download"})

    @property
    def tested(self) -> bool:
        """Whether it has test images; without, `Source.test` is left as it is, and reports show
        what the labels of people tell instead."""
        return True

    @property
    def decoding(self) -> Decoding | None:
        """How image files become what networks see; None where the originals are pixels."""
        return None

    @property
    def folder(self) -> Path:
        """The folder of the originals."""
        return Path(self.root) if self.root else cache() / "data" / self.part_name()

    def open(self) -> Store:
        """The prepared store; prepares it first where nobody has.

        Processes that start together prepare it once. Raises DataError when the originals are
        missing or cannot be used, StorageError when the store cannot be written.
        """
        stores = Folder(self.store or cache() / "stores")
        workplace = stores.local or cache() / "stores"
        if self.download and not self._is_there():
            lock = Path(workplace) / f".lock-download-{self.part_name()}"
            with alone(lock, SILENT, self._fetched):
                self._download()
        files, fingerprint = self._identified()
        folder = stores / f"{self.part_name()}-{fingerprint[:16]}"
        build_once(folder, CARD, lambda out: self._write(out, fingerprint, files), workplace)
        return Store(folder.url)

    def fingerprint(self) -> str:
        """sha256 of the originals' identity and of the options that shape the store."""
        return self._identified()[1]

    def _identified(self) -> tuple[list[str], str]:
        """The original files, and the fingerprint."""
        digest = hashlib.sha256(json.dumps([FORMAT, self.shaping()]).encode())
        try:
            files = list(self.files())
            for file in files:
                identity = self.identity(located(self.folder, file))
                digest.update(f"{file}\0{identity}\0".encode(errors="surrogateescape"))
        except FileNotFoundError as error:
            fetching = ", or dataset.download: true" if self.is_fetched() else ""
            raise DataError(
                f"{error.filename or error} is missing; dataset {self.part_name()!r} expects"
                f" {self.layout} in {self.folder}: set dataset.root{fetching}"
            ) from error
        except StorageError:  # of a table that lists others, which says more
            raise
        except OSError as error:
            if (fault := plugin_fault(error)) is not None:
                raise fault from error
            raise DataError(
                f"{error.filename} cannot be read: {error.strerror}; make it readable, or set"
                " dataset.root to a copy"
            ) from error
        if not files and type(self).__module__ == MAIN:  # nothing but what it holds tells it apart
            digest.update(self._own_source(files).digest().encode())
        return files, digest.hexdigest()

    def _fetched(self) -> list[tuple[str, int]]:
        """What changes while another process downloads."""
        found = []
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # gone at this moment
                found.append((str(path), path.stat().st_size))
        return sorted(found)

    def _is_there(self) -> bool:
        try:
            return all((self.folder / file).exists() for file in self.files())
        except FileNotFoundError:
            return False

    def _download(self) -> None:
        if self._is_there():  # fetched by another process meanwhile
            return
        logger.info("downloading %s to %s", self.part_name(), self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.fetch()
        except (OSError, RuntimeError) as error:
            raise StorageError(
                f"{self.part_name()} cannot be downloaded: {error}; put {self.layout} into"
                f" {self.folder} by hand"
            ) from error

    def _write(self, out: Path, fingerprint: str, files: Sequence[str]) -> None:
        logger.info("preparing %s", self.part_name())
        statistics = (self.mean, self.std) if self.mean and self.std else None
        source = self._own_source(files)
        with plugin_faults():
            pool, test = source.pool.first(self.limit_pool), source.test.first(self.limit_test)
            source = replace(source, pool=pool, test=test)
            prepare(source, out, self.part_name(), fingerprint, statistics)

    def _own_source(self, files: Sequence[str]) -> Source:
        """What the originals hold; what a user's own dataset returns is looked at first."""
        with plugin_faults():  # here: what it raises must not pass for a fault of the disk
            source = self.source_of(files)
            if self.is_foreign():
                check_source(source, self.part_name())
            return replace(source, untested=not self.tested)


class EncodedDataset(Dataset, Decoding):
    """A dataset of image files or encoded bytes."""

    encoding: Keep = "auto"
    """How the store keeps images: decoded once (`raw`), as they are (`bytes`), or only where they
    lie (`uri`); `auto`: raw up to 64 pixels a side, larger ones as bytes."""
    verify: bool = True
    """Decode every image once while preparing; without it bad images show up while scoring, and
    `encoding: uri`, size (or shape or canvas), mean and std must be given."""

    one_size: ClassVar[bool] = False
    """Whether the originals have one size, which the first of them tells."""

    @model_validator(mode="after")
    def _known_unseen(self) -> Self:
        sized = self.one_size or self.frame is not None
        if not self.verify and not (self.encoding == "uri" and sized and self.mean):
            raise ValueError(
                "verify: false needs encoding: uri, and size, mean and std; set these, or verify:"
                " true"
            )
        return self

    def shaping(self) -> Json:
        """A store of addresses belongs to the place of the originals too."""
        place = {"folder": str(self.folder)} if self.encoding == "uri" else {}
        return {**super().shaping(), **place}

    @property
    def decoding(self) -> Decoding:
        """The options of decoding, as a store keeps them."""
        return Decoding(**{name: getattr(self, name) for name in Decoding.model_fields})
