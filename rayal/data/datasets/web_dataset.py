"""WebDataset: images and their classes beside one another in tar files."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rayal.data.datasets._labels import Labels, classes_of
from rayal.data.datasets.base import EncodedDataset
from rayal.data.source import AnyImage, Source, Units
from rayal.errors import DataError, counted, quoted, some

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "ppm", "tif", "tiff")
"""Endings of images, in any case."""
CLASS, TEXT, JSON = "cls", "txt", "json"
"""Endings of what says the class of an image: its number, its name, or JSON that holds one."""
LARGEST = 10**6  # bytes of a label

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class WebDataset(EncodedDataset):
    """Tar files below `root`, in which files of one name but for their endings are one sample.

    `shard-000.tar` holds `000123.jpg` and beside it `000123.cls` (the number of a class), or
    `000123.txt` (its name), or `000123.json` with a key for it. The id of an image is the path in
    its tar file, less its ending; it has to be unique in all of them.
    """

    layout: ClassVar[str] = "tar files of WebDataset, such as train-000.tar"

    pool: Names = Field(examples=[["train-*.tar"]])
    """Names or patterns of the pool's files, below root; those of a pattern are sorted."""
    test: Names = Field(examples=[["test-*.tar"]])
    """Names or patterns of the test images' files, below root."""
    label: str = CLASS
    """Ending of the files with labels: `cls`, `txt`, or `json` with a dot and the key:
    `json.label`."""
    classes: tuple[str, ...] | None = None
    """Class names; null: those that occur in the pool, sorted, or the numbers up to the largest."""

    def files(self) -> list[str]:
        return [*self._named(self.pool), *self._named(self.test)]

    def source(self) -> Source:
        splits = [self._split(names) for names in (self.pool, self.test)]
        labels = [
            Labels(name, split.ids, split.labels)
            for name, split in zip(("pool", "test"), splits, strict=True)
        ]
        classes = self.classes or classes_of(*labels)
        pool, test = (
            Units(each.ids, each.indices(classes), split)
            for each, split in zip(labels, splits, strict=True)
        )
        return Source(
            classes=classes,
            pool=pool,
            test=test,
            origin=f"tar files in {self.folder}",
            licence="not stated",
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _named(self, patterns: Sequence[str]) -> list[str]:
        files = list[str]()
        for pattern in patterns:
            found = sorted(glob(pattern, root_dir=self.folder))
            if not found:
                raise DataError(f"{self.folder} has no {pattern}; correct dataset.root or the name")
            files += found
        return files

    def _split(self, patterns: Sequence[str]) -> "_Split":
        ids, labels = list[str](), list[Any]()
        files = [self.folder / name for name in self._named(patterns)]
        for file in files:
            for unit, label in self._samples(file):
                ids.append(unit)
                labels.append(label)
        return _Split(files, ids, labels)

    def _samples(self, file: Path) -> Iterator[tuple[str, Any]]:
        """Id and label of every image of a file, in its order."""
        order, images, labels = list[str](), set[str](), dict[str, Any]()
        ending, _, key = self.label.partition(".")
        for member, archive in _members(file):
            unit, kind = _parts(member.name)
            if kind in IMAGES:
                if unit in images:
                    raise DataError(
                        f"{file.name}: {quoted(unit)} has two images; leave one of them out"
                    )
                images.add(unit)
                order.append(unit)
            elif kind == ending:
                labels[unit] = _label(file, member, archive, kind, key)
        if lacking := [unit for unit in order if unit not in labels]:
            raise DataError(
                f"{file.name}: {counted(len(lacking), 'image has', 'images have')} no .{ending}"
                f" beside them, first {some(lacking[:3])}; set dataset.label to the ending of their"
                " labels"
            )
        yield from ((unit, labels[unit]) for unit in order)


@dataclass(frozen=True)
class _Split:
    """The samples of some tar files. Iterated: the images."""

    files: list[Path]
    ids: list[str]
    labels: list[Any]

    def __iter__(self) -> Iterator[AnyImage | None]:
        for file in self.files:
            for member, archive in _members(file):
                if _parts(member.name)[1] in IMAGES:
                    yield _data(member, archive)


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """The regular files in a tar file, which is read once, in order; nothing is unpacked."""
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if member.isreg():
                    yield member, archive
            _check_end(file, archive.offset)
    except tarfile.TarError as error:
        raise DataError(
            f"{file} is no whole tar file: {error}; unpack it if it is compressed, or fetch it"
            " again"
        ) from error


def _check_end(file: Path, offset: int) -> None:
    """Raises tarfile's error for a file that was cut off between two members, which its own reader
    takes for the end."""
    with open(file, "rb") as whole:
        whole.seek(offset)
        if whole.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def _data(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None, "it is a regular file"
    return opened.read()


def _parts(name: str) -> tuple[str, str]:
    """Id and ending: all of a name after its first dot, as WebDataset has it."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return f"{folder}{stem}", ending.lower()


def _label(
    file: Path, member: tarfile.TarInfo, archive: tarfile.TarFile, kind: str, key: str
) -> Any:
    """A class's number or name. Raises DataError for what is none."""
    where = f"{file.name}: {quoted(member.name)}"
    if member.size > LARGEST:
        raise DataError(f"{where} has {member.size:,} bytes, no label has; name another ending")
    try:
        text = _data(member, archive).decode().strip()
        value = json.loads(text)[key] if kind == JSON else text
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{where} holds no label ({type(error).__name__}: {error}); set dataset.label to the"
            " ending, and of JSON the key, of labels"
        ) from error
    if kind == CLASS:
        if not text.isdecimal():
            raise DataError(f"{where} is {quoted(text)}, not the number of a class; correct it")
        return int(text)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise DataError(f"{where}: {quoted(value)} is no label; set dataset.label to another key")
    return value
