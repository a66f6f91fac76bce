"""A request as tasks that Label Studio imports, with what the model says as predictions."""

import io
import posixpath
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from rayal.errors import UsageError
from rayal.labeling.exchange.base import Asked, Item
from rayal.labeling.label_studio.brush_rle import encode_brush
from rayal.labeling.label_studio.config import BRUSH, CHOICE, CONTROLS, IMAGE, POLYGON
from rayal.labeling.label_studio.export import ID, RANK, REQUEST
from rayal.labeling.suggestions import Suggestion

LOCAL = "/data/local-files/?d="
"""How the server addresses files below its document root."""
MODEL = "rayal"
"""The version of all predictions: a project shows those of one version alone."""
Json = dict[str, Any]


def task_of(
    asked: Asked, item: Item, address: str, said: Suggestion | None, drawn: Sequence[str]
) -> Json:
    """One unit, shown by the image at `address`."""
    data: Json = {"image": address, ID: item.unit, RANK: item.rank, REQUEST: asked.name}
    data["rayal_title"] = asked.title
    if said is None:
        return {"data": data}
    data["rayal_reason"] = said.reason
    if said.score is not None:
        data["rayal_score"] = said.score
    result = _result(asked, item, said, drawn)
    prediction: Json = {"model_version": MODEL, "result": result}
    if said.confidence is not None:
        prediction["score"] = said.confidence
    return {"data": data, "predictions": [prediction]} if result else {"data": data}


def _result(asked: Asked, item: Item, said: Suggestion, drawn: Sequence[str]) -> list[Json]:
    """What the model says; nothing of a mask that is not of the image's size."""
    if isinstance(said.predicted, int):
        return [_region(CHOICE, 1, {"choices": [asked.classes[said.predicted]]})]
    if not isinstance(said.predicted, bytes):
        return []
    mask = np.array(Image.open(io.BytesIO(said.predicted)))
    if mask.shape != item.size:
        return []
    pieces = _brushes(mask, asked) if BRUSH in drawn else _polygons(mask, asked)
    height, width = item.size
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return [piece | size for piece in pieces]


def _brushes(mask: np.ndarray, asked: Asked) -> list[Json]:
    found = [number for number in np.unique(mask).tolist() if number < len(asked.classes)]
    return [
        _region(
            BRUSH,
            place,
            {
                "format": "rle",
                "rle": encode_brush(mask == number),
                "brushlabels": [asked.classes[number]],
            },
        )
        for place, number in enumerate(found, start=1)
    ]


def _polygons(mask: np.ndarray, asked: Asked) -> list[Json]:
    """Each connected region as one polygon, larger ones first: what lies in a hole is above it."""
    from rayal.data.polygons import components, outlines

    regions = components(mask, 4, mask < len(asked.classes))
    whole = [each for each in outlines(regions, 4) if each.area > 0]
    percent = 100 / np.array(mask.shape[::-1])
    return [
        _region(
            POLYGON,
            place,
            {
                "points": (each.points * percent).tolist(),
                "closed": True,
                "polygonlabels": [asked.classes[int(mask[each.pixel])]],
            },
        )
        for place, each in enumerate(sorted(whole, key=lambda each: -each.area), start=1)
    ]


def _region(control: str, place: int, value: Json) -> Json:
    kind = CONTROLS[control].type
    name = f"{MODEL}-{place}"
    return {"id": name, "from_name": control, "to_name": IMAGE, "type": kind, "value": value}


def address_of(item: Item, place: str, root: str | None) -> str:
    """Where the server finds an image: of files, in the folder `place` of the request or where they
    are, below the document root; else its own address.

    `root` None: the folder of the request. Raises UsageError for a file that is not below it.
    """
    linked = posixpath.isabs(item.image) or "://" in item.image
    path = item.image if linked else posixpath.join(place, item.image)
    if "://" in path:
        return path
    base = root or (posixpath.sep if linked else place)
    below = posixpath.relpath(path, base)
    if below.startswith(".."):
        raise UsageError(
            f"{path} is not below document_root {base}, so Label Studio cannot serve it; set"
            " oracle.format.document_root to a folder above it"
        )
    return LOCAL + quote(below)
