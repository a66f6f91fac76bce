"""COCO instances: one JSON file of images, categories and annotations.

    images/          what is to be labeled
    instances.json   the images, in order of rank, and the categories: without annotations
    suggested.json   the same, with what the model suggests

Images are matched by the names of their files, whatever the ids. COCO has no order of drawing: of
two annotations, one over the other, the smaller one counts, so that files say the same in any
order. Where nothing is drawn there is no class (void).

H rows, W columns.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np

from rayal.data.coco import TABLES, check_ids, name_of, names_of, no_list
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
from rayal.labeling.exchange._skipping import Skipping
from rayal.labeling.exchange._zip import only
from rayal.labeling.exchange.base import IMAGES, Answer, Asked, Item, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.parts import suggest
from rayal.storage.folder import Folder
from rayal.storage.whole_json import parsed

FILE, SUGGESTED = "instances.json", "suggested.json"
REQUEST, ID, SUGGESTIONS = "rayal_request", "rayal_id", "rayal_suggestions"
"""Keys of our own, in `info` and in images; most tools drop them."""

LONGEST = 40  # bits of a run

Json = dict[str, Any]


class Coco(Skipping):
    """A JSON file of COCO instances, which most tools import and export."""

    linked: ClassVar[bool] = False

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        content = document(asked.title, (*asked.classes, self.skip))
        content["info"][REQUEST] = asked.name
        images = [(add_image(content, items[0]), items[0]) for items in asked.by_image.values()]
        out.write(FILE, dumped(content))
        for image, item in images:
            said = suggestions.get(item.unit)
            mask = suggested_mask(item, suggestions)
            if said is not None and isinstance(said.predicted, int):
                annotate(content, image, said.predicted)
            elif mask is not None:
                annotate_areas(content, image, mask)
        if content["annotations"]:
            content["info"][SUGGESTIONS] = True
            out.write(SUGGESTED, dumped(content))

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        names = ", ".join(f"`{name}`" for name in asked.classes)
        draw = (
            f"Draw what is to be seen, as {names}: polygons or masks. Of two, one over the other,"
            " the smaller one counts. Where nothing is drawn, nothing is learned. Images without an"
            " annotation wait."
            if asked.masks
            else f"Give each image one annotation, of the category {names}; its place in the image"
            " does not matter. Images without one wait."
        )
        return (
            f"Import `{place}/{FILE}` with the images in `{place}/{IMAGES}` into your tool; keep"
            " the names of the files.",
            f"To begin with what the model suggests, where there are suggestions, import"
            f" `{place}/{SUGGESTED}` instead. All that the file which you give back holds counts"
            " as an answer: delete suggestions that nobody looked at.",
            draw,
            f"An annotation of the category `{self.skip}` says of an image that it cannot be"
            " labeled.",
            "Export as COCO instances. If several people annotate, give a file each, with their"
            " name as `contributor` in its `info`. Look at what would be taken: `rayal labels add"
            " RUN FILE --check`; then give it without `--check`, and the run's own command again.",
        )

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        content = _checked(parsed(only(data, ".json")), asked)
        info = content.get("info")
        annotator = str(info.get("contributor") or "") if isinstance(info, dict) else ""
        names = names_of(content["categories"])
        drawn, lost = _by_image(content)
        yield from lost
        for number, image in enumerate(content["images"], start=1):
            where = f"image {number} ({quoted(image.get('file_name'))})"
            try:
                items = items_of(str(image.get("file_name")), asked)
                if image.get(ID) not in (None, *(item.unit for item in items)):
                    raise UsageError(f"{quoted(image[ID])} has another image")
                if asked.masks:
                    size = image.get("height"), image.get("width")
                    check_size(str(image["file_name"]), items, *size)
                found = self._label(image, drawn.get(image["id"], ()), names, asked, items[0])
                for item, label in product(items, found):
                    of = asked.request_of(item)
                    yield Answer(where, item.unit, label, annotator, request=of)
            except UsageError as error:
                yield Problem(where, str(error))

    def _label(
        self, image: Json, drawn: Sequence[Json], names: Mapping[int, str], asked: Asked, item: Item
    ) -> Sequence[str | Mask | None]:
        """The label of an image, None for a skip; nothing while it waits."""
        whole = [image] if isinstance(image.get("category_id"), int) else []
        said = [(name_of(each.get("category_id"), names), each) for each in (*whole, *drawn)]
        labels = sorted({name for name, _ in said})
        if not said or labels == [self.skip]:
            return [None] if said else []
        if self.skip in labels:
            raise UsageError(f"has {self.skip} and other annotations; delete one or the other")
        if asked.masks:
            return [_mask(said, asked, item)]
        if len(labels) > 1:
            told = " and ".join(map(quoted, labels))
            raise UsageError(f"has the categories {told}; leave one of them")
        return [labels[0]]


def document(title: str, categories: Sequence[str]) -> Json:
    """The content of a file without images."""
    return {
        "info": {"description": title},
        "images": [],
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in enumerate(categories, start=1)
        ],
        "annotations": [],
    }


def add_image(content: Json, item: Item) -> Json:
    """The entry of an item's image, added to those of a file."""
    image = {
        "id": len(content["images"]) + 1,
        "file_name": item.image.rpartition("/")[2],
        "height": item.size[0],
        "width": item.size[1],
        ID: item.unit,
    }
    content["images"].append(image)
    return image


