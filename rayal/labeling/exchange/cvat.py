"""CVAT for images 1.1: an `annotations.xml`, alone or in a zip.

    images/           to be uploaded; their names sort by rank
    labels.json       for the raw editor of a task's labels
    annotations.xml   what the model suggests, to be uploaded too

CVAT knows images by their names alone. What the model suggests has `source="auto"` there, until
somebody changes it: an image that has nothing else was not looked at, unless the tag of `agreed`
says so.

H rows, W columns.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from rayal.data.masks import Mask
from rayal.errors import UsageError, quoted
from rayal.labeling.exchange._drawing import (
    Area,
    Canvas,
    areas,
    filled,
    of_runs,
    runs_of,
    suggested_mask,
)
from rayal.labeling.exchange._images import check_size, items_of
from rayal.labeling.exchange._skipping import Skipping, Word
from rayal.labeling.exchange._xml import parsed
from rayal.labeling.exchange._zip import only
from rayal.labeling.exchange.base import IMAGES, Answer, Asked, Item, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.parts import suggest
from rayal.storage.folder import Folder

FILE, LABELS = "annotations.xml", "labels.json"
UNTOUCHED = frozenset({"auto", "file"})
"""`source` of what was uploaded and nobody changed."""
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LINKED_ID = "rayal_id"
"""Attribute of an image in our own files; CVAT drops it."""


class Cvat(Skipping):
    """CVAT for images 1.1, as its tasks import and export it."""

    linked: ClassVar[bool] = False

    agreed: Word = "AGREED"
    """A tag that says of an image that what the model suggests is right, all of it."""

    def check(self, classes: Sequence[str]) -> None:
        super().check(classes)
        if self.agreed in (*classes, self.skip):
            raise UsageError(
                f"oracle.format.agreed: {quoted(self.agreed)} is a class of the dataset, or skip;"
                " set it to another word"
            )
        check_names(classes)

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        kind = "any" if asked.masks else "tag"
        labels = [{"name": name, "type": kind, "attributes": []} for name in asked.classes]
        words = self.skip, self.agreed
        labels += [{"name": word, "type": "tag", "attributes": []} for word in words]
        out.write(LABELS, json.dumps(labels, indent=1, ensure_ascii=False).encode())
        root = document(asked.title, [str(each["name"]) for each in labels])
        for items in asked.by_image.values():
            image, said = add_image(root, items[0]), suggestions.get(items[0].unit)
            mask = suggested_mask(items[0], suggestions)
            if said is not None and isinstance(said.predicted, int):
                tag_of(image, asked.classes[said.predicted], "auto")
            elif mask is not None:
                masks_of(image, mask, asked.classes, "auto")
        out.write(FILE, dumped(root))

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        names = ", ".join(f"`{name}`" for name in asked.classes)
        draw = (
            f"Draw what is to be seen, as {names}: polygons, boxes or masks. Of two, one over the"
            " other, the one with the higher z-order counts. Where nothing is drawn, nothing is"
            " learned. Images without a drawing wait."
            if asked.masks
            else f"Give each image one tag: {names}. Images without one wait."
        )
        return (
            f"In CVAT, create a task. Labels: *Raw*, and paste `{place}/{LABELS}`. Upload the"
            f" images in `{place}/{IMAGES}`: in lexicographical order, the most wanted are first."
            " Give the task to the one who annotates it, as assignee: the name comes back.",
            f"To see what the model suggests: *Upload annotations*, *CVAT 1.1*, `{place}/{FILE}`.",
            draw,
            f"The tag `{self.skip}` says of an image that it cannot be labeled; `{self.agreed}`,"
            " that all suggestions on it are right. An image with suggestions that nobody changed"
            " waits without it.",
            "*Export task dataset*, *CVAT for images 1.1*. Look at what would be taken:"
            " `rayal labels add RUN FILE.zip --check`; then give it without `--check`, and the"
            " run's own command again.",
        )

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        root = parsed(only(data, FILE))
        if root.tag != "annotations" or root.find("track") is not None:
            raise UsageError(
                f"the file holds {quoted(root.tag)} or tracks of a video; export the task as CVAT"
                " for images 1.1"
            )
        annotator = (root.findtext(".//assignee/username") or "").strip()
        for number, image in enumerate(root.findall("image"), start=1):
            name = image.get("name", "")
            where = f"image {number} ({quoted(name)})"
            try:
                items = items_of(name, asked)
                check_size(name, items, _whole(image, "height"), _whole(image, "width"))
                if image.get(LINKED_ID) not in (None, *(item.unit for item in items)):
                    raise UsageError(f"{quoted(image.get(LINKED_ID))} has another image")
                found = self._label(image, asked, items[0])
                for item, label in product(items, found):
                    of = asked.request_of(item)
                    yield Answer(where, item.unit, label, annotator, request=of)
            except UsageError as error:
                yield Problem(where, str(error))

    def _label(self, image: Element, asked: Asked, item: Item) -> Sequence[str | Mask | None]:
        """The label of an image, None for a skip; nothing while it waits."""
        words = {each.get("label") for each in image if each.tag == "tag"}
        content = [each for each in image if each.get("label") not in (self.skip, self.agreed)]
        touched = any(map(_is_touched, content))
        if self.skip in words:
            if touched or self.agreed in words:
                raise UsageError(f"has {self.skip} and annotations; delete one or the other")
            return [None]
        if not content or not (touched or self.agreed in words):
            return []
        return [self._mask(content, asked, item) if asked.masks else _tag(content)]

    def _mask(self, content: Sequence[Element], asked: Asked, item: Item) -> Mask:
        canvas = Canvas(item.size)
        for shape in sorted(content, key=lambda each: _whole(each, "z_order", 0)):
            label = shape.get("label", "")
            if label not in asked.classes:
                raise UsageError(f"{quoted(label)} is no class; {suggest(label, asked.classes)}")
            draw = SHAPES.get(shape.tag)
            if draw is None:
                raise UsageError(
                    f"has a {quoted(shape.tag)}, which has no area; draw it as polygon or mask"
                )
            area, top, left = draw(shape, item.size)
            canvas.paint(asked.classes.index(label), area, top, left)
        return canvas.mask


def check_names(classes: Sequence[str]) -> None:
    """Raises UsageError for classes that XML cannot hold."""
    if strange := [each for each in classes if NOT_IN_XML.search(each)]:
        raise UsageError(f"the class {quoted(strange[0])} has a sign that XML cannot hold; use csv")


def document(title: str, labels: Sequence[str]) -> Element:
    """A document without images."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    SubElement(task, "name").text = NOT_IN_XML.sub("", title)
    SubElement(task, "mode").text = "annotation"
    described = SubElement(task, "labels")
    for label in labels:
        each = SubElement(described, "label")
        SubElement(each, "name").text = label
        SubElement(each, "attributes")
    return root


