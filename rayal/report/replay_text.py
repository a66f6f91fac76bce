"""What other strategies would have bought, as tables of text and in a sentence."""

from collections.abc import Iterator

from rayal.errors import counted
from rayal.report.replays import Beside, Bought, SideBySide
from rayal.report.table import Table

NOTHING = "–"


def headline(shown: SideBySide) -> str:
    """`cycle 1 of digits: margin bought 50 samples after 100 labels, of 1,337 candidates`"""
    x, pool = shown.state.x, shown.state.pool
    return (
        f"cycle {pool.cycle} of {x.name}: {shown.own.name} bought {_amount(shown, shown.own)} after"
        f" {counted(len(pool.labels), 'label')}, of {counted(shown.candidates, 'candidate')}"
    )


def sentence(shown: SideBySide, other: Beside) -> str:
    """What one would have bought, in words."""
    same = len(other.both)
    told = f"{other.name} would have bought {_amount(shown, other.bought)}"
    return f"{told}: {same:,} the same, {len(other.only_it):,} others"


def tables(shown: SideBySide) -> list[Table]:
    """Overlap, classes where there are some, scores where there are some."""
    found = [overlap(shown), classes(shown), scores(shown)]
    return [table for table in found if table is not None]


def overlap(shown: SideBySide) -> Table:
    """What is bought by both and by one alone."""
    own, priced = shown.own, shown.state.x.budget.unit != "samples"
    header = ["strategy", "bought", *([shown.state.x.budget.unit] if priced else [])]
    header += ["both", f"only {own.name}", "only it", "the same", "asked the model"]
    rows = [_row(own, priced) + [NOTHING] * 5]
    for other in shown.others:
        parts = (other.both, other.only_own, other.only_it)
        counts = [f"{len(units):,}" for units in parts]
        asked = "again" if other.asked else "no"
        rows.append([*_row(other.bought, priced), *counts, f"{100 * other.share:.0f} %", asked])
    note = "the same: units that both buy, of those of the smaller purchase"
    return Table("What would have been bought", header, rows, note)


def classes(shown: SideBySide) -> Table | None:
    """How many classes each would have bought, and how far they are from those of the pool."""
    told = _of_classes(shown)
    if not told:
        return None
    rows = [[each.name, *_classes(shown, each)] for each in told]
    header = ["strategy", "classes", "most of", "share", "divergence (bits)", "p"]
    if any(each.unknown for each in told):
        header.append("unknown")
        rows = [[*row, f"{each.unknown:,}"] for row, each in zip(rows, told, strict=True)]
    note = (
        "divergence: Kullback and Leibler's, of the shares bought from those of all candidates; p:"
        " Pearson's chi-square test that they were drawn at random"
    )
    return Table("Classes", header, rows, note)


def scores(shown: SideBySide) -> Table | None:
    """Where the purchases stand among the scores of each strategy."""
    rows = []
    for other in shown.others:
        if (s := other.standing) is not None:
            own = NOTHING if s.own is None else f"{s.own.median:.4g}"
            its = ["", "", ""] if s.its is None else [f"{each:.4g}" for each in s.its]
            lower = NOTHING if s.lower is None else f"{100 * s.lower:.1f} %"
            rows.append([other.name, *its, f"{s.candidates.median:.4g}", own, lower])
    if not rows:
        return None
    own_name = shown.own.name
    header = ["by the score of", "its lowest", "median", "highest", "candidates", own_name, "above"]
    note = (
        f"higher: label sooner; candidates and {own_name}: medians; above: share of the candidates"
        f" that score lower than the median of what {own_name} bought"
    )
    return Table("Scores", header, rows, note)


def per_class(shown: SideBySide) -> Table | None:
    """Of each class how many each would have bought."""
    told = _of_classes(shown)
    if not told:
        return None
    rows = [
        [name, *(f"{(each.classes or ())[number]:,}" for each in told)]
        for number, name in enumerate(shown.names)
    ]
    return Table("Units of each class", ["class", *(each.name for each in told)], rows, "")


def _of_classes(shown: SideBySide) -> list[Bought]:
    """Those of which some classes are known, the run's own first."""
    all_ = [shown.own, *(other.bought for other in shown.others)]
    return [each for each in all_ if any(each.classes or ())]


def _row(bought: Bought, priced: bool) -> list[str]:
    return [bought.name, f"{len(bought.ids):,}", *([f"{bought.cost:.10g}"] if priced else [])]


def _classes(shown: SideBySide, bought: Bought) -> Iterator[str]:
    counts = bought.classes or ()
    most = max(range(len(counts)), key=counts.__getitem__)
    there, found = sum(count > 0 for count in counts), bought.balance
    yield f"{there} of {len(counts)}"
    yield shown.names[most]
    yield f"{100 * counts[most] / sum(counts):.0f} %"
    yield NOTHING if found is None else f"{found.divergence:.3f}"
    yield NOTHING if found is None or found.p is None else _probability(found.p)


def _probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _amount(shown: SideBySide, bought: Bought) -> str:
    number = counted(len(bought.ids), "unit")
    unit = shown.state.x.budget.unit
    return number if unit == "samples" else f"{number} for {bought.cost:.10g} {unit}"
