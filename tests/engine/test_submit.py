"""Jobs are submitted once, followed to their own end whatever the log does, stopped and listed."""

import re
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.job_submission import JobDetails, JobStatus, JobType

from rayal.engine import submit
from rayal.engine.submit import JobEnded, Work
from rayal.errors import ClusterError, UsageError

JOB = "rayal-x-1a2b3c4d"
ENDS = ("SUCCEEDED", "FAILED", "STOPPED")


def job(status: str, id: str = JOB, **fields: Any) -> JobDetails:
    """What a server says of a job."""
    return JobDetails(
        type=JobType.SUBMISSION,
        submission_id=id,
        status=JobStatus(status),
        entrypoint="",
        **fields,
    )


class Server:
    """A job server and its client in one, which does as it is told.

    Each question for the state takes the next of `states`, each connection to the log the next of
    `streams`; the last ones stay. An exception among them is raised.
    """

    def __init__(
        self,
        states: Sequence[JobDetails | Exception],
        streams: Sequence[Sequence[str | Exception]] = ((),),
        log: str = "",
    ) -> None:
        self.states, self.streams, self.log = list(states), list(streams), log
        self.stopped: list[str] = []

    def get_address(self) -> str:
        return "http://127.0.0.1:8265"

    def get_job_info(self, id: str) -> JobDetails:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return state

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        for chunk in self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def get_job_logs(self, id: str) -> str:
        return self.log

    def stop_job(self, id: str) -> bool:
        self.stopped.append(id)
        return True


class Board(Server):
    """A server that takes jobs; another user submits `first` at the last moment."""

    def __init__(self, *jobs: JobDetails, first: JobDetails | None = None) -> None:
        super().__init__([])
        self.jobs, self.first, self.taken = list(jobs), first, list[dict[str, Any]]()

    def list_jobs(self) -> list[JobDetails]:
        return self.jobs

    def submit_job(self, **request: Any) -> str:
        if self.first:
            self.jobs, self.first = [*self.jobs, self.first], None
        if any(each.submission_id == request["submission_id"] for each in self.jobs):
            raise RuntimeError("Request failed with status code 500: ... already exists.")
        with zipfile.ZipFile(request["runtime_env"]["working_dir"]) as archive:
            self.taken.append({**request, "names": set(archive.namelist())})
        return str(request["submission_id"])


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits."""
    for name in ("AGAIN_SECONDS", "STOP_SECONDS", "PENDING_SECONDS"):
        monkeypatch.setattr(submit, name, 0.0)
    yield


def followed(server: Server) -> tuple[str, JobEnded | None]:
    """What was shown of the log, and how the job ended."""
    shown: list[str] = []
    try:
        submit.follow(server, JOB, shown.append)
    except JobEnded as ended:
        return "".join(shown), ended
    return "".join(shown), None


# Names


def test_an_id_is_readable_and_belongs_to_one_run() -> None:
    """Two runs would share a job, or one run would have two jobs at a time (C06)."""
    first = submit.job_id(("digits", "cod", "supervised", "seed0"), [{"a": 1, "b": 2}, "/runs/x"])

    assert re.fullmatch(r"rayal-digits-cod-supervised-seed0-[0-9a-f]{8}", first)
    same = submit.job_id(("digits", "cod", "supervised", "seed0"), [{"b": 2, "a": 1}, "/runs/x"])
    assert first == same
    others = [[{"a": 1, "b": 3}, "/runs/x"], [{"a": 1, "b": 2}, "/runs/y"]]
    assert 3 == len({first, *(submit.job_id(("digits", "cod"), other) for other in others)})


@given(st.lists(st.text(), max_size=4))
def test_ids_are_safe_in_addresses_and_file_names(words: list[str]) -> None:
    """A plugin's or an experiment's name would lead to another address or file."""
    assert re.fullmatch(r"rayal-[A-Za-z0-9_-]{0,101}[0-9a-f]{8}", submit.job_id(words, None))


# Submitting


WORK = Work(JOB, "x", "/runs/x y", ["run", "x.yaml", "--out", "/runs/x y"], {"x.yaml": "name: x"})


def test_a_job_is_the_command_and_its_files(tmp_path: Path) -> None:
    """The cluster would run something else, or say more about it than it should (C08)."""
    (tmp_path / "mine.py").touch()
    board = Board()
    found = submit.submit(board, WORK, {"mine.py": tmp_path / "mine.py"}, {"A": "1"})
    (request,) = board.taken
    archive = request["runtime_env"].pop("working_dir")

    assert (JOB, True) == found
    assert "python -m rayal run x.yaml --out '/runs/x y'" == request["entrypoint"]
    assert {"env_vars": {"A": "1"}} == request["runtime_env"]
    assert {"name", "folder", "rayal"} == set(request["metadata"])
    assert {"x.yaml", "mine.py", "rayal/__main__.py", "rayal/report/status.py"} < request["names"]
    assert not Path(archive).exists()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], (JOB, True)),
        ([job("RUNNING")], (JOB, False)),
        ([job("PENDING")], (JOB, False)),
        ([job("FAILED")], (f"{JOB}-2", True)),
        ([job("STOPPED", f"{JOB}-2"), job("FAILED")], (f"{JOB}-3", True)),
        ([job("FAILED"), job("RUNNING", f"{JOB}-2")], (f"{JOB}-2", False)),
        ([job("SUCCEEDED", f"{JOB}-{n}") for n in (9, 10, 2)], (f"{JOB}-11", True)),
        ([job("RUNNING", f"{JOB}-x"), job("RUNNING", f"a{JOB}")], (JOB, True)),
    ],
)
def test_a_run_has_one_job_at_a_time(before: list[JobDetails], expected: tuple[str, bool]) -> None:
    """Two jobs would fight for one run folder, or a failed run could not go on (C06)."""
    board = Board(*before)

    assert expected == submit.submit(board, WORK, {}, {})
    assert len(board.taken) == expected[1]


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_somebody_was_faster(status: str) -> None:
    """Of two who submit at once, one would read a traceback of the server."""
    board = Board(first=job(status))
    expected = (JOB, False) if status == "RUNNING" else (f"{JOB}-2", True)

    assert expected == submit.submit(board, WORK, {}, {})


def test_a_refused_job_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes no jobs would be asked for ever."""

    def refuse(**_: Any) -> str:
        raise RuntimeError("Request failed with status code 500: No available agent.")

    board = Board()
    monkeypatch.setattr(board, "submit_job", refuse)
    with pytest.raises(ClusterError, match="failed: .*No available agent"):
        submit.submit(board, WORK, {}, {})