def add_image(root: Element, item: Item) -> Element:
    """The element of an item's image, added to a document."""
    height, width = item.size
    fields = {
        "id": str(len(root) - 2),  # beside version and meta
        "name": item.image.rpartition("/")[2],
        "width": str(width),
        "height": str(height),
    }
    if not NOT_IN_XML.search(item.unit):
        fields[LINKED_ID] = item.unit
    return SubElement(root, "image", fields)


def tag_of(image: Element, label: str, source: str) -> None:
    """Says that an image is of a class."""
    SubElement(image, "tag", {"label": label, "source": source})


def masks_of(image: Element, mask: Mask, classes: Sequence[str], source: str) -> None:
    """Says where in an image each class is; H W."""
    for number, area in areas(mask):
        rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        window = area[top : rows[-1] + 1, left : columns[-1] + 1]
        fields = {
            "label": classes[number],
            "source": source,
            "occluded": 0,
            "rle": ", ".join(map(str, runs_of(window.ravel()))),
            "left": left,
            "top": top,
            "width": window.shape[1],
            "height": window.shape[0],
            "z_order": 0,
        }
        SubElement(image, "mask", {key: str(value) for key, value in fields.items()})


def dumped(root: Element) -> bytes:
    """The document as a file."""
    indent(root)
    data: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def _tag(content: Sequence[Element]) -> str:
    """The one class that an image is said to be of; what people say counts before suggestions."""
    content = [each for each in content if _is_touched(each)] or content
    if shapes := [each.tag for each in content if each.tag != "tag"]:
        raise UsageError(f"has a {shapes[0]} instead of a tag; the request is for classes")
    labels = sorted({each.get("label", "") for each in content})
    if len(labels) > 1:
        told = " and ".join(map(quoted, labels))
        raise UsageError(f"has the tags {told}; leave one of them")
    return labels[0]


def _is_touched(annotation: Element) -> bool:
    """Whether it is of people, or was changed by them."""
    return annotation.get("source", "manual") not in UNTOUCHED


def _polygon(shape: Element, size: tuple[int, int]) -> tuple[Area, int, int]:
    points = [pair.split(",") for pair in shape.get("points", "").split(";")]
    if any(len(pair) != 2 for pair in points):
        raise UsageError(f"has a polygon with points {quoted(shape.get('points'))}; draw it again")
    return filled([[_finite(shape, each) for each in pair] for pair in points], size), 0, 0


def _box(shape: Element, size: tuple[int, int]) -> tuple[Area, int, int]:
    left, top, right, bottom = (
        _finite(shape, shape.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")
    )
    angle = math.radians(_finite(shape, shape.get("rotation", "0")))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = np.array([left + right, top + bottom]) / 2
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    turned = (corners - centre) @ turn + centre if angle else corners
    return filled(turned.tolist(), size), 0, 0


def _runs(shape: Element, size: tuple[int, int]) -> tuple[Area, int, int]:
    height, width, top, left = (_whole(shape, key) for key in ("height", "width", "top", "left"))
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise UsageError(f"has a mask of {height}x{width} pixels, larger than the image; draw it")
    runs = [_number(text) for text in shape.get("rle", "").split(",")]
    return of_runs(runs, height * width).reshape(height, width), top, left


SHAPES: dict[str, Callable[[Element, tuple[int, int]], Any]] = {
    "polygon": _polygon,
    "box": _box,
    "mask": _runs,
}


def _whole(element: Element, name: str, default: int | None = None) -> int:
    text = element.get(name)
    return default if text is None and default is not None else _number(text or "")


def _number(text: str) -> int:
    if not re.fullmatch(r"\s*-?[0-9]{1,9}\s*", text):
        raise UsageError(f"has {quoted(text)} where a whole number should be; export it again")
    return int(text)


def _finite(shape: Element, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"has a {shape.tag} with the number {quoted(text)}; draw it again")
    return number
