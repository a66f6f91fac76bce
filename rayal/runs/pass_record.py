"""A folder of `rayal score` as others see it: read only, while it goes on and after it ended."""

from collections.abc import Iterator
from contextlib import suppress

from rayal.errors import DataError
from rayal.storage.folder import Folder
from rayal.storage.journal import is_done, read_done
from rayal.storage.lock import died, silence
from rayal.storage.parquet import open_parquet


class PassRecord:
    """What is known of a pass over a pool; every method may raise as reading its files does."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @classmethod
    def below(cls, folder: Folder) -> Iterator["PassRecord"]:
        """Those in this folder or in folders in it; none inside of runs."""
        if folder.exists("score.yaml"):
            yield cls(folder)
        elif not folder.exists("run.json"):
            for name in folder.folders():
                yield from cls.below(folder / name)

    @property
    def complete(self) -> bool:
        """Whether every image is scored."""
        return is_done(self.folder / "scores")

    def heartbeat_age(self) -> float | None:
        """As of a `Record`."""
        return silence(self.folder)

    def has_died(self) -> bool:
        """Whether its driver surely was killed: it ran on this machine, and is gone."""
        return died(self.folder)

    def images(self) -> tuple[int, int]:
        """How many are scored, and of how many; 0 and 0 while the pool is still looked at.

        Shards count that another device wrote, and that will be scored anew.
        """
        if not is_done(self.folder / "pool"):
            return 0, 0
        total: int = read_done(self.folder / "pool")["result"]["rows"]
        return (total if self.complete else min(total, sum(self._rows()))), total

    def _rows(self) -> Iterator[int]:
        """Of each shard that is there whole; a damaged one will be scored again."""
        scores = self.folder / "scores"
        for name in scores.names():
            if name.startswith("shard-") and name.endswith(".parquet"):
                with suppress(DataError), open_parquet(f"{scores.url}/{name}") as file:
                    yield file.metadata.num_rows
