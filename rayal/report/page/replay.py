"""The page of a replay: what a cycle bought beside what others would have, as galleries."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rayal.data.store import Store
from rayal.errors import RayalError, counted
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import parse_unit
from rayal.report import replay_text as text
from rayal.report.images import unseen_of
from rayal.report.page.blocks import Block, Gallery, Listing, Picture, Section, Shown, Table, Text
from rayal.report.page.markup import written
from rayal.report.page.picks import PICTURE, SCENE, covered
from rayal.report.page.thumbnails import SIDE, Thumbnails
from rayal.report.palette import palette
from rayal.report.replays import Beside, SideBySide
from rayal.report.slices import shown as plane
from rayal.storage import yaml_text

ROOM = 900_000
"""Characters of all pictures of the page."""
MOST = 12
"""Images of a kind."""


def html(shown: SideBySide, errors: Sequence[RayalError] = ()) -> str:
    """The whole page."""
    x, pool = shown.state.x, shown.state.pool
    facts = [f"replay of cycle {pool.cycle}", f"seed {x.seed}"]
    facts += [counted(len(shown.others), "other strategy", "other strategies")]
    return written(f"{x.name}: {shown.own.name}", facts, [*_sections(shown, errors)], draws=False)


def _sections(shown: SideBySide, errors: Sequence[RayalError]) -> Iterator[Section]:
    lead = [Text(f"In {text.headline(shown)}.", "lead")]
    told = [Text(f"{text.sentence(shown, other)}.") for other in shown.others]
    wrong = [Text(str(error), "warning") for error in errors]
    overlap = Table.of(text.overlap(shown))
    yield Section("What would have been bought", [*lead, *told, *wrong, overlap])
    balance = [t for t in (text.classes(shown), text.per_class(shown)) if t is not None]
    if balance:
        yield Section("Classes", [Table.of(table) for table in balance])
    if (scores := text.scores(shown)) is not None:
        yield Section("Scores", [Table.of(scores)])
    yield from _galleries(shown)
    yield Section("How it was made", [*_made(shown)])


def _made(shown: SideBySide) -> Iterator[Block]:
    strategies = [other.bought.strategy for other in shown.others]
    words = ["rayal", "replay", shown.state.run.url, "--cycle", str(shown.state.pool.cycle)]
    for strategy in strategies:
        given = strategy.model_dump(mode="json", exclude_defaults=True)
        words += ["--strategy", strategy.part_name() if len(given) == 1 else _flow(given)]
    words += ["--forward"] * any(other.asked for other in shown.others)
    yield Listing("Command", shlex.join(words))
    options = [strategy.model_dump(mode="json") for strategy in strategies]
    yield Listing("Strategies", yaml_text.dump({"strategies": options}))


def _flow(mapping: Mapping[str, object]) -> str:
    """A mapping in one line, as YAML."""
    return f"{{{', '.join(f'{key}: {_value(value)}' for key, value in mapping.items())}}}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return _flow(value)
    return yaml_text.dump({"v": value}).removeprefix("v: ").strip()


def _galleries(shown: SideBySide) -> Iterator[Section]:
    """One for each other strategy: what both buy, and what one of them alone."""
    store = shown.state.store
    if (unseen := unseen_of(store)) is not None:
        yield Section("Pictures", [Text(f"No pictures of {unseen}.", "note")])
        return
    room = Thumbnails(ROOM)
    each = max(3, min(MOST, ROOM // PICTURE // 3 // max(1, len(shown.others))))
    for other in shown.others:
        yield Section(f"{other.name} beside {shown.own.name}", _gallery(shown, other, room, each))


def _gallery(shown: SideBySide, other: Beside, room: Thumbnails, each: int) -> list[Block]:
    own = shown.own.name
    kinds = {
        "Both": other.both,
        f"Only {own}": other.only_own,
        f"Only {other.name}": other.only_it,
    }
    some = {kind: units[:each] for kind, units in kinds.items() if units}
    drawn = _Drawn(shown, other, room).of([unit for units in some.values() for unit in units])
    rows = [
        (f"{kind} ({len(kinds[kind]):,})", [drawn[unit] for unit in units if unit in drawn])
        for kind, units in some.items()
    ]
    blocks: list[Block] = [Gallery(text.sentence(shown, other), rows)]
    if any(len(units) > each for units in kinds.values()):
        blocks.append(Text(f"The first {each} of each kind, by rank.", "note"))
    if any(unit not in drawn for units in some.values() for unit in units):
        blocks.append(Text("The room for pictures is used up, or an image is not here.", "note"))
    return blocks


class _Drawn:
    """Units as a gallery shows them."""

    def __init__(self, shown: SideBySide, other: Beside, room: Thumbnails) -> None:
        self.shown, self.other, self.room = shown, other, room
        self.x: Experiment = shown.state.x
        self.store: Store = shown.state.store
        self.ranks = {
            name: {unit: rank for rank, unit in enumerate(ids, start=1)}
            for name, ids in (
                (shown.own.name, shown.own.ids),
                (other.name, other.bought.ids),
            )
        }

    def of(self, units: Sequence[str]) -> dict[str, Shown]:
        """By unit, as far as there is room, and images can be decoded."""
        images = {unit: image for unit in units if (image := self._image(unit)) is not None}
        wanted = list(dict.fromkeys(images.values()))
        decoded = self.store.pool.decode(self.store.pool.take(wanted))
        pixels = {
            image: self._inside(decoded.images[place], decoded.sizes, place)
            for place, image in enumerate(decoded.ids)
        }
        masks = self._masks([*pixels])
        found = dict[str, Shown]()
        for unit, image in images.items():
            if image not in pixels:
                continue
            pictures = self._pictures(unit, pixels[image], masks.get(image))
            if pictures is not None:
                found[unit] = Shown(pictures, unit, [*self._lines(unit)])
        return found

    def _image(self, unit: str) -> str | None:
        place = parse_unit(unit, self._images)
        return None if place is None else place.image

    @cached_property
    def _images(self) -> set[str]:
        return set(self.store.pool.ids())

    def _inside(
        self, image: NDArray[np.uint8], sizes: NDArray[np.int32] | None, place: int
    ) -> NDArray[np.uint8]:
        made: NDArray[np.uint8] = plane(image)
        return made if sizes is None else made[: sizes[place][0], : sizes[place][1]]

    def _masks(self, images: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """The true ones, of a simulation of masks."""
        if not (self.x.task.dense and self.x.oracle.simulated):
            return {}
        known = self.store.labels("pool", images)
        card = self.store.card
        return {i: self.x.task.targets({i: label}, card)[0].numpy() for i, label in known.items()}

    def _pictures(
        self, unit: str, pixels: NDArray[np.uint8], mask: NDArray[np.uint8] | None
    ) -> list[Picture] | None:
        """None where there is no room."""
        side = SIDE if mask is None else SCENE
        says = unit if (label := self._label(unit)) is None else f"{unit}, {label}"
        made = [(self.room.made(pixels, side), says, "" if mask is None else "Image")]
        if mask is not None:
            colours = (255 * palette(len(self.store.card.classes))).round()
            height, width = pixels.shape[:2]
            over = covered(pixels, mask[:height, :width], colours)
            made.append((self.room.made(over, side), f"True mask of {unit}", "True mask"))
        if any(source is None for source, *_ in made):
            return None
        return [Picture(source or "", words, label) for source, words, label in made]

    def _label(self, unit: str) -> str | None:
        label = self.shown.labels.get(unit)
        return self.store.card.classes[label] if isinstance(label, int) else None

    def _lines(self, unit: str) -> Iterator[str]:
        if (label := self._label(unit)) is not None:
            yield f"true: {label}" if self.x.oracle.simulated else f"label: {label}"
        for name, ranks in self.ranks.items():
            if unit in ranks:
                yield f"{name} pick {ranks[unit]}"
