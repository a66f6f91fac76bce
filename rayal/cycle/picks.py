"""What strategies chose, each best first, and how far any two of them agree."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from rayal.storage import csv_file
from rayal.storage.folder import FileRecord, Folder


class Picks(NamedTuple):
    """What one strategy chose, best first."""

    ids: list[str]
    scores: list[float] | None
    cost: float

    def write(self, out: Folder, **beside: Sequence[object]) -> FileRecord:
        """`chosen.csv` (rank, id, score), for people; `beside` are further columns."""
        scores = [None] * len(self.ids) if self.scores is None else self.scores
        columns = {"rank": range(1, len(self.ids) + 1), "id": self.ids, "score": scores, **beside}
        rows = zip(*columns.values(), strict=True)
        return out.write("chosen.csv", csv_file.dump([*columns], rows).encode())


def agreement(
    picks: Mapping[str, set[str]], by_region: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """For every two strategies the units that both chose, over those of the smaller choice: 0 to 1.

    Under the name that comes first in `picks`; strategies that chose regions, `by_region`, are not
    compared with those that chose images.
    """
    names = list(picks)
    return {
        name: {
            other: len(picks[name] & picks[other])
            / max(1, min(len(picks[name]), len(picks[other])))
            for other in names[place + 1 :]
            if (name in by_region) == (other in by_region)
        }
        for place, name in enumerate(names[:-1])
    }
