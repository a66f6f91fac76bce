"""Jobs of a cluster: submitted once, followed to their own end, stopped, listed.

A job is a command of rayal that a cluster runs; its run folder is all that lasts. So it may be lost
and submitted again, and a log that breaks off says nothing about how it ended.
"""

import asyncio
import hashlib
import json
import logging
import re
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

from ray.job_submission import JobDetails, JobStatus

import rayal
from rayal.engine import upload
from rayal.engine.jobs import Client, Unreachable, answering
from rayal.errors import ClusterError, UsageError
from rayal.storage.folder import Json

PREFIX = "rayal-"
AGAIN_SECONDS = 2.0  # between two questions to the server
SILENT_SECONDS = 30.0  # without a word, the log is opened anew: its connection may be dead
LOST_SECONDS = 300.0  # a server that is away for longer is given up
STOP_SECONDS = 60.0  # Ray kills what does not end within seconds
PENDING_SECONDS = 10.0  # a job that was stopped before it began stays as it is
INTERRUPTED = 130
"""Exit code of a job that was stopped."""

logger = logging.getLogger(__name__)


class Work(NamedTuple):
    """What a cluster is to do."""

    id: str
    """Of the job; a second one for the same run gets `-2`."""
    name: str
    """For people."""
    folder: str
    """Where the results go."""
    command: Sequence[str]
    texts: Mapping[str, str] = {}
    """Files that the command reads, by their name in the job's folder."""


