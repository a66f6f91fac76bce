"""Jobs on a Ray cluster: what they are doing, what they have printed, how to stop them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayal.api.frame import frame
from rayal.engine import jobs as servers
from rayal.engine import submit as submitted
from rayal.report.shown import as_html, text
from rayal.storage.folder import Json

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ["job", "state", "since", "folder", "message"]


class Job:
    """A job of a cluster.

    >>> job = rayal.Job("rayal-digits-cod-1a2b3c4d", "http://head:8265")  # doctest: +SKIP
    >>> print(job.logs())                                                 # doctest: +SKIP
    """

    def __init__(
        self,
        id: str,
        address: str | None = None,
        *,
        insecure: bool = False,
        client: "servers.Client | None" = None,
    ) -> None:
        """`address` is that of the cluster's job server, `http://HEAD:8265`; else
        $RAY_API_SERVER_ADDRESS, else this machine's. `insecure` speaks to another machine without a
        token. A `client` that is connected already takes the place of both.

        Raises ClusterError within seconds where no job server answers.
        """
        self.id = id
        self._client = client or servers.connect(servers.server(address), insecure=insecure)

    @property
    def address(self) -> str:
        """The URL of the job server."""
        return str(self._client.get_address())

    def status(self) -> Json:
        """A mapping with job (its id), state (PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED), since
        (UTC), folder (of its results) and message. Raises UsageError where there is no such job."""
        (row,) = submitted.listed(self._client, [self.id])
        return row

    def logs(self) -> str:
        """What it has printed so far."""
        with servers.answering(self._client):
            return self._client.get_job_logs(self.id)

    def follow(self, write: Callable[[str], object] | None = None) -> None:
        """Hands what it prints to `write` (piece by piece, not line by line; printed by default),
        all of it and once, until it has ended.

        Raises JobEnded, a ClusterError with the job's exit code, unless it has succeeded.
        """

        def printed(piece: str) -> None:
            print(piece, end="", flush=True)

        submitted.follow(self._client, self.id, write or printed)

    def stop(self) -> Json:
        """Stops it and waits until it has ended; submitted again, it goes on where it was. The
        `status` then: PENDING where it has not begun, which Ray ends as it begins."""
        return submitted.row(submitted.stop(self._client, self.id))

    def __repr__(self) -> str:
        return f"<Job {self.id} at {self.address}>"


@dataclass(frozen=True)
class Jobs:
    """Jobs of a cluster at the moment of asking, in order of their start."""

    rows: tuple[Json, ...]
    """A mapping per job, as of `Job.status`."""

    def table(self) -> "DataFrame":
        """A row per job: job, state, since, folder, message."""
        return frame(self.rows, COLUMNS)

    def to_rich(self) -> Any:
        """As a table for a terminal."""
        from rich.table import Table

        table = Table(*COLUMNS, box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(*(str(row[column]) for column in COLUMNS))
        return table

    def __repr__(self) -> str:
        counts = Counter(row["state"] for row in self.rows)
        states = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return f"<Jobs: {states or 'none'}>"

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))


def jobs(address: str | None = None, ids: Iterable[str] = (), *, insecure: bool = False) -> Jobs:
    """The jobs that rayal has submitted to a cluster, or those with these ids.

    `address` and `insecure` are as of `rayal.Job`.

    >>> rayal.jobs("http://head:8265").table()  # doctest: +SKIP

    Raises UsageError for an id that is not there, ClusterError where no job server answers.
    """
    client = servers.connect(servers.server(address), insecure=insecure)
    return Jobs(tuple(submitted.listed(client, list(ids))))