# Following


LOG = "one\ntwo\nthree\nfour\n"
BREAK = RuntimeError("WebSocket connection closed unexpectedly with close code 1006")


@pytest.mark.parametrize(
    "streams",
    [
        [["one\n", "two\nthree\n", "four\n"]],
        [["one\n", BREAK], [LOG]],
        [["one\ntw", BREAK], [BREAK], [ConnectionResetError()], ["one\n", "two\nthree\n"], [LOG]],
        [["one\n"], ["one\n", "two\n"], ["one\n"], []],
        [[]],
        [[LOG], [LOG]],
    ],
)
def test_a_log_that_breaks_off_is_shown_once_and_whole(
    streams: list[list[str | Exception]],
) -> None:
    """Lines would be missing or come twice, or a cut would look like the end (C05)."""
    running = [job("RUNNING")] * len(streams)
    server = Server([*running, job("SUCCEEDED")], streams, LOG)

    assert (LOG, None) == followed(server)


@given(st.data())
def test_a_log_survives_any_cuts(data: st.DataObject) -> None:
    """As above, for cuts that nobody thought of."""
    log = data.draw(st.text("ab\n", max_size=30))
    streams: list[list[str | Exception]] = []
    for _ in range(data.draw(st.integers(0, 4))):
        end = data.draw(st.integers(0, len(log)))
        cuts = sorted(data.draw(st.lists(st.integers(0, end), max_size=3)))
        pieces = [log[a:b] for a, b in zip([0, *cuts], [*cuts, end], strict=True)]
        streams.append([*pieces, *([BREAK] if data.draw(st.booleans()) else [])])
    states = [job("RUNNING")] * data.draw(st.integers(1, 5))
    server = Server([*states, job("SUCCEEDED")], [*streams, []], log)

    assert (log, None) == followed(server)


