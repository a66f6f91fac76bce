"""What labels that are not bought yet will bring, as far as anything can be said."""

from collections.abc import Mapping, Sequence

import numpy as np

from rayal.errors import RayalError
from rayal.forecasting.learning_curve import COVERAGE, FARTHEST
from rayal.report import metric
from rayal.report.drawing import style
from rayal.report.forecasts import Asked, Outlook, outlooks
from rayal.report.page.blocks import (
    NOTHING,
    Block,
    Cell,
    Figure,
    Fold,
    Section,
    Table,
    Text,
    number,
)
from rayal.report.page.seen import Seen
from rayal.storage.folder import Json

TITLE = "What more labels would bring"
Styles = Mapping[tuple[str, str], tuple[str, str, int]]
"""Experiment and arm -> colour, line and layer."""
STEPS = 24
"""Label counts of a curve."""


def section(seen: Seen) -> Section | None:
    """For each experiment its arms: expected curves and intervals, or why there are none."""
    try:
        found = outlooks(seen.records, Asked())
    except RayalError as error:  # a strategy of a package that is not here, say
        return Section(TITLE, [Text(str(error), "note")])
    by_name: dict[str, list[Outlook]] = {}
    for each in found:
        if each.basis.points or each.curve is not None:
            by_name.setdefault(each.name, []).append(each)
    styles = {
        (group.question, arm.label): style(group, arm)
        for group in seen.groups
        for arm in group.arms
    }
    blocks = [*seen.parts({name: _blocks(each, styles) for name, each in by_name.items()})]
    return Section(TITLE, blocks) if blocks else None


def _blocks(found: Sequence[Outlook], styles: Styles) -> Sequence[Block]:
    known = [each for each in found if each.curve is not None]
    why = [Text(f"{each.arm}: {each.why}", "note") for each in found if each.curve is None]
    if not known:
        return why[:1]
    first = known[0]
    what = f"{first.metric}{metric.unit(first.metric)}"
    title = f"Expected {what} by {first.counted}"
    figure = Figure(
        title=title,
        draws="lines",
        says=f"Line chart of the {what} that is expected, a line for each arm, with its interval;"
        " rings were measured; what is expected is in the table below",
        data={
            "x": first.counted.capitalize(),
            "y": what,
            "bands": True,
            "band": f"{100 * COVERAGE:.0f} % intervals",
            "heights": [],
            "series": [_series(each, *styles[each.name, each.arm]) for each in known],
        },
        table=_table(known, what, title),
    )
    return [figure, *([Fold("Of others nothing is said", why)] if why else [])]


def _series(each: Outlook, colour: str, line: str, _: int) -> Json:
    curve, scale = each.curve, metric.scale(each.metric)
    assert curve is not None
    counts = np.geomspace(curve.first, curve.farthest, STEPS)
    value, low, high = (scale * np.array([curve.measured(count) for count in counts]).T).tolist()
    return {
        "name": each.arm,
        "size": f"n = {len(each.basis.seeds)}",
        "colour": colour,
        "line": line,
        "smooth": True,
        "x": [round(count, 1) for count in counts.tolist()],
        "y": value,
        "low": low,
        "high": high,
        "rings": [(point.at, scale * point.value) for point in each.basis.points],
    }


def _table(known: Sequence[Outlook], what: str, title: str) -> Table:
    rows: list[Sequence[Cell]] = []
    for each in known:
        scale = metric.scale(each.metric)
        for labels, estimate in each.expected.items():
            values = (
                [NOTHING] * 3
                if estimate is None
                else [
                    number(value, ".2f", scale)
                    for value in (estimate.value, estimate.low, estimate.high)
                ]
            )
            rows.append([each.arm, number(labels, ",.10g"), *values])
    note = (
        f"{100 * COVERAGE:.0f} % intervals; the next purchase, the whole budget and twice what was"
        f" measured; nothing is said beyond {FARTHEST:g} times that"
    )
    return Table(title, ["arm", known[0].counted, what, "from", "to"], rows, note)
