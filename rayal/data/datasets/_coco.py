"""COCO files as lists of images, and what their annotations say of a whole image."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from rayal.data.coco import TABLES, check_ids, name_of, names_of, no_list
from rayal.data.table import check
from rayal.errors import DataError, UsageError, quoted
from rayal.storage.json_stream import JsonStream, open_stream

Rule = Literal["largest", "most", "only"]
"""Which of the categories in an image is its class."""


class Said(NamedTuple):
    """What an image has of one category."""

    annotations: int = 0
    """How many."""
    largest: float = 0.0
    """Area of the largest box, in pixels."""


class Picture(NamedTuple):
    """An image of a file."""

    name: str
    """Its `file_name`."""
    url: str | None
    """Its `coco_url`."""
    said: Mapping[str, Said]
    """By the names of categories."""


class Coco(NamedTuple):
    """What a file says."""

    categories: tuple[str, ...]
    """In the order of their ids."""
    pictures: list[Picture]
    """In the order of the file."""
    strays: int
    """Annotations of images that the file has not."""


def class_of(said: Mapping[str, Said], rule: Rule, classes: Collection[str]) -> str | None:
    """The class of an image by a rule; None where nothing in it is of one of these classes, or, by
    `only`, several are.

    Of equals the one with the larger box, then the first of the classes is it.
    """
    found = {name: said[name] for name in classes if name in said}
    if not found or (rule == "only" and len(found) > 1):
        return None
    if rule == "most":
        return max(found, key=lambda name: found[name])
    return max(found, key=lambda name: found[name].largest)


def read_coco(location: str, annotated: bool) -> Coco:
    """The images of a file, by absolute path, and, if asked for, what is said of them.

    A crowd counts as one annotation. Raises DataError with all that is wrong.
    """
    try:
        with open_stream(location) as stream:
            return _Reader(location, annotated).read(stream)
    except UsageError as error:
        raise DataError(f"{location}: {error}") from error


class _Reader:
    """A file while it is read; annotations may come before what they are of."""

    def __init__(self, location: str, annotated: bool) -> None:
        self.location, self.annotated = location, annotated
        self.name = location.rpartition("/")[2]
        self.images, self.categories = list[dict[str, Any]](), list[dict[str, Any]]()
        self.said = dict[Any, dict[Any, Said]]()
        """By image_id and category_id."""
        self.problems = list[str]()

    def read(self, stream: JsonStream) -> Coco:
        numbers = Counter[str]()
        for table, row in stream:
            if table not in TABLES or table not in stream.lists:
                continue
            numbers[table] += 1
            if not isinstance(row, dict):
                raise no_list(table)
            if table == "images":
                self.images.append({key: row.get(key) for key in ("id", "file_name", "coco_url")})
            elif table == "categories":
                self.categories.append(row)
            elif self.annotated:
                place = f"{self.name} annotation {numbers[table]} (id {quoted(row.get('id'))})"
                self._annotation(place, row)
        needed = {*TABLES} if self.annotated else {*TABLES} - {"annotations"}
        for table in sorted(needed - stream.lists):
            raise no_list(table)
        return self._joined()

    def _annotation(self, place: str, row: Mapping[str, Any]) -> None:
        image, category = row.get("image_id"), row.get("category_id")
        if not isinstance(image, int | str) or not isinstance(category, int | str):
            self.problems.append(f"{place}: has no image_id or no category_id; add them")
            return
        area = _area(row.get("bbox"))
        if area is None:
            box = quoted(row.get("bbox"))
            self.problems.append(f"{place}: bbox {box} is no x, y, width, height; correct it")
            return
        of_image = self.said.setdefault(image, {})
        known = of_image.get(category, Said())
        of_image[category] = Said(known.annotations + 1, max(known.largest, area))

    def _joined(self) -> Coco:
        for table, rows in (("images", self.images), ("categories", self.categories)):
            check_ids(table, [row.get("id") for row in rows])
        names = self._names()
        pictures = [self._picture(number, row, names) for number, row in enumerate(self.images, 1)]
        check(self.location, self.problems)
        known = {row["id"] for row in self.images}
        strays = sum(
            each.annotations
            for image, of_image in self.said.items()
            if image not in known
            for each in of_image.values()
        )
        return Coco(tuple(names.values()), pictures, strays)

    def _names(self) -> dict[Any, str]:
        """Id -> name of each category, in the order of their ids."""
        rows = sorted(self.categories, key=lambda row: (isinstance(row["id"], str), row["id"]))
        twice = Counter(row.get("name") for row in rows if isinstance(row.get("name"), str))
        self.problems += [
            f"{self.name}: {count} categories are called {quoted(name)}; give each its own"
            for name, count in twice.items()
            if count > 1
        ]
        self.problems += [
            f"{self.name}: category {quoted(row['id'])} has no name; give it one"
            for row in rows
            if not isinstance(row.get("name"), str) or not row["name"]
        ]
        return names_of(rows)

    def _picture(self, number: int, row: Mapping[str, Any], names: Mapping[Any, str]) -> Picture:
        name, url = row["file_name"], row["coco_url"]
        place = f"{self.name} image {number} ({quoted(name)})"
        if not isinstance(name, str) or not name:
            self.problems.append(f"{place}: has no file_name; add it")
        said = dict[str, Said]()
        for category, each in self.said.get(row["id"], {}).items():
            try:
                said[name_of(category, names)] = each
            except UsageError as error:
                self.problems.append(f"{place}: {error}")
        return Picture(str(name), url if isinstance(url, str) else None, said)


def _area(box: Any) -> float | None:
    """In pixels; None of what is no box."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(type(each) in (int, float) and math.isfinite(each) for each in box):
        return None
    width, height = box[2:]
    return float(width) * float(height) if width >= 0 and height >= 0 else None
