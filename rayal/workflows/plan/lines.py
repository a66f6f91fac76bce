"""Lines below the table of a plan, which several kinds of plans have."""

from collections.abc import Iterator, Mapping

from rayal.experiment.keep import Keep
from rayal.labeling.budget import CostUnit
from rayal.report.amounts import duration, size


def size_lines(disk: Mapping[str, int], memory: Mapping[str, int]) -> Iterator[str]:
    """`disk    9 MB: weights 3 MB, scores 6 MB`, and memory; parts of nothing are left out."""
    for title, sizes in (("disk", disk), ("memory", memory)):
        parts = ", ".join(f"{what} {size(count)}" for what, count in sizes.items() if count)
        yield f"{title:7} {size(sum(sizes.values()))}: {parts}"


def time_line(seconds: float, device: str) -> str:
    """`time    3 min on this machine (cpu)`"""
    return f"time    {duration(seconds)} on this machine ({device})"


def spent(budget: float, unit: CostUnit) -> str:
    """`300 labels`, `500 clicks`, `3 h of annotation`"""
    if unit == "seconds":
        return f"{duration(budget)} of annotation"
    return f"{budget:,.10g} {'labels' if unit == 'samples' else unit}"


def kept_lines(keep: Keep) -> Iterator[str]:
    """`keep    weights last, shards last`, unless all files stay."""
    if {*dict(keep).values()} != {"all"}:
        yield "keep    " + ", ".join(f"{kind} {choice}" for kind, choice in keep)


def ends_lines(ends: tuple[str, ...]) -> Iterator[str]:
    """`ends    maybe earlier, by target: accuracy 0.95`"""
    if ends:
        yield f"ends    maybe earlier, by {'; by '.join(ends)}"
