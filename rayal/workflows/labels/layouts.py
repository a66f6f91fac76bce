"""Labeled images as others read them: where each image goes, and the files that say its label.

H rows, W columns.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.masks import Mask, encode
from rayal.errors import UsageError
from rayal.labeling.exchange import coco, cvat, folder
from rayal.labeling.exchange._table import written
from rayal.labeling.exchange.base import IMAGES, Item
from rayal.labeling.votes import Vote

Kind = Literal["csv", "coco", "cvat", "imagefolder", "parquet"]

SPLIT = "train"
"""The folder that `image_folder` and `mask_folder` take for the pool."""
ROWS = 512
"""Images in a file of Parquet, and in memory."""

File = tuple[str, bytes]


class Shown(NamedTuple):
    """A labeled image."""

    item: Item
    """With the place of its image: below the folder of the export, or an address."""
    data: bytes
    """Its file; empty where it stays at its address."""
    label: int | Mask
    cycle: int
    """In which it was bought, -1 before the first training."""
    votes: Sequence[Vote]


class Layout:
    """What is written; a layout says it image by image, then the rest."""

    masks: ClassVar[bool] = True
    """Whether it can carry masks."""
    linked: ClassVar[bool] = True
    """Whether it can say an address in place of an image."""
    alone: ClassVar[bool] = False
    """Whether it can say labels of what no picture shows: their items have no image."""

    def __init__(self, classes: Sequence[str], title: str, votes: bool) -> None:
        """Raises UsageError for classes that it cannot carry."""
        self.classes, self.title, self.votes = classes, title, votes

    def place(self, file: str, label: int | Mask) -> str:
        """Where the file of an image goes."""
        return f"{IMAGES}/{file}"

    def add(self, shown: Shown) -> Iterator[File]:
        """An image, and what can be written already, apart from the image itself."""
        yield from ()

    def end(self) -> Iterator[File]:
        """What can be written when all images are there."""
        yield from ()


class Csv(Layout):
    """`labels.csv`: a row for each image, or for each vote."""

    masks: ClassVar[bool] = False
    alone: ClassVar[bool] = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows = list[tuple[object, ...]]()

    def add(self, shown: Shown) -> Iterator[File]:
        assert isinstance(shown.label, int)
        row = shown.item.unit, self.classes[shown.label], shown.item.image, shown.cycle
        if not self.votes:
            self.rows.append(row)
        elif not shown.votes:
            self.rows.append((*row, "", "", "", ""))
        for vote in shown.votes if self.votes else ():
            self.rows.append((*row, *self._said(vote)))
        yield from ()

    def _said(self, vote: Vote) -> tuple[object, ...]:
        """A vote; of a skip it is empty."""
        value = self.classes[vote.value] if isinstance(vote.value, int) else ""
        seconds = "" if vote.seconds is None else vote.seconds
        return value, vote.annotator, seconds, vote.at

    def end(self) -> Iterator[File]:
        columns = "rayal_id", "label", "image", "cycle"
        more = ("vote", "annotator", "seconds", "at") if self.votes else ()
        yield "labels.csv", written((*columns, *more), self.rows)


class Coco(Layout):
    """`instances.json`, as `oracle.format: coco` reads it too."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.content = coco.document(self.title, self.classes)

    def add(self, shown: Shown) -> Iterator[File]:
        image = coco.add_image(self.content, shown.item)
        if not shown.data:
            image["file_name"] = shown.item.image
        if isinstance(shown.label, int):
            coco.annotate(self.content, image, shown.label)
        else:
            coco.annotate_areas(self.content, image, shown.label)
        yield from ()

    def end(self) -> Iterator[File]:
        yield coco.FILE, coco.dumped(self.content)


class Cvat(Layout):
    """`annotations.xml` of CVAT for images 1.1."""

    linked: ClassVar[bool] = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        cvat.check_names(self.classes)
        self.root = cvat.document(self.title, self.classes)

    def add(self, shown: Shown) -> Iterator[File]:
        image = cvat.add_image(self.root, shown.item)
        if isinstance(shown.label, int):
            cvat.tag_of(image, self.classes[shown.label], "manual")
        else:
            cvat.masks_of(image, shown.label, self.classes, "manual")
        yield from ()

    def end(self) -> Iterator[File]:
        yield cvat.FILE, cvat.dumped(self.root)


class ImageFolder(Layout):
    """`train/<class>/`; of masks `train/images/` and `train/masks/`, see `mask_folder`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        folder.check_names(self.classes)

    def place(self, file: str, label: int | Mask) -> str:
        inside = self.classes[label] if isinstance(label, int) else IMAGES
        return f"{SPLIT}/{inside}/{file}"

    def add(self, shown: Shown) -> Iterator[File]:
        if not isinstance(shown.label, int):
            name = f"{folder.stem(shown.item.image)}.png"
            yield f"{SPLIT}/{folder.MASKS}/{name}", encode(shown.label)


class Parquet(Layout):
    """`labels-00000.parquet`, ...: id, image (bytes, or its address) and label, as the dataset
    `parquet` reads them; of what no picture shows without the column image."""

    masks: ClassVar[bool] = False
    alone: ClassVar[bool] = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.shown, self.files = list[Shown](), 0

    def place(self, file: str, label: int | Mask) -> str:
        return ""  # images are in the table

    def add(self, shown: Shown) -> Iterator[File]:
        self.shown.append(shown)
        if len(self.shown) == ROWS:
            yield self._file()

    def end(self) -> Iterator[File]:
        if self.shown:
            yield self._file()

    def _file(self) -> File:
        linked = not self.shown[0].data
        alone = linked and not self.shown[0].item.image
        columns = {
            "id": pa.array([each.item.unit for each in self.shown], pa.string()),
            "image": pa.array(
                [each.item.image if linked else each.data for each in self.shown],
                pa.string() if linked else pa.large_binary(),
            ),
            "label": pa.array([each.label for each in self.shown], pa.int64()),
            "cycle": pa.array([each.cycle for each in self.shown], pa.int64()),
        }
        if alone:
            del columns["image"]
        table = pa.table(columns).replace_schema_metadata(
            {"class_names": json.dumps([*self.classes])}
        )
        out = io.BytesIO()
        pq.write_table(table, out)
        name, self.shown, self.files = f"labels-{self.files:05d}.parquet", [], self.files + 1
        return name, out.getvalue()


LAYOUTS: dict[str, type[Layout]] = {
    "csv": Csv,
    "coco": Coco,
    "cvat": Cvat,
    "imagefolder": ImageFolder,
    "parquet": Parquet,
}


def layout(kind: str, masks: bool, linked: bool, seen: str | None) -> type[Layout]:
    """Raises UsageError for one that there is not, or that cannot carry what it is given; `seen`
    is what its images are called where they are no pictures."""
    found = LAYOUTS.get(kind)
    if found is None:
        raise UsageError(f"labels cannot be exported to {kind!r}; choose one of: {_able(True)}")
    if masks and not found.masks:
        raise UsageError(f"{kind} cannot carry masks; use {_able(masks=True)}")
    if seen is not None and not found.alone:
        able = ", ".join(name for name, each in LAYOUTS.items() if each.alone)
        raise UsageError(f"{kind} carries pictures, and these are {seen}; use {able}")
    if linked and not found.linked:
        raise UsageError(f"{kind} knows images by the names of their files; use images copied")
    return found


def _able(any_kind: bool = False, masks: bool = False) -> str:
    return ", ".join(kind for kind, each in LAYOUTS.items() if any_kind or each.masks or not masks)
