"""A request on its way to people: a folder that the labeling tool imports.

    request/request.json   run and cycle, the units in order of rank, their images, the classes
    request/images/        the images, unless they are linked
    request/...            what the tool imports, see the format
    request/HOW.md         what to do with it, step by step
    disputed-0f1e2d3c/     the same for the units of which annotators say different things

`request.json` is written last: while it is not there, the folder is written again. Each set of
disputed units has a folder of its own, named by its ids, and those before stay: somebody may be
labeling there.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from rayal.data.geometry import restored
from rayal.data.masks import IGNORE, decoded, encode
from rayal.data.store import Store
from rayal.errors import StorageError, counted
from rayal.labeling.areas import Areas, Regions
from rayal.labeling.exchange.base import IMAGES, Asked, Format, Item
from rayal.labeling.pictures import Handing, write_pictures
from rayal.labeling.request import Request
from rayal.labeling.suggestions import Suggestion, read_suggestions, write_suggestions
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder

REQUEST, DISPUTED, FILE, HOW = "request", "disputed", "request.json", "HOW.md"
DIMMED = (
    "Where an image is dark and grey but for a part of it, label that part alone: nothing that is"
    " drawn outside of its bright line counts."
)


def write_request(
    form: Format,
    asked_folder: Folder,
    store: Store,
    units: Sequence[str],
    suggestions: Mapping[str, Suggestion],
    *,
    name: str,
    title: str,
    handing: Handing = "copied",
    regions: Regions | None = None,
) -> Asked:
    """Puts the folder `request` into that of what was asked, unless it is there whole; returns what
    it says.

    `regions` are those of the oracle, where units may be regions of images.
    """
    out = asked_folder / REQUEST
    there = read_request(asked_folder)
    if there is not None and [item.unit for item in there.items] == [*units]:
        return there
    areas = Areas(store, regions)
    asked = Asked(
        name=name,
        title=title,
        classes=store.card.classes,
        masks=store.card.masks is not None,
        items=by_rank(write_pictures(areas, units, handing, out, name)),
    )
    shown = {item.unit: _shown(item, suggestions.get(item.unit), areas) for item in asked.items}
    said = {unit: each for unit, each in shown.items() if each}
    if said:
        write_suggestions(out, said)
    write_asked(form, asked, said, out)
    return asked


def ask_again(form: Format, asked: Asked, request: Request) -> str | None:
    """Puts the disputed units of a request into a folder of their own, for an annotator who has not
    seen them: the same names, ranks and images. Returns its URL; None where none are disputed."""
    disputed = frozenset(request.disputed)
    if not disputed:
        return None
    out = disputed_folder(request)
    if read_request(request.folder, out.url.rpartition("/")[2]) is not None:
        return out.url
    again = replace(
        asked,
        title=f"{asked.title}, disputed",
        items=tuple(item for item in asked.items if item.unit in disputed),
        earlier=(),
    )
    given = request.folder / REQUEST
    with suggesting(f"delete {given.url} and give the run's own command again, which writes it"):
        for image in {item.image: None for item in again.items}:
            if image.startswith(f"{IMAGES}/"):
                out.write(image, given.read(image))
    suggestions = read_suggestions(given)
    write_asked(form, again, suggestions, out)
    return out.url


def disputed_folder(request: Request) -> Folder:
    """Where the units that are disputed now are asked for again."""
    ids = json.dumps(sorted(request.disputed))
    return request.folder / f"{DISPUTED}-{hashlib.sha256(ids.encode()).hexdigest()[:8]}"


def write_asked(
    form: Format,
    asked: Asked,
    suggestions: Mapping[str, Suggestion],
    out: Folder,
    last: Sequence[str] = (),
) -> None:
    """Puts what the tool imports beside the images, and then what was asked; `last` are steps that
    follow those of the tool."""
    form.write(asked, suggestions, out)
    steps = (*form.steps(asked, out.url), *last)
    out.write(HOW, _how(asked, steps).encode())
    out.write_sealed(FILE, _json(asked, suggestions))


def by_rank(items: Iterable[Item]) -> tuple[Item, ...]:
    """The first to be labeled first."""
    return tuple(sorted(items, key=attrgetter("rank")))


def _shown(item: Item, said: Suggestion | None, areas: Areas) -> Suggestion | None:
    """A suggestion in the size of the image that people see, of the unit alone."""
    if said is None or not isinstance(said.predicted, bytes):
        return said
    mask = restored(decoded(said.predicted), item.size, areas.store.card.decoding)
    part = areas.shown(item.unit, item.size) if item.part else None
    if mask is not None and part is not None:
        mask = np.where(part, mask, IGNORE).astype(np.uint8)
    return said._replace(predicted=None if mask is None else encode(mask))


def read_request(asked_folder: Folder, name: str = REQUEST) -> Asked | None:
    """What a request said when it was written; None where it is not there whole."""
    again = "give the run's own command again, which writes it anew"
    return read_asked(asked_folder / name, again)


def read_asked(out: Folder, again: str) -> Asked | None:
    """As `read_request`, in the folder itself; `again` is what to do once a damaged one is gone."""
    written = out.read_sealed(FILE, default=None)
    if written is None:
        return None
    try:
        return Asked(
            name=written["request"],
            title=written["title"],
            classes=tuple(written["classes"]),
            masks=written["masks"],
            items=tuple(
                Item(
                    each["id"],
                    each["rank"],
                    each["image"],
                    (each["height"], each["width"]),
                    each.get("part", False),
                )
                for each in written["units"]
            ),
        )
    except (LookupError, TypeError) as error:
        raise StorageError(f"{out.url}/{FILE} is damaged; delete {out.url} and {again}") from error


def title(request: Request) -> str:
    """Of a request, for people: the run's folder, its strategy where that is known, the cycle."""
    words = request.folder.url.split("/")[-4:-2]
    return f"{'/'.join(words)}, {request.stage}"


def _json(asked: Asked, suggestions: Mapping[str, Suggestion]) -> dict[str, Any]:
    ids = "\n".join(item.unit for item in asked.items)
    units = []
    for item in asked.items:
        said = suggestions.get(item.unit)
        why = {} if said is None else {"score": said.score, "reason": said.reason}
        height, width = item.size
        units.append(
            {
                "id": item.unit,
                "rank": item.rank,
                "image": item.image,
                "height": height,
                "width": width,
                **({"part": True} if item.part else {}),
                **why,
            }
        )
    return {
        "request": asked.name,
        "title": asked.title,
        "classes": list(asked.classes),
        "masks": asked.masks,
        "ids_sha256": hashlib.sha256(ids.encode()).hexdigest(),
        "units": units,
    }


def _how(asked: Asked, steps: Sequence[str]) -> str:
    if any(item.part for item in asked.items):
        steps = (*steps, DIMMED)
    told = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    return f"# {asked.title}: {counted(len(asked.items), 'image')} to label\n\n{told}\n"
