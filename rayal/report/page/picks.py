"""Galleries of what each cycle chose: the most wanted, those in the middle, the least."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from rayal.data.masks import IGNORE, Mask
from rayal.errors import RayalError, counted
from rayal.report import picked, pictures
from rayal.report.gallery import Shot
from rayal.report.groups import BASELINE
from rayal.report.images import chosen_images, unseen_of
from rayal.report.overlays import Row
from rayal.report.page.blocks import Block, Fold, Gallery, Key, Picture, Section, Shown, Text
from rayal.report.page.originals import Original, Originals
from rayal.report.page.seen import Seen
from rayal.report.page.thumbnails import SIDE, Thumbnails
from rayal.report.palette import palette
from rayal.report.reasons import Reason, reasons
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Trained

MOST = 9
"""Images of a cycle at most: three of each kind."""
PICTURE = 2_000
"""Characters of one, about: what is there is divided by it."""
SCENE = 2 * SIDE
"""Side of an image with masks, of which much less is seen in a smaller one."""
COVER = 0.55
"""How much of an image a mask covers."""
KINDS = ("Most wanted", "In the middle", "Least wanted")
ORDER = ("Chosen first", "In the middle", "Chosen last")
"""Of strategies whose order says nothing of how much each unit is wanted: of such as look at what
they have chosen before, and of chance."""


def section(seen: Seen, originals: Originals, thumbnails: Thumbnails) -> Section | None:
    """A gallery for each arm, of the run that stands for it."""
    arms = [arm for group in seen.groups for arm in group.arms]
    chosen = [(arm, _cycles(seen.one_of(arm))) for arm in arms]
    chosen = [(arm, cycles) for arm, cycles in chosen if cycles]
    if not chosen:
        return None
    plan = _plan(len(chosen), max(len(cycles) for _, cycles in chosen), thumbnails.room)
    notes, folds = dict[str, None](), list[Block]()
    for arm, cycles in chosen:
        found = [*_galleries(seen, seen.one_of(arm), originals, thumbnails, cycles, plan, notes)]
        if found:
            seed = f", seed {seen.seed_of(arm)}" if len(arm.runs) > 1 else ""
            folds.append(Fold(f"Picks of {arm.label}{seed}", found, not folds))
    if folds and not seen.asks_models:
        notes[f"What the models say is not asked when a run ends; {seen.command} asks them."] = None
    return Section("What was chosen", [*folds, *(Text(note, "note") for note in notes)])


def _galleries(
    seen: Seen,
    record: Record,
    originals: Originals,
    thumbnails: Thumbnails,
    cycles: Sequence[int],
    plan: tuple[int, int],
    notes: dict[str, None],
) -> Iterator[Block]:
    """Of one run, for as many images and cycles as the `plan` has; `notes` gets what is missing."""
    original = originals.of(record)
    if isinstance(original, str):
        notes[original] = None
        return
    if not original.visible:
        unseen = str(unseen_of(original.store)).partition(" (")[0]  # without its axes
        notes[
            f"Nothing to look at: {unseen}; what was chosen is in each cycle's select/chosen.csv."
        ] = None
        return
    each, most = plan
    shown = [cycles[at] for at in spread(len(cycles), most)]
    if seen.asks_models and (without := [c for c in shown if record.pruned(c, Trained.stage)]):
        notes[_pruned(len(without), len(shown))] = None
    made = _Galleries(record, original, thumbnails, seen.asks_models, each)
    if len(shown) < len(cycles):
        number = f"{len(shown)} of {counted(len(cycles), 'cycle')}"
        notes[f"{number}; rayal report --pictures draws all of them."] = None
    galleries = [*made.of(shown, notes)]
    if galleries and original.x.task.dense:
        yield _key(original)
    yield from galleries


def _key(original: Original) -> Key:
    """The colours of the classes, as the masks have them."""
    classes = original.store.card.classes
    colours = map(to_hex, _colours(classes))
    return Key([*zip(colours, classes, strict=True)])


def _colours(classes: Sequence[str]) -> NDArray[np.float64]:
    return np.asarray(palette(len(classes)), np.float64)


def _pruned(without: int, of: int) -> str:
    return (
        f"What the model said is not known of {without} of {counted(of, 'cycle')} above, whose"
        " weights were pruned (keep.weights)."
    )


def _cycles(record: Record) -> list[int]:
    """Those that have chosen something."""
    found = ((cycle, record.result(cycle, Chosen)) for cycle in range(record.begun()))
    return [cycle for cycle, chosen in found if chosen is not None and chosen.ids]


def _plan(arms: int, cycles: int, room: int) -> tuple[int, int]:
    """How many images of a cycle, and how many cycles, so that all arms have room."""
    images = max(3, room // PICTURE // arms)
    each = max(3, min(MOST, images // cycles // 3 * 3))
    return each, max(1, min(cycles, images // each))


def spread(count: int, most: int) -> list[int]:
    """So many places of 0 to count - 1 at most, the first and the last included."""
    if count <= most:
        return [*range(count)]
    return sorted({round(place) for place in np.linspace(0, count - 1, most).tolist()})


def kinds(images: Sequence[str], most: int, names: Sequence[str] = KINDS) -> dict[str, list[str]]:
    """The first, the middle and the last of them, a third of `most` each, none of them twice."""
    each = min(most, len(images)) // 3
    if each == 0:
        return {names[0]: [*images]}
    middle = (len(images) - each) // 2
    places = (0, middle, len(images) - each)
    return {
        kind: [*images[place : place + each]] for kind, place in zip(names, places, strict=True)
    }


class _Galleries:
    """Those of one run."""

    def __init__(
        self, record: Record, original: Original, room: Thumbnails, asks: bool, each: int
    ) -> None:
        self.record, self.original, self.room = record, original, room
        self.asks, self.each = asks, each
        (name, strategy), *_ = original.x.scored().items()
        self.names = KINDS if strategy.ranks() and name != BASELINE else ORDER

    def of(self, cycles: Sequence[int], notes: dict[str, None]) -> Iterator[Gallery]:
        """One for each of these cycles; `notes` gets what is missing, and why."""
        for cycle in cycles:
            try:
                yield self._gallery(cycle)
            except RayalError as error:
                notes[str(error)] = None
            except _Full:
                notes[
                    "The room for pictures is used up; rayal report --pictures draws the rest."
                ] = None
                return

    def _gallery(self, cycle: int) -> Gallery:
        x, store = self.original
        chosen = chosen_images(self.record, store, cycle)
        by_kind = kinds([*chosen], self.each, self.names)
        wanted = {image: chosen[image] for images in by_kind.values() for image in images}
        asks = self.asks and not self.record.pruned(cycle, Trained.stage)
        shown: Mapping[str, Shown]
        if x.task.dense:
            rows, why = picked.rows(self.record, x, store, cycle, wanted, asks), self._why(cycle)
            first = {image: why.get(units[0]) for image, units in wanted.items()}
            shown = {row.image: self._scene(row, first[row.image], asks) for row in rows}
        else:
            shots = picked.shots(self.record, x, store, cycle, wanted, asks)
            shown = {shot.image: self._shot(shot) for shot in shots}
        rows_of = [
            (kind, [shown[image] for image in images if image in shown])
            for kind, images in by_kind.items()
        ]
        return Gallery(f"Cycle {cycle}: {counted(len(chosen), 'image')} chosen", rows_of)

    def _shot(self, shot: Shot) -> Shown:
        said = shot.predicted
        lines = []
        if said is not None:
            lines.append(f"model: {said.label}, {said.share:.0%}, {said.entropy:.2f} nats")
        if shot.answer is not None:
            lines.append(
                f"true: {shot.answer}" if self.original.simulated else f"label: {shot.answer}"
            )
        lines += [shot.reason, *([f"score {shot.score:.4g}"] if shot.score is not None else [])]
        lines += [shot.note] if shot.note else []
        says = f"{shot.image}" + (f", {shot.answer}" if shot.answer else "")
        wrong = said is not None and shot.answer is not None and said.label != shot.answer
        picture = Picture(self._made(shot.pixels), says)
        return Shown([picture], shot.image, lines, wrong)

    def _why(self, cycle: int) -> Mapping[str, Reason]:
        """Unit -> why it was chosen."""
        return reasons(self.record, self.original.x, cycle)

    def _scene(self, row: Row, reason: Reason | None, asks: bool) -> Shown:
        colours = (255 * _colours(self.original.store.card.classes)).round()
        reference = pictures.reference_of(self.original.x)
        masks = {
            reference: row.reference,
            "Prediction": row.predicted if asks else None,
            "Bought": None if np.array_equal(row.bought, row.reference) else row.bought,
        }
        found = [Picture(self._made(row.pixels, SCENE), row.image, "Image")]
        for label, mask in masks.items():
            if mask is not None:
                over = covered(row.pixels, mask, colours)
                found.append(Picture(self._made(over, SCENE), f"{label} of {row.image}", label))
        lines = [row.note] if row.note else []
        if reason is not None:
            score = [] if reason.score is None else [f"score {reason.score:.4g}"]
            lines.append(", ".join([reason.text, *score]))
        if asks:
            lines.append(f"entropy {float(row.entropy.mean()):.3f} nats, mean of its pixels")
        return Shown(found, row.image, lines)

    def _made(self, pixels: NDArray[np.uint8], side: int = SIDE) -> str:
        uri = self.room.made(pixels, side)
        if uri is None:
            raise _Full
        return uri


class _Full(Exception):
    """There is no room for a picture."""


def covered(
    pixels: NDArray[np.uint8], mask: Mask, colours: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """An image, H W 3, with the colours of its classes over it where there are some."""
    known = (mask != IGNORE)[:, :, None]
    laid = colours[np.where(mask == IGNORE, 0, mask)]
    mixed = np.where(known, COVER * laid + (1 - COVER) * pixels, pixels)
    found: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return found
