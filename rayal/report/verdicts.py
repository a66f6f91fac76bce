"""What the runs say of each arm against its baseline, in plain sentences.

A sentence is text without markup, for a terminal, a table or a page that escapes it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from rayal.errors import counted
from rayal.report import metric
from rayal.report.arms import Arm
from rayal.report.groups import BASELINE, Group, Pair
from rayal.report.power import LEVEL, smallest_difference
from rayal.report.reach import Reach, saved
from rayal.report.statistics import Interval

Kind = Literal["better", "worse", "not separated", "tie", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """One arm against its baseline."""

    arm: str
    baseline: str | None
    """Its name; None where there is none, or several among which nothing decides."""
    kind: Kind
    sentence: str
    seeds: int = 0
    """Pairs that were compared."""
    difference: Interval | None = None
    """In area, the arm's less the baseline's, in the metric's own unit."""
    p: float | None = None
    holm: float | None = None
    """p, corrected for all tests of the group."""
    smallest: float | None = None
    """The smallest difference in area that these seeds could have shown, see `power.py`."""
    reach: Reach | None = None
    """Of the arm."""
    saved: float | None = None
    """Share of the labels that it needs less than its baseline to be at that height."""


def verdicts(g: Group) -> list[Verdict]:
    """Of every arm but baselines, in their order."""
    return [verdict(g, arm) for arm in g.arms if arm.strategy != BASELINE]


def verdict(g: Group, arm: Arm) -> Verdict:
    """Of one arm."""
    baseline = g.baseline(arm)
    if (reason := _unknown(g, arm, baseline)) is not None:
        against = None if baseline is None else baseline.label
        return Verdict(arm.label, against, "unknown", f"{arm.label}: {reason}")
    assert baseline is not None, "else the reason is that there is none"
    pair = g.pair(arm, baseline)
    assert pair is not None and pair.holm is not None, "else there are no two seeds"
    difference = pair.test.difference
    if pair.first != arm.label:
        difference = difference._replace(mean=-difference.mean)
    height = g.height(arm)
    there = here = None
    if height is not None:
        here, there = g.reach(arm, height), g.reach(baseline, height)
    found = Verdict(
        arm.label,
        baseline.label,
        _kind(pair, difference),
        "",
        difference.n,
        difference,
        pair.test.p,
        pair.holm,
        _smallest(g, arm, baseline),
        here,
        saved(here, there) if here and there else None,
    )
    return _with_sentence(found, g)


def _unknown(g: Group, arm: Arm, baseline: Arm | None) -> str | None:
    """Why nothing can be said of an arm."""
    if not g.tested:
        return "no test images, so nothing measures strategies"
    if baseline is None:
        if several := g.baselines(arm):
            return f"which of {len(several)} {BASELINE} baselines it belongs to cannot be told"
        return f"no {BASELINE} baseline with scheme {arm.scheme}: nobody can tell whether it helps"
    for each in (arm, baseline):
        if not each.complete:
            return f"no run of {each.label} is complete yet"
    if len(g.shared) < 2:
        return "a single number of labels has no area; more cycles would"
    common = {run.seed for run in arm.complete} & {run.seed for run in baseline.complete}
    seeds = arm.paired(baseline)
    if not seeds:
        why = "began with other units" if common else "has other seeds"
        return f"its {BASELINE} baseline {why}, so there is nothing to pair"
    if len(seeds) == 1:
        return "one seed: nothing can be said against chance"
    return None


def _kind(pair: Pair, difference: Interval) -> Kind:
    if difference.mean == difference.half == 0:
        return "tie"
    if not pair.separated:
        return "not separated"
    return "better" if difference.mean > 0 else "worse"


def _smallest(g: Group, arm: Arm, baseline: Arm) -> float | None:
    """With the strictest of Holm's levels, for as many tests as the group has."""
    ours, theirs = g.areas(arm), g.areas(baseline)
    tests = sum(pair.holm is not None for pair in g.pairs)
    return smallest_difference([ours[s] - theirs[s] for s in arm.paired(baseline)], tests)


def _with_sentence(v: Verdict, g: Group) -> Verdict:
    assert v.difference is not None
    seeds = counted(v.seeds, "seed")
    if v.kind == "tie":
        told = [f"{v.arm} and {v.baseline} are equal in every seed", seeds]
    else:
        tests = sum(pair.holm is not None for pair in g.pairs)
        told = [_lead(v, g), seeds, _area(v.difference, g.metric)]
        if v.kind == "not separated":
            told += [_corrected(v, tests), _unseen(v, g.metric)]
        elif tests > 1:
            told += [f"holds after Holm's correction for {tests} tests"]
        else:
            told += [f"p {metric.p_value(v.holm)}"]
    return replace(v, sentence="; ".join(each for each in told if each))


def _lead(v: Verdict, g: Group) -> str:
    """What it comes to, in labels where that can be said."""
    if v.kind == "not separated":
        return f"{v.arm} is not separated from {v.baseline}"
    needs, better = _needs(v, g), v.kind == "better"
    if better and v.saved is not None and v.saved > 0 and needs:
        return f"{v.arm} {needs}"
    said = f"{v.arm} is {'better' if better else 'worse'} than {v.baseline}"
    if not needs:
        return said
    sooner = v.saved is not None and v.saved > 0
    against = sooner != better  # areas and this height disagree
    return f"{said} in area, but {needs}" if against else f"{said}, and {needs}"


def _needs(v: Verdict, g: Group) -> str:
    """`needs 38 % fewer labels than random to reach 95 % accuracy`; "" where it cannot be said."""
    if v.reach is None:
        return ""
    height = metric.height(v.reach.height, g.metric)
    if v.reach.mean_curve is None:
        return f"does not reach {height}"
    if v.saved is None:
        return ""
    share = f"{abs(v.saved):.0%}".replace("%", " %")
    if share == "0 %":
        return f"needs as many {g.counted} as {v.baseline} to reach {height}"
    less = "fewer" if v.saved > 0 else "more"
    return f"needs {share} {less} {g.counted} than {v.baseline} to reach {height}"


def _area(difference: Interval, of: str) -> str:
    which = "higher" if difference.mean >= 0 else "lower"
    positive = difference._replace(mean=abs(difference.mean))
    return f"area {metric.points(positive, of)} {which}"


def _corrected(v: Verdict, tests: int) -> str:
    """Why an interval without zero is none to rely on."""
    if v.p is None or v.p >= LEVEL:
        return ""
    told = f"p {metric.p_value(v.p)}, but {metric.p_value(v.holm)} after Holm's correction"
    return f"{told} for {tests} tests"


def _unseen(v: Verdict, of: str) -> str:
    if not v.smallest:
        return ""
    if metric.scale(of) * v.smallest >= metric.limits(of).high:
        return "with these seeds no difference can be seen"
    least = metric.points(Interval(v.smallest, None, v.seeds), of)
    return f"with these seeds a difference below {least} cannot be seen"
