"""`rayal labels export`: the whole labeled set of a run, handed on.

<out>/...           see `layouts`
<out>/export.json   run, classes, counts; written last: its existence means that all is there
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.cycle.offer import of_images
from rayal.data.images import Decoding
from rayal.data.masks import LabelValue, Mask, decode
from rayal.data.store import Store
from rayal.errors import UsageError, counted
from rayal.experiment import config
from rayal.labeling.exchange.base import Item
from rayal.labeling.pictures import Handing, Picture, file_name, of_pixels, pictures
from rayal.labeling.regions import parse_unit
from rayal.labeling.votes import VOTES, Vote
from rayal.models.base import SEEN
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.ledger import INITIAL, read_labels, read_votes, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Initial, Labeled
from rayal.storage.folder import Folder
from rayal.workflows.labels.layouts import Layout, Shown, layout

DONE = "export.json"


class Exported(NamedTuple):
    """What was written."""

    out: str
    labels: int
    """Images with a label."""
    refused: int
    """Units that could not be labeled, which are left out."""
    votes: int
    """Answers of annotators behind these labels; 0 where nobody voted."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        made = f", of {counted(self.votes, 'vote')}" if self.votes else ""
        left = f"; left out {self.refused} that cannot be labeled" if self.refused else ""
        return [f"{self.out}: {counted(self.labels, 'labeled image')}{made}{left}"]


class Bought(NamedTuple):
    """All answers of a run."""

    labels: dict[str, LabelValue]
    """Unit -> its label, in the order of purchase; the last one where it was bought again."""
    cycles: dict[str, int]
    """Unit -> cycle, -1 before the first training."""
    refused: set[str]
    votes: dict[str, list[Vote]]
    """Unit -> its votes of all purchases, in order; empty where no annotator is known."""


def export(
    run: str,
    kind: str,
    out: str,
    *,
    votes: bool = False,
    handing: Handing = "copied",
    plugins: Plugins = NO_PLUGINS,
) -> Exported:
    """Writes the labels of all finished purchases, with their images, into a new folder; of vectors
    and volumes, which no picture shows, the labels alone."""
    record = Record(Folder(run), plugins)
    record.check()
    x = config.resolved(record.experiment(), plugins)
    folder = Folder(out)
    if found := folder.names():
        raise UsageError(f"{folder.url} holds {found[0]} and the like; give a new folder as --out")
    store = x.dataset.open()
    masks = store.card.masks is not None
    sides = len(store.card.image.sides)
    seen = None if sides == 2 else SEEN[sides]
    chosen = layout(kind, masks, handing == "linked", seen)
    made = chosen(store.card.classes, x.name, votes)
    bought = _bought(record)
    number = 0
    for shown in _alone(bought) if seen else _shown(store, bought, made, handing):
        number += 1
        if shown.data and shown.item.image:
            folder.write(shown.item.image, shown.data)
        for name, data in made.add(shown):
            folder.write(name, data)
    for name, data in made.end():
        folder.write(name, data)
    cast = sum(len(bought.votes.get(unit, ())) for unit in bought.labels)
    done = Exported(folder.url, number, len(bought.refused), cast)
    about = {"run": record.folder.url, "run_id": record.run_id, "to": kind}
    classes = {"classes": [*store.card.classes], "masks": masks}
    counts = {"labels": number, "refused": done.refused, "votes": done.votes}
    folder.write_json(DONE, {**about, **classes, **counts})
    return done


def _bought(record: Record) -> Bought:
    found, voted = Bought({}, {}, set(), {}), False
    for cycle, stage, kind in _purchases(record):
        result = record.result(cycle, kind)
        if result is None:
            continue
        out = stage_folder(record.folder, cycle, stage)
        for unit, value, _ in read_labels(out):
            found.labels.pop(unit, None)
            found.refused.discard(unit)
            if value is None:
                found.refused.add(unit)
            else:
                found.labels[unit] = value
            found.cycles[unit] = -1 if stage == INITIAL else cycle
        voted = voted or VOTES in result.evidence
        for vote in read_votes(out):
            found.votes.setdefault(vote.unit, []).append(vote)
    return found if voted else found._replace(votes={})


def _purchases(record: Record) -> Iterator[tuple[int, str, type[Labeled]]]:
    yield 0, INITIAL, Initial
    for cycle in range(record.begun()):
        yield cycle, Labeled.stage, Labeled


def _alone(bought: Bought) -> Iterator[Shown]:
    """Every label without its image, in the order of purchase."""
    for rank, (unit, label) in enumerate(bought.labels.items(), start=1):
        assert isinstance(label, int), "only pictures have masks"
        item = Item(unit, rank, "", (0, 0))
        yield Shown(item, b"", label, bought.cycles[unit], bought.votes.get(unit, ()))


def _shown(store: Store, bought: Bought, made: Layout, handing: Handing) -> Iterator[Shown]:
    """Every labeled image, in the order of purchase; of regions, their image with all of them."""
    known = set(store.pool.ids())
    units = dict[str, list[str]]()
    for unit in bought.labels:
        place = parse_unit(unit, known)
        if place is not None:
            units.setdefault(place.image, []).append(unit)
    labels = of_images(bought.labels, store)
    decoding = store.card.decoding or Decoding()
    for rank, (image, stored, seen) in enumerate(pictures(store, list(units)), start=1):
        label = labels[image]
        value: int | Mask
        if isinstance(label, int):
            value, picture = label, seen
        else:
            assert store.card.masks is not None
            value, picture = _fitting(store, image, decode(label, store.card.masks, decoding), seen)
        linked = handing == "linked" and isinstance(stored, str) and picture is seen
        file = file_name(image, rank, len(units), picture.suffix)
        place_of = str(stored) if linked else made.place(file, value)
        item = Item(image, rank, place_of, picture.size)
        cycle = min(bought.cycles[unit] for unit in units[image])
        votes = [vote for unit in units[image] for vote in bought.votes.get(unit, ())]
        yield Shown(item, b"" if linked else picture.data, value, cycle, votes)


def _fitting(store: Store, image: str, mask: Mask, seen: Picture) -> tuple[Mask, Picture]:
    """A mask and the image that it fits: as people see it, or else as networks do."""
    height, width = seen.size
    if store.card.decoding is not None and store.card.decoding.canvas is not None:
        return mask[:height, :width], seen
    if mask.shape == seen.size:
        return mask, seen
    decoded = store.pool.decode(store.pool.take([image]))
    pixels: NDArray[np.uint8] = decoded.images[0]
    return mask, of_pixels(pixels)