class JobEnded(ClusterError):
    """A job did not succeed; the command ends as the job did."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def job_id(words: Sequence[str], identity: Any) -> str:
    """`rayal-digits-cod-supervised-seed0-1a2b3c4d`: the same for the same run, and readable."""
    mark = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(words)).strip("-")[:100]
    return f"{PREFIX}{readable}-{mark}"


def submit(
    client: Client, work: Work, project: Mapping[str, Path], env: Mapping[str, str]
) -> tuple[str, bool]:
    """The id of the job that does this work, and whether it is new.

    A job that has not ended is the one; after those that have, the next number begins a new one.
    """
    with answering(client), TemporaryDirectory(prefix="rayal-") as folder:
        archive = Path(folder) / "project.zip"
        while True:
            before = _attempts(client, work.id)
            if before and not (last := before[max(before)]).status.is_terminal():
                return str(last.submission_id), False
            number = max(before, default=0) + 1
            new = work.id if number == 1 else f"{work.id}-{number}"
            if not archive.exists():
                upload.pack(archive, project, work.texts)
            try:
                client.submit_job(
                    entrypoint=f"python -m rayal {shlex.join(work.command)}",
                    submission_id=new,
                    runtime_env={"working_dir": str(archive), "env_vars": dict(env)},
                    metadata={
                        "name": work.name,
                        "folder": work.folder,
                        "rayal": rayal.__version__,
                    },
                )
            except RuntimeError as error:
                if "already exists" not in str(error):  # somebody was faster
                    raise
            else:
                return new, True


def follow(client: Client, job: str, write: Callable[[str], object]) -> None:
    """Hand the log of a job to `write`, all of it and once, until the job has ended.

    Raises JobEnded unless the job itself has succeeded: its own exit code, 130 if it was stopped,
    5 if it never had one. ClusterError where the server stays away.
    """
    with answering(client):
        info = client.get_job_info(job)  # a wrong id is a mistake; a job lost later is not
    log = _Log(client, job, write)
    log.tell(info)
    info = log.until_the_end()
    log.rest()
    match info.status:
        case JobStatus.SUCCEEDED:
            return
        case JobStatus.STOPPED:
            raise JobEnded(f"job {job} was stopped", INTERRUPTED)
    code = info.driver_exit_code
    if not code:
        reason = " ".join((info.message or "").split())[:1000]
        raise JobEnded(f"job {job} failed: {reason}", ClusterError.exit_code)
    raise JobEnded(f"job {job} failed with exit code {code}", code if code > 0 else 128 - code)


def stop(client: Client, job: str) -> JobDetails:
    """Stop a job and wait until it has ended; one that has ended stays as it is.

    One that has not begun is still PENDING at the end: Ray keeps the order, and ends it as it
    begins, or when it gives it up.
    """
    began = time.monotonic()
    with answering(client):
        client.stop_job(job)
        while not (info := client.get_job_info(job)).status.is_terminal():
            waited = time.monotonic() - began
            if info.status == JobStatus.PENDING and waited > PENDING_SECONDS:
                return info
            if waited > STOP_SECONDS:
                raise ClusterError(f"job {job} is still {info.status.value}; try again")
            time.sleep(AGAIN_SECONDS / 4)
    return info


def listed(client: Client, jobs: Sequence[str] = ()) -> list[Json]:
    """The jobs that rayal submitted, or those named, in order of their start."""
    with answering(client):
        there = {info.submission_id: info for info in client.list_jobs() if info.submission_id}
        chosen = [there.get(job) or client.get_job_info(job) for job in jobs] or [
            info for info in there.values() if "rayal" in (info.metadata or {})
        ]
    return [row(info) for info in sorted(chosen, key=lambda info: info.start_time or 0)]


def row(info: JobDetails) -> Json:
    """What is told of a job."""
    return {
        "job": info.submission_id,
        "state": info.status.value,
        "since": _moment(info.start_time),
        "folder": (info.metadata or {}).get("folder"),
        "message": (info.message or "").partition("\n")[0],
    }


class _Log:
    """The log of a job, of which the first `seen` characters have been handed on."""

    def __init__(self, client: Client, job: str, write: Callable[[str], object]) -> None:
        self.client, self.job, self.write, self.seen = client, job, write, 0
        self.waiting: str | None = None

    def tell(self, info: JobDetails) -> None:
        """Why a job has not begun, when that is new."""
        if info.status == JobStatus.PENDING and info.message != self.waiting:
            self.waiting = info.message
            logger.info("job %s waits: %s", self.job, self.waiting)

    def until_the_end(self) -> JobDetails:
        """Reads the stream, as often as it breaks off; only the job's state says that it ended."""
        while True:
            asyncio.run(self._stream())
            info = self._info()
            if info.status.is_terminal():
                return info
            self.tell(info)
            time.sleep(AGAIN_SECONDS)

    def rest(self) -> None:
        """What no stream has shown."""
        try:
            with answering(self.client):
                text = self.client.get_job_logs(self.job)
        except ClusterError as error:  # the job's node may be gone
            logger.warning("the end of the log is missing: %s", error)
        else:
            self.write(text[self.seen :])

    async def _stream(self) -> None:
        """One connection, until it ends or breaks off; it sends the log from its beginning."""
        import aiohttp

        position, stream = 0, cast("AsyncGenerator[str]", self.client.tail_job_logs(self.job))
        async with aclosing(stream) as chunks:
            while True:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        chunk = await anext(chunks, None)
                except (aiohttp.ClientError, OSError, RuntimeError, ValueError):
                    return
                if chunk is None:
                    return
                new = chunk[max(self.seen - position, 0) :]
                position += len(chunk)
                if new:
                    self.write(new)
                    self.seen = position

    def _info(self) -> JobDetails:
        """The state, also where the server is away for a while."""
        away = time.monotonic() + LOST_SECONDS
        while True:
            try:
                with answering(self.client):
                    return self.client.get_job_info(self.job)
            except UsageError as error:
                raise ClusterError(
                    f"job {self.job} is gone: the cluster was started anew, or the job was deleted;"
                    " submit it again, and it goes on where it was"
                ) from error
            except Unreachable as error:
                if time.monotonic() > away:
                    raise ClusterError(f"{error}; job {self.job} may go on without it") from error
            time.sleep(AGAIN_SECONDS)


def _attempts(client: Client, base: str) -> dict[int, JobDetails]:
    """Number -> job, of those that were submitted for the same work."""
    named = re.compile(rf"{re.escape(base)}(?:-(\d+))?")
    found = ((named.fullmatch(info.submission_id or ""), info) for info in client.list_jobs())
    return {int(match[1] or 1): info for match, info in found if match}


def _moment(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
