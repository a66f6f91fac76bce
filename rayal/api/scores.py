"""The scores of a pool: a finished pass, wherever it lies."""

import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rayal.cycle import shard_file
from rayal.errors import UsageError, counted
from rayal.report.shown import as_html
from rayal.storage.folder import Folder
from rayal.storage.journal import DONE
from rayal.strategies.base import Strategy
from rayal.workflows.select.finished_pass import FinishedPass

if TYPE_CHECKING:  # takes long to import
    import pandas as pd

SHOWN = 5
"""Units of which a notebook shows the scores."""
OF_IMAGES = ("id", "status", "predicted")
"""Columns beside the scores."""


class Scores:
    """What strategies say of every unit of a pool; higher = label sooner.

    It stands for the folder of the pass, which `rayal.select` and `rayal select` read. What was
    scored without `out` is gone with this object; `write` keeps it.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(net[1].weight)
    >>> scores = rayal.score(net, torch.tensor([[9.0, 0], [1, 2]]), "margin", ids=["a", "b"])
    >>> len(scores), scores.ids, scores.strategies
    (2, ['a', 'b'], ['margin'])
    >>> scores.table().round(2)
      id status  predicted  score.margin
    0  a     ok          0         -1.00
    1  b     ok          1         -0.46
    """

    def __init__(
        self,
        url: str,
        parts: Mapping[str, Strategy] | None = None,
        lines: tuple[str, ...] = (),
        temporary: Folder | None = None,
    ) -> None:
        """The finished pass at a path or URL. `parts` are its strategies by column, where they are
        known better than by their names; `temporary` is a folder that goes with this object."""
        self._pass = FinishedPass(url)
        self.parts = dict(parts or {})
        """The strategies by their names, as they were given; of a pass from files, none."""
        self.lines = lines
        """What `rayal score` says at the end."""
        self._temporary = temporary is not None
        if temporary is not None:
            self._gone = weakref.finalize(self, temporary.delete)

    @property
    def url(self) -> str:
        """The folder of its files."""
        return self._pass.folder.url

    @property
    def strategies(self) -> list[str]:
        """The names of its columns: a second strategy of the same name is `cod#2`."""
        return list(self._pass.result.columns)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none where nobody has given any."""
        return self._pass.classes

    @property
    def ids(self) -> list[str]:
        """Of all units, in the order of the pool; of a pass over files the units that could not be
        decoded come last in their shard."""
        return [unit for every, _ in self._pass.ids() for unit in every]

    def table(self) -> "pd.DataFrame":
        """A row per unit: id, status (`ok`, or why the image could not be decoded), predicted (the
        most probable class, by its name or, where classes have none, its number) and
        `score.<strategy>`, float64. Strategies that only select, such as core_set, have no column.
        """
        import pandas as pd

        return self._named(pd.concat(self._tables(), ignore_index=True))

    def write(self, out: str | os.PathLike[str]) -> None:
        """Copies the pass into a folder, new or empty, for later and for `rayal select`.

        Raises UsageError for a folder that holds anything.
        """
        place = new_folder(out) / "scores"
        names = [record.name for record in self._pass.result.shards]
        for name in [*names, DONE]:  # the last says that all is there
            place.write(name, self._pass.folder.read(name))

    def __len__(self) -> int:
        return self._pass.result.units

    def __repr__(self) -> str:
        place = "temporary" if self._temporary else self.url
        return f"<Scores of {counted(len(self), 'unit')} by {', '.join(self.strategies)}: {place}>"

    def _repr_html_(self) -> str:
        first = self._named(next(self._tables()).head(SHOWN))
        more = "..." if len(self) > len(first) else ""
        return as_html(f"{self!r}\n\n{first.to_string(index=False)}\n{more}".rstrip())

    def _tables(self) -> Iterator["pd.DataFrame"]:
        result = self._pass.result
        columns = [*OF_IMAGES, *(f"score.{name}" for name in result.columns)]
        for record in result.shards:
            yield shard_file.read_shard(self._pass.folder, record.name, columns, record).to_pandas()

    def _named(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """With the classes' names where they have some."""
        if "predicted" in table:
            numbers = table["predicted"].astype("Int32")
            table["predicted"] = numbers.map(self._name) if self.classes else numbers
        return table

    def _name(self, number: int) -> str:
        return self.classes[number]


def new_folder(out: str | os.PathLike[str]) -> Folder:
    """The folder at a path or URL. Raises UsageError where it holds anything."""
    folder = Folder(out)
    if found := [*folder.names(), *folder.folders()]:
        raise UsageError(f"{folder.url} holds {found[0]} and the like; give a new folder as out")
    return folder


@contextmanager
def gone_after_errors(folder: Folder | None) -> Iterator[None]:
    """A folder that nobody will be handed is deleted, after Ctrl-C too."""
    try:
        yield
    except BaseException:
        if folder is not None:
            folder.delete()
        raise
