"""What test images say of the models of a run: how sure they are, and what they take for what.

Every evaluation keeps it, so nothing is asked again. Of runs of an older rayal models are asked,
where they may be and are there. C classes, T cycles.
"""

from collections.abc import Iterable, Sequence

from rayal.errors import RayalError
from rayal.report.arms import Arm
from rayal.report.drawing import COLOURS
from rayal.report.groups import Group
from rayal.report.metric import Limits
from rayal.report.page import measures
from rayal.report.page.asked import asked
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Section, Table, Text, number
from rayal.report.page.confusions import matrices, over_cycles, room
from rayal.report.page.originals import Originals
from rayal.report.page.picks import spread
from rayal.report.page.said import CYCLES, Said, keeps, kept
from rayal.report.page.seen import Seen
from rayal.runs.results import Calibration, Evaluated
from rayal.storage.folder import Json

ARMS = 4
CURVES = (
    ("ece", "Calibration error (%)"),
    ("ece_after", "Calibration error with a temperature (%)"),
)
"""Field of a Calibration, and what it is called."""
ECE = (
    "ECE: mean distance of confidence and accuracy in 15 bins; with a temperature that was fitted"
    " on the other half of the images"
)


def section(seen: Seen, originals: Originals) -> Section | None:
    """Curves of all arms; for some arms, of the run that stands for each, calibration and
    confusion."""
    tested = [group for group in seen.groups if group.tested]
    left, notes, blocks = ARMS, dict[str, None](), dict[str, Sequence[Block]]()
    arms = min(ARMS, sum(len(group.arms) for group in tested))
    for group in tested:
        shown, left = group.arms[:left], max(0, left - len(group.arms))
        told = [(arm, _said(seen, originals, arm, notes)) for arm in shown]
        known = [(arm, *said) for arm, said in told if said is not None]
        folds = [
            _fold(seen, arm, classes, said, room(len(classes), arms, place), not place)
            for place, (arm, classes, said) in enumerate(known)
        ]
        blocks[group.question] = [*_curves(seen, group), *folds]
    found = [*seen.parts(blocks), *(Text(note, "note") for note in notes)]
    return Section("Calibration and confusion", found) if found else None


def _said(
    seen: Seen, originals: Originals, arm: Arm, notes: dict[str, None]
) -> tuple[Sequence[str], Sequence[Said]] | None:
    """The classes, and what the run of an arm says; None, and a note, where that is not known."""
    record = seen.one_of(arm)
    try:
        classes = record.classes() or ()
        said = kept(record, len(classes)) if classes else []
        if not said and not keeps(record):
            if not seen.asks_models:
                notes[
                    "Runs of an older rayal kept neither confusion nor calibration;"
                    f" {seen.command} asks their models."
                ] = None
                return None
            original = originals.of(record)
            if isinstance(original, str):
                return None
            classes, said = original.store.card.classes, asked(record, original)
    except RayalError as error:
        notes[str(error)] = None
        return None
    return (classes, said) if said else None


def _curves(seen: Seen, group: Group) -> list[Block]:
    """How calibration goes on with labels, for every arm: mean over seeds."""
    found = []
    for name, what in CURVES:
        points = {arm.label: _points(seen, arm, name) for arm in group.arms}
        if any(points.values()):
            found.append(
                measures.figure(group, what, points, scale=100, form=".2f", limits=Limits(0, 100))
            )
    return [Fold(each.title, [each], not place) for place, each in enumerate(found)]


def _points(seen: Seen, arm: Arm, name: str) -> measures.Points:
    found: measures.Points = {}
    for run in arm.runs:
        record = seen.record(run)
        for cycle in range(record.begun()):
            evaluated = record.result(cycle, Evaluated)
            if evaluated is not None and evaluated.calibration is not None:
                value = getattr(evaluated.calibration, name)
                found.setdefault(evaluated.labels, []).append(value)
    return found


def _fold(
    seen: Seen, arm: Arm, classes: Sequence[str], said: Sequence[Said], most: int, is_open: bool
) -> Fold:
    """Of one arm, with so many matrices at most."""
    blocks = [
        *_calibration(arm, said),
        *over_cycles(arm, said, classes),
        *matrices(arm, said, classes, most),
    ]
    return Fold(f"{arm.label}, seed {seen.seed_of(arm)}", blocks, is_open)


def _calibration(arm: Arm, said: Sequence[Said]) -> Iterable[Block]:
    """A reliability diagram of some cycles, and the errors of all; nothing of masks."""
    known = [(each, each.calibration) for each in said if each.calibration is not None]
    if not known:
        return
    shown = [known[at] for at in spread(len(known), CYCLES)]
    title = f"Calibration: {arm.label}"
    yield Figure(
        title=title,
        draws="lines",
        says="Reliability diagram: how often a model is right against how sure it is, a line for"
        " each of some cycles; on the diagonal both are the same; the bins are in the table below",
        data={
            "x": "Confidence (%)",
            "y": "Right (%)",
            "bands": False,
            "diagonal": 100,
            "series": [_line(place, *each) for place, each in enumerate(shown)],
            "heights": [],
        },
        table=_bins(title, shown),
    )
    yield _errors(arm, known)


def _line(place: int, said: Said, found: Calibration) -> Json:
    return {
        "name": f"cycle {said.cycle}",
        "size": f"{said.labels:,} labels",
        "colour": COLOURS[place % len(COLOURS)],
        "line": "-",
        "x": [100 * value for value in found.confidence],
        "y": [100 * value for value in found.accuracy],
        "shares": [count / sum(found.counts) for count in found.counts],
    }


def _bins(title: str, shown: Sequence[tuple[Said, Calibration]]) -> Table:
    rows: list[Sequence[Cell]] = [
        [f"cycle {said.cycle}", number(sure, ".2f", 100), number(right, ".2f", 100)]
        + [number(count, ",d")]
        for said, found in shown
        for sure, right, count in zip(found.confidence, found.accuracy, found.counts, strict=True)
    ]
    header = ["model of", "confidence (%)", "right (%)", "test images"]
    return Table(title, header, rows, "means of bins of equal width, without those that are empty")


def _errors(arm: Arm, known: Sequence[tuple[Said, Calibration]]) -> Table:
    rows: list[Sequence[Cell]] = [
        [f"cycle {said.cycle}", number(said.labels, ",d"), number(found.images, ",d")]
        + [number(found.ece, ".2f", 100), number(found.ece_after, ".2f", 100)]
        + [number(found.temperature, ".2f")]
        for said, found in known
    ]
    header = ["model of", "labels", "test images", "ECE (%)", "with a temperature (%)"]
    return Table(f"Calibration error: {arm.label}", [*header, "temperature"], rows, ECE)
