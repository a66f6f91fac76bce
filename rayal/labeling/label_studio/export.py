"""Label Studio's JSON export: what its annotators said, task by task.

Its other exports are no way back: JSON_MIN and CSV leave skips out and say less of who answered,
COCO, YOLO and masks have lost our ids.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rayal.data.masks import IGNORE, Mask
from rayal.errors import UsageError, quoted
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.label_studio.brush_rle import BadRle, decode_brush
from rayal.labeling.label_studio.config import BRUSH, CHOICE, CONTROLS, IMAGE, POLYGON

REQUEST, ID, RANK = "rayal_request", "rayal_id", "rayal_rank"
REMARKS = frozenset({"textarea", "rating", "number", "datetime", "relation"})
"""What somebody may add to a configuration of ours: no label, so it is left alone."""
FAR = 1e4
"""Percent of a side: where a coordinate is cut off, far outside of any image."""
AGAIN = "export the project again as JSON"
Json = Mapping[str, Any]


class Wrong(ValueError):
    """This cannot be taken; the message is the reason and the way out."""


def read_tasks(data: bytes) -> list[Json]:
    """The tasks of an export. Raises UsageError for another file, or one that is not whole."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "a zip of another export" if data.startswith(b"PK") else f"not UTF-8 ({error})"
        raise UsageError(f"the file is {kind}, and only JSON has all answers; {AGAIN}") from error
    if text.lstrip()[:1] not in ("[", "{"):
        raise UsageError(
            "the file is no JSON; CSV and the like leave out who skipped what, and COCO, YOLO and"
            f" masks lose the ids; {AGAIN}"
        )
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the file is damaged or not whole: {error}; {AGAIN}") from error
    return _tasks(tasks)


def _tasks(found: Any) -> list[Json]:
    if isinstance(found, dict) and "images" in found and "categories" in found:
        raise UsageError(
            "the file is Label Studio's COCO export, which loses ids, skips and brush masks;"
            f" {AGAIN}"
        )
    if not isinstance(found, list) or not all(isinstance(task, dict) for task in found):
        raise UsageError(f"the file is no list of tasks; {AGAIN}")
    if found and not any("data" in task for task in found):
        raise UsageError(
            "the file is no full JSON export, perhaps JSON_MIN, which leaves out who skipped what;"
            f" {AGAIN}, not as JSON-MIN"
        )
    if found and not any("annotations" in task for task in found):
        raise UsageError(
            "the file has tasks without any annotations, as those that were handed out have;"
            f" {AGAIN} when they are answered"
        )
    return found


def answers(tasks: Sequence[Json], asked: Asked) -> Iterator[Answer | Problem]:
    """What was said of the units, in the order of the export; drafts and predictions are none."""
    for number, task in enumerate(tasks, start=1):
        where = f"task {task['id']}" if isinstance(task.get("id"), int) else f"the {number}. task"
        try:
            unit = _unit(task, asked)
            given = task.get("annotations", [])
            if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
                raise Wrong(f"its annotations are no list of annotations; {AGAIN}")
        except Wrong as error:
            yield Problem(where, str(error))
            continue
        for annotation in given:
            place = f"{where}, annotation {annotation.get('id', '?')}"
            answer = _answer(place, unit, annotation, asked)
            yield (
                answer if isinstance(answer, Problem) else answer._replace(request=request_of(task))
            )


def request_of(task: Any) -> str:
    """The request that a task says it is of; empty where it says none."""
    data = task.get("data") if isinstance(task, dict) else None
    name = data.get(REQUEST) if isinstance(data, dict) else None
    return name if isinstance(name, str) else ""


def _unit(task: Json, asked: Asked) -> str:
    data = task.get("data")
    if not isinstance(data, dict) or ID not in data:
        raise Wrong(f"has no {ID}: it is none of this request; leave it out")
    if request_of(task) not in asked.names:
        raise Wrong(
            f"belongs to another request, {quoted(data.get(REQUEST))} instead of"
            f" {quoted(asked.name)}; leave it out, or use `rayal labels pull`, which does"
        )
    unit = data[ID]
    if not isinstance(unit, str):
        raise Wrong(f"its {ID} is {quoted(unit)}, which is no text; {AGAIN}")
    return unit


def _answer(where: str, unit: str, annotation: Json, asked: Asked) -> Answer | Problem:
    try:
        return Answer(
            where,
            unit,
            None if _skipped(annotation) else _label(annotation, asked, asked.by_unit.get(unit)),
            annotator_of(annotation),
            _seconds(annotation),
            str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        )
    except Wrong as error:
        return Problem(where, f"{quoted(unit)}: {error}")