def test_a_silent_connection_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that dropped the connection without a word would hide the end for ever (C05)."""
    import asyncio

    class Silent(Server):
        async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
            yield "one\n"
            await asyncio.Event().wait()

    monkeypatch.setattr(submit, "SILENT_SECONDS", 0.01)
    running = [job("RUNNING")] * 3

    assert (LOG, None) == followed(Silent([*running, job("SUCCEEDED")], log=LOG))


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (job("FAILED", driver_exit_code=3), 3, "failed with exit code 3"),
        (job("FAILED", driver_exit_code=-9), 137, "failed with exit code -9"),
        (job("FAILED", message="no\nnode  left"), 5, "failed: no node left"),
        (job("STOPPED"), 130, "was stopped"),
    ],
)
def test_the_command_ends_as_the_job_did(end: JobDetails, code: int, said: str) -> None:
    """A script would take a failed run for a good one."""
    log, ended = followed(Server([job("RUNNING"), end], [[LOG]], LOG))

    assert LOG == log
    assert ended is not None
    assert (code, f"job {JOB} {said}") == (ended.exit_code, str(ended))


def test_a_server_that_is_away_for_a_while() -> None:
    """A network that fails for a minute would end what could go on (C05)."""
    away: list[JobDetails | Exception] = [
        ConnectionError("refused"),
        RuntimeError("Request failed with status code 502: Bad Gateway."),
    ]
    states = [job("RUNNING"), *away, job("RUNNING"), *away, job("SUCCEEDED")]

    assert (LOG, None) == followed(Server(states, [["one\n", BREAK]], LOG))


def test_a_server_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command would wait for ever for a cluster that is gone."""
    monkeypatch.setattr(submit, "LOST_SECONDS", 0.0)
    with pytest.raises(ClusterError, match=f"no job server .* job {JOB} may go on without it"):
        followed(Server([job("RUNNING"), ConnectionError("refused")]))


def test_a_job_that_is_lost() -> None:
    """A head that was started anew knows no jobs: that is no mistake of the user's."""
    gone = RuntimeError(f"Request failed with status code 404: Job {JOB} does not exist.")
    with pytest.raises(
        ClusterError, match="is gone: the cluster was started anew, .*; submit it a"
    ):
        followed(Server([job("RUNNING"), gone]))
    assert (LOG, None) == followed(Server([job("RUNNING"), job("SUCCEEDED")], [[LOG]], LOG))
    with pytest.raises(UsageError, match="does not exist at"):
        followed(Server([gone]))


def test_an_end_of_the_log_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that succeeded would be reported as failed, since its node is gone."""

    def gone(_: str) -> str:
        raise RuntimeError("Request failed with status code 500: node died.")

    server = Server([job("RUNNING"), job("SUCCEEDED")], [["one\n", BREAK]])
    monkeypatch.setattr(server, "get_job_logs", gone)

    assert ("one\n", None) == followed(server)
    assert "the end of the log is missing" in caplog.text


def test_nobody_reads_any_more() -> None:
    """`| head -1` would follow the job in silence: what breaks is not the stream."""

    def closed(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        submit.follow(Server([job("RUNNING")], [[LOG]]), JOB, closed)


# Stopping and listing


@pytest.mark.parametrize("end", ENDS)
def test_stopping_waits_for_the_end(end: str) -> None:
    """A job would be called stopped that still writes."""
    server = Server([job(end)])

    assert end == submit.stop(server, JOB).status.value
    assert [JOB] == server.stopped


def test_what_cannot_be_stopped() -> None:
    """The command would wait for ever."""
    with pytest.raises(ClusterError, match="is still RUNNING; try again"):
        submit.stop(Server([job("RUNNING")]), JOB)
    assert "STOPPED" == submit.stop(Server([job("STOPPED")]), JOB).status.value


def test_a_job_that_waits_can_be_stopped_and_says_why_it_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would be PENDING in silence for minutes, and `stop` would refuse: Ray keeps the order."""
    caplog.set_level("INFO", "rayal")
    server = Server([job("PENDING", message="no room for 8 CPUs")])

    assert "PENDING" == submit.stop(server, JOB).status.value
    assert [JOB] == server.stopped
    server = Server([job("PENDING", message="no room for 8 CPUs"), job("SUCCEEDED")])
    submit.follow(server, JOB, lambda text: None)
    assert 1 == caplog.text.count(f"job {JOB} waits: no room for 8 CPUs")


def test_what_a_list_says() -> None:
    """Jobs of others would be among them, or the last ones not at the end."""
    ours = {"rayal": "1", "folder": "/runs/x"}
    board = Board(
        job("RUNNING", f"{JOB}-2", start_time=2_000_000, metadata=ours, message="goes\non"),
        job("FAILED", JOB, start_time=1_000_000, metadata=ours),
        job("RUNNING", "raysubmit_a", start_time=3_000_000),
    )
    rows = submit.listed(board)

    assert [JOB, f"{JOB}-2"] == [row["job"] for row in rows]
    assert {
        "job": f"{JOB}-2",
        "state": "RUNNING",
        "since": "1970-01-01T00:33:20+00:00",
        "folder": "/runs/x",
        "message": "goes",
    } == rows[1]
    (named,) = submit.listed(board, ["raysubmit_a"])
    assert "raysubmit_a" == named["job"]
