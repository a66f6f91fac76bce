"""What annotators of runs agree on, cycle by cycle, for runs that people labeled."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rayal.labeling.reliability import alpha
from rayal.runs.record import Record


class Agreed(NamedTuple):
    """Of the votes for one request."""

    run: str
    cycle: int
    """-1 before the first training."""
    votes: int
    annotators: int
    seconds: float | None
    """Of all votes; None where one has no time."""
    alpha: float | None
    """Krippendorff's, see `rayal.labeling.reliability`; None where no unit has two votes."""


def agreed(records: Iterable[Record]) -> list[Agreed]:
    """A row for each request of people; none of runs that asked nobody."""
    rows = []
    for record in records:
        if not record.experiment().get("oracle", {}).get("name") == "people":
            continue
        for cycle, request in record.requests():
            votes = [vote for votes in request.votes.values() for vote in votes]
            times = [vote.seconds for vote in votes]
            rows.append(
                Agreed(
                    run=record.folder.url,
                    cycle=cycle,
                    votes=len(votes),
                    annotators=len({vote.annotator for vote in votes}),
                    seconds=None if None in times else sum(time or 0.0 for time in times),
                    alpha=alpha(request.votes),
                )
            )
    return rows


HEADER = ["run", "cycle", "votes", "annotators", "seconds", "alpha"]
NOTE = "alpha: Krippendorff's, 1 where all annotators agree, 0 where they do as by chance"


def cells(rows: Sequence[Agreed]) -> list[list[str]]:
    """The rows as text, under `HEADER`."""
    return [
        [
            row.run.rpartition("/")[2],
            "first" if row.cycle < 0 else str(row.cycle),
            f"{row.votes:,}",
            str(row.annotators),
            "" if row.seconds is None else f"{row.seconds:,.0f}",
            "" if row.alpha is None else f"{row.alpha:.3f}",
        ]
        for row in rows
    ]
