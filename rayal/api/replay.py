"""What other strategies would have bought in a cycle of a run."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from rayal.api.frame import frame
from rayal.api.places import Place, urls
from rayal.errors import OUT, Apart, RayalError, UsageError, quoted
from rayal.experiment import config
from rayal.parts import Part
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import replay_text
from rayal.report.replays import Beside, SideBySide
from rayal.report.shown import as_html, text
from rayal.report.table import grid
from rayal.runs.events import Listener, observer
from rayal.runs.record import Record
from rayal.settings import Settings
from rayal.storage import csv_file
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder, Json
from rayal.strategies.base import Strategy
from rayal.workflows.replay import replay as let_choose

if TYPE_CHECKING:
    from pandas import DataFrame

PASSES = "passes"
"""In the folder of a replay: what its passes made."""
COLUMNS = ["strategy", "bought", "cost", "both", "only_own", "only_it", "share", "asked"]

Named = Strategy | str | Mapping[str, Any]
"""A strategy, its name, or a mapping of its name and fields."""


class Asked(Settings):
    """What is to be replayed."""

    strategy: Annotated[Strategy, Part("strategies")]
    """Another strategy than the run's."""


@dataclass(frozen=True)
class Replay:
    """What a cycle of a run has bought, and what others would have from the same state.

    >>> found = rayal.replay("runs/mine", cycle=0, strategy=["random"], forward=True)
    >>> found.table()[["strategy", "bought", "asked"]]
      strategy  bought  asked
    0   random      50  False
    """

    shown: SideBySide
    errors: tuple[RayalError, ...] = ()
    """Why strategies are left out, where some could not be replayed."""

    @property
    def cycle(self) -> int:
        """Which one chose."""
        return self.shown.state.pool.cycle

    @property
    def others(self) -> tuple[Beside, ...]:
        """One for each other strategy, in the order in which they were asked for."""
        return self.shown.others

    def table(self) -> "DataFrame":
        """A row for each other strategy: how many units it would have bought, their cost, how many
        of them `both` buy, how many only the run's own and how many only it, the share of the
        smaller purchase that both buy, and whether models were `asked` again."""
        rows = [
            {
                "strategy": each.name,
                "bought": len(each.bought.ids),
                "cost": each.bought.cost,
                "both": len(each.both),
                "only_own": len(each.only_own),
                "only_it": len(each.only_it),
                "share": each.share,
                "asked": each.asked,
            }
            for each in self.others
        ]
        return frame(rows, COLUMNS)

    def chosen(self, strategy: str | None = None) -> list[str]:
        """The units that this strategy would have bought, the best first, by its name in `table`;
        of the only other one by default. Raises UsageError for one that is not there."""
        names = [each.name for each in self.others]
        if strategy is None and len(names) == 1:
            strategy = names[0]
        if strategy not in names:
            raise UsageError(
                f"strategy: {quoted(strategy)} is none of {', '.join(names)}; give one"
            )
        return [*self.others[names.index(strategy)].bought.ids]

    def to_dict(self) -> Json:
        """All numbers and units; the errors in words."""
        return {**self.shown.to_dict(), "errors": [str(error) for error in self.errors]}

    def to_rich(self) -> Any:
        """As tables for a terminal."""
        from rich.console import Group
        from rich.text import Text

        grids = [grid(table) for table in replay_text.tables(self.shown)]
        return Group(Text(replay_text.headline(self.shown)), *grids)

    def html(self) -> str:
        """One page, with galleries side by side."""
        from rayal.report.page.replay import html

        return html(self.shown, self.errors)

    def write_html(self, path: str | os.PathLike[str] = "replay.html") -> Path:
        """Writes the page into a file of this machine. Raises UsageError for one in the run folder,
        StorageError where it cannot be written."""
        _check_outside(self.shown.state.run, os.fspath(path), "html")
        file, page = Path(path), self.html()
        with storage_errors(str(file)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page, encoding="utf-8")
        return file

    def write(self, out: Folder) -> list[str]:
        """Writes `replay.json`, and for each other strategy the units in order of rank, into a
        folder; returns the names of the files."""
        names = ["replay.json"]
        out.write_json(names[0], self.to_dict())
        for each in self.others:
            own = {*each.both}
            rows = [(rank, unit, unit in own) for rank, unit in enumerate(each.bought.ids, start=1)]
            names.append(f"{each.name}.csv")
            table = csv_file.dump(["rank", "id", "bought"], rows)
            out.write(names[-1], table.encode())
        return names

    def check(self) -> None:
        """Raises why strategies are left out, if any are, as one error."""
        Apart(self.errors).end()

    def __repr__(self) -> str:
        names = ", ".join(each.name for each in self.others)
        return f"<Replay of cycle {self.cycle}: {self.shown.own.name} beside {names}>"

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))


