"""What a page is written from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rayal.report.arms import Arm
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Part
from rayal.report.page.command import command
from rayal.report.page.projections import By
from rayal.report.runs import Run
from rayal.report.tables import Summary
from rayal.runs.record import Record


@dataclass(frozen=True)
class Seen:
    """Runs, what they say together, and how much may be done to tell more."""

    summary: Summary
    records: Sequence[Record]
    map_by: By = "pca"
    """What puts the map of the pool into two dimensions."""
    asks_models: bool = True
    """Whether models are loaded and asked what they say; a run that ends does not wait for it."""

    @property
    def groups(self) -> Sequence[Group]:
        """Those of which something was measured."""
        return [group for group in self.summary.groups if group.arms]

    @property
    def command(self) -> str:
        """What writes the page again, as a shell takes it."""
        return command(self.records) + ("" if self.map_by == "pca" else f" --map-by {self.map_by}")

    def record(self, run: Run) -> Record:
        """The folder of a run."""
        return self._by_url[run.url]

    def one_of(self, arm: Arm) -> Record:
        """The run that stands for its arm where one must: the first complete one, or the first."""
        return self.record((arm.complete or arm.runs)[0])

    def seed_of(self, arm: Arm) -> int:
        """Of `one_of`."""
        return (arm.complete or arm.runs)[0].seed

    def parts(self, of: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """The blocks of each group, below its question where there are several."""
        there = {title: blocks for title, blocks in of.items() if blocks}
        for title, blocks in there.items():
            if len(self.groups) > 1:
                yield Part(title, blocks)
            else:
                yield from blocks

    @cached_property
    def _by_url(self) -> dict[str, Record]:
        return {record.folder.url: record for record in self.records}