def annotate(content: Json, image: Json, number: int, **more: object) -> None:
    """Says that an image is of a class, all of it unless `more` says where."""
    width, height = image["width"], image["height"]
    content["annotations"].append(
        {
            "id": len(content["annotations"]) + 1,
            "image_id": image["id"],
            "category_id": number + 1,
            "bbox": [0, 0, width, height],
            "area": width * height,
            "iscrowd": 0,
            "segmentation": [],
            **more,
        }
    )


def annotate_areas(content: Json, image: Json, mask: Mask) -> None:
    """Says where in an image each class is; H W."""
    for number, area in areas(mask):
        rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        annotate(
            content,
            image,
            number,
            bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            area=int(area.sum()),
            iscrowd=1,  # in COCO, what runs describe
            segmentation={"size": [*area.shape], "counts": runs_of(area.ravel(order="F"))},
        )


def dumped(content: Json) -> bytes:
    """The content as a file."""
    return json.dumps(content, ensure_ascii=False).encode()


def counts_of(text: str) -> list[int]:
    """The runs in COCO's compressed form: numbers of 5 bits a sign, least significant first, each
    from the fourth on as the difference from the last but one."""
    runs, value, shift = list[int](), 0, 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > LONGEST:
            raise UsageError(f"has runs with the sign {quoted(sign)} in a number; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise UsageError("has runs that are cut off; export it again")
    return runs


def _checked(content: Any, asked: Asked) -> Json:
    """Raises UsageError for what is no COCO file of instances, or another request's."""
    if not isinstance(content, dict):
        raise UsageError("the file holds no object of COCO; export it as COCO instances")
    for name in TABLES:
        rows = content.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise no_list(name)
    info = content["info"] if isinstance(content.get("info"), dict) else {}
    request = info.get(REQUEST)
    if info.get(SUGGESTIONS):
        raise UsageError(
            f"the file holds the model's suggestions as they were handed out; export it from the"
            f" tool, or take {SUGGESTIONS} out of its info"
        )
    if request is not None and request not in asked.names:
        raise UsageError(f"the file belongs to another request, {quoted(request)}; give it there")
    for name in ("images", "categories"):
        check_ids(name, [row.get("id") for row in content[name]])
    return content


def _by_image(content: Json) -> tuple[dict[Any, list[Json]], list[Problem]]:
    """Id of an image -> its annotations; and those of no image in the file."""
    found: dict[Any, list[Json]] = {row["id"]: [] for row in content["images"]}
    lost = list[Problem]()
    for number, each in enumerate(content["annotations"], start=1):
        image = each.get("image_id")
        if isinstance(image, int | str) and image in found:
            found[image].append(each)
        else:
            reason = f"is of image_id {quoted(image)}, which the file has not; leave it out"
            lost.append(Problem(f"annotation {number} (id {quoted(each.get('id'))})", reason))
    return found, lost


def _mask(said: Sequence[tuple[str, Json]], asked: Asked, item: Item) -> Mask:
    canvas, drawn = Canvas(item.size), list[tuple[int, int, Area]]()
    for name, annotation in said:
        if name not in asked.classes:
            raise UsageError(f"{quoted(name)} is no class; {suggest(name, asked.classes)}")
        area = _area(annotation.get("segmentation"), item.size)
        drawn.append((-int(area.sum()), asked.classes.index(name), area))
    for _, number, area in sorted(drawn, key=lambda each: each[:2]):
        canvas.paint(number, area)
    return canvas.mask


def _area(segmentation: Any, size: tuple[int, int]) -> Area:
    """H W: what is inside of any of the polygons, or what the runs say."""
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise UsageError("has an annotation without a segmentation; draw it as polygon or mask")
    return np.logical_or.reduce([filled(_points(each), size) for each in segmentation])  # type: ignore


def _of_runs(segmentation: Json, size: tuple[int, int]) -> Area:
    counts = segmentation.get("counts")
    if segmentation.get("size") != [*size]:
        raise UsageError(
            f"has a mask of size {quoted(segmentation.get('size'))}, the image is of {[*size]};"
            " export it again"
        )
    if isinstance(counts, str):
        counts = counts_of(counts)
    if not isinstance(counts, list) or not all(type(each) is int for each in counts):
        raise UsageError(f"has runs {quoted(counts)}; export it again")
    return of_runs(counts, math.prod(size)).reshape(size[::-1]).T


def _points(polygon: Any) -> list[list[float]]:
    if not isinstance(polygon, list) or not all(type(each) in (int, float) for each in polygon):
        raise UsageError("has a polygon that is no list of numbers; export it again")
    if len(polygon) % 2:
        raise UsageError(f"has a polygon of {len(polygon)} numbers, x without y; export it again")
    return [polygon[at : at + 2] for at in range(0, len(polygon), 2)]
