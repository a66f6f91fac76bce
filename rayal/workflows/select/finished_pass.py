"""A scoring pass that is done, as `rayal score` or a run left it."""

import json
from collections.abc import Iterator

from rayal.cycle import shard_file
from rayal.errors import OUT, DataError, UsageError
from rayal.runs.passes import Pass
from rayal.runs.result_files import checked_result
from rayal.storage.folder import Folder, Json
from rayal.storage.ids import Ids
from rayal.storage.journal import read_done
from rayal.strategies.base import Strategy


def score_again(strategy: Strategy) -> str:
    """The way out where a pass has not asked this strategy, with these options."""
    given = strategy.model_dump(mode="json", exclude_unset=True)
    name = strategy.part_name() if given.keys() == {"name"} else f"'{json.dumps([given])}'"
    return f"score again with --strategies {name} (in Python: strategies=) and another {OUT}"


class FinishedPass:
    """Where its shards are, and what the stage says of them."""

    def __init__(self, url: str) -> None:
        """Raises UsageError where there is none, or it is not finished."""
        folder = Folder(url)
        inner = folder / "scores"
        self.folder = inner if inner.exists("done.json") else folder
        if not self.folder.exists("done.json"):
            raise UsageError(
                f"{folder.url} holds no finished scores; give the {OUT} of `rayal score`, or"
                " cycle-000/score of a run"
            )
        written = read_done(self.folder)["result"] or {}
        if not {"columns", "shards"} <= written.keys():
            raise UsageError(f"{self.folder.url} is not a scoring pass; give the folder of one")
        self.result = checked_result(Pass, written, self.folder)
        self.classes: tuple[str, ...] = tuple(written.get("classes", ()))
        """Names of the classes; none where the pass does not say."""

    def columns(self) -> list[str]:
        """Those of the shards. Raises DataError where no unit could be decoded."""
        for record in self.result.shards:
            table = shard_file.read_shard(self.folder, record.name, None, record)
            if shard_file.OK in table["status"].unique().to_pylist():
                return list(table.schema.names)
        raise DataError(f"{self.folder.url} has no unit that could be decoded")

    def column(self, strategy: Strategy) -> str:
        """The name of its scores. Raises UsageError where the pass has none of such options; a
        strategy without any stands for the only one of its name."""
        asked = strategy.model_dump(mode="json")
        bare = {column: {"name": column} for column in self.result.columns}
        there: Json = self.result.options or bare
        same = [column for column, options in there.items() if options == asked]
        if not strategy.model_fields_set:
            named = [c for c, options in there.items() if options["name"] == asked["name"]]
            same = same or named * (len(named) == 1)
        if same:
            return same[0]
        listed = ", ".join(f"{column} {json.dumps(there[column])}" for column in there)
        raise UsageError(
            f"{self.folder.url} has no scores of {json.dumps(asked)}, its strategies are {listed};"
            f" select by one of these, or {score_again(strategy)}"
        )

    def ids(self) -> Iterator[tuple[Ids, Ids]]:
        """Of each shard all ids, and those of its good units."""
        for record in self.result.shards:
            table = shard_file.read_shard(self.folder, record.name, ["id", "status"], record)
            ids = Ids(table["id"])
            yield ids, ids[table["status"].to_numpy() == shard_file.OK]