def _skipped(annotation: Json) -> bool:
    skipped = annotation.get("was_cancelled", False)
    if not isinstance(skipped, bool):
        raise Wrong(f"was_cancelled is {quoted(skipped)}, neither true nor false; {AGAIN}")
    return skipped


def annotator_of(annotation: Json) -> str:
    """Who gave it: the number of the user, which every export has, else the address; empty where
    it says neither."""
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("id", who.get("email"))
    return "" if who is None else str(who)


def _seconds(annotation: Json) -> float | None:
    time = annotation.get("lead_time")
    if time is None:
        return None
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < math.inf:
        raise Wrong(f"lead_time is {quoted(time)}, which is no time; {AGAIN}")
    return float(time)


def _label(annotation: Json, asked: Asked, item: Item | None) -> str | Mask | None:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise Wrong(f"its result is no list; {AGAIN}")
    said = [each for each in results if each.get("type") not in REMARKS]
    for each in said:
        _check_control(each, asked)
    if not said:
        raise Wrong(
            "says nothing; answer it, or skip it where it cannot be labeled, and export again"
        )
    if not asked.masks:
        return _choice(said)
    return None if item is None else _mask(said, asked, item)


def _check_control(result: Json, asked: Asked) -> None:
    wanted = (BRUSH, POLYGON) if asked.masks else (CHOICE,)
    name = result.get("from_name")
    kinds = [CONTROLS[each].type for each in wanted if each == name]
    if result.get("type") not in kinds or result.get("to_name") != IMAGE:
        what = quoted(result.get("type")), quoted(name), quoted(result.get("to_name"))
        raise Wrong(
            "has a result of type {} from {} to {}, which the configuration of the request does not"
            " have; label with its config.xml".format(*what)
        )
    if not isinstance(result.get("value"), dict):
        raise Wrong(f"has a result without a value; {AGAIN}")


def _one(value: Json, kind: str) -> str:
    """The one class that a result names."""
    names = value.get(kind)
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise Wrong(f"names {quoted(names)} in place of one class; say one")
    return names[0]


def _choice(results: Sequence[Json]) -> str:
    if len(results) > 1:
        raise Wrong(f"has {len(results)} choices; leave one")
    return _one(results[0]["value"], CONTROLS[CHOICE].type)


def _mask(results: Sequence[Json], asked: Asked, item: Item) -> Mask:
    """What was drawn, later ones above earlier ones; void where nothing was."""
    mask = np.full(item.size, IGNORE, np.uint8)
    for number, result in enumerate(results, start=1):
        try:
            name = _one(result["value"], result["type"])
            if name not in asked.classes:
                raise Wrong(f"{quoted(name)} is no class; use the classes of its config.xml")
            _check_size(result, item)
            draw = _draw_brush if result["from_name"] == BRUSH else _draw_polygon
            draw(result["value"], mask, asked.classes.index(name))
        except (Wrong, BadRle) as error:
            raise Wrong(f"region {number}: {error}") from error
    return mask


def _check_size(result: Json, item: Item) -> None:
    size = result.get("original_height"), result.get("original_width")
    if size != item.size:
        raise Wrong(
            f"was drawn on an image {quoted(size[0])} high and {quoted(size[1])} wide, and that of"
            f" the request is {item.size[0]} high and {item.size[1]} wide; show the images of the"
            " request"
        )
    if result.get("image_rotation", 0):
        raise Wrong("was drawn on a rotated image; turn it back and draw it again")


def _draw_brush(value: Json, mask: Mask, number: int) -> None:
    if value.get("format") != "rle":
        raise Wrong(f"its format is {quoted(value.get('format'))} instead of rle; {AGAIN}")
    mask[decode_brush(value.get("rle", ()), mask.shape)] = number


def _draw_polygon(value: Json, mask: Mask, number: int) -> None:
    from rayal.data.polygons import fill  # with scipy, which most answers do without

    if value.get("closed", True) is not True:
        raise Wrong("is a polygon that is not closed; close it")
    try:
        points = np.array(value.get("points"), np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise Wrong(f"is a polygon whose points are not three or more x y; {AGAIN}")
    sides = np.array(mask.shape[::-1]) / 100  # percent of W and H
    window, inside = fill([np.clip(points, -FAR, FAR) * sides], mask.shape)
    mask[window][inside] = number