def replay(
    run: Place,
    *,
    strategy: Named | Sequence[Named],
    cycle: int | None = None,
    forward: bool = False,
    out: str | os.PathLike[str] | None = None,
    address: str | None = None,
    on_event: Listener | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Replay:
    """What other strategies would have bought in a `cycle` of a run, the last one that chose by
    default: from the same labels, models, candidates, budget, guards and seeds, and so what a run
    of theirs would have bought that went on from there.

    The run folder is only read. What its pass has kept suffices for strategies that it scored, as
    the one that chose or as observers, for those that compare what is kept, such as core_set beside
    core_set's features, and for random. All else asks the models of that cycle again, with
    `forward`, if their weights are there; on the run's own engine, which may be a Ray cluster at an
    `address`. `out` is a folder for the result, and for what the passes made; without it nothing is
    left.

    >>> found = rayal.replay("runs/mine", strategy=["margin", "core_set"], forward=True)
    >>> len(found.chosen("margin")), found.cycle
    (50, 0)

    Raises UsageError where the cycle has chosen nothing, for a strategy that cannot be that of this
    run, and where models would have to be asked; PrunedError where what they would need was pruned;
    DataError where the dataset is not the run's. Where some strategies can be replayed, the
    reasons of the others are in `errors`.
    """
    given = [strategy] if isinstance(strategy, Strategy | str | Mapping) else [*strategy]
    if not given:
        raise UsageError("strategy: no strategy is given; name one or more")
    named = Plugins(plugins)
    apart, asked = Apart(), list[Strategy]()
    for each in given:
        with apart.kept():
            asked.append(config.from_keywords({"strategy": each}, [], Asked, named).strategy)
    apart.end()
    (url,) = urls([run])
    record = Record(Folder(url), named)
    where = None if out is None else os.fspath(out)
    if where is not None:
        _check_outside(record.folder, where, "out")
    if address is not None and where is None:
        raise UsageError(
            f"address: the machines of a cluster need a place that all of them reach; give an {OUT}"
        )
    with _work(where) as work:
        found = let_choose(
            record, cycle, asked, work, observer(on_event), forward=forward, address=address
        )
        shown = SideBySide.of(found.state, found.own, found.others)
    told = Replay(shown, tuple(found.errors))
    if where is not None:
        told.write(Folder(where))
    return told


@contextmanager
def _work(out: str | None) -> Iterator[Folder]:
    """Where the passes lie."""
    if out is not None:
        yield Folder(out) / PASSES
        return
    with TemporaryDirectory(prefix="rayal-replay-", ignore_cleanup_errors=True) as folder:
        yield Folder(folder)


def _check_outside(run: Folder, place: str, option: str) -> None:
    """Raises UsageError for a place in the run folder, in which a replay changes nothing."""
    url = Folder(place).url
    if f"{url}/".startswith(f"{run.url}/"):
        raise UsageError(
            f"{option}: {quoted(place)} is in the run folder, in which a replay changes nothing;"
            " give another place"
        )
