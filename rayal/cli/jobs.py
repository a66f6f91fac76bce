"""Commands of jobs on a cluster: logs and stop, what `status --address` shows, following one."""

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

import rayal
from rayal.cli.options import CLUSTERS, app
from rayal.cli.output import note, print_json, print_table, visible
from rayal.cli.work import INTERRUPTED
from rayal.errors import RayalError

if TYPE_CHECKING:
    from rayal.api.jobs import Job

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Server = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="The cluster's job server; else $RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Speak to another machine without a token.")
]
Id = Annotated[str, typer.Argument(help="The job's id.")]


@app.command(rich_help_panel=CLUSTERS)
def logs(
    job: Id,
    to_the_end: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on to the job's end, and end as it does.")
    ] = False,
    address: Server = None,
    insecure: Insecure = False,
) -> None:
    """What a submitted job has printed."""
    there = rayal.Job(job, address, insecure=insecure)
    if to_the_end:
        return follow(there)
    lines = LogLines()
    lines.write(there.logs())
    lines.close()


@app.command(rich_help_panel=CLUSTERS)
def stop(job: Id, address: Server = None, insecure: Insecure = False) -> None:
    """Stop a submitted job; submitted again, it goes on where it was."""
    row = rayal.Job(job, address, insecure=insecure).stop()
    note(f"{job}  {row['state']}")
    if row["state"] == "PENDING":
        note(
            f"it has not begun ({row['message']}); Ray ends it as it begins, or gives it up 15"
            " minutes after it was submitted"
        )


def show_jobs(jobs: list[str], address: str, insecure: bool, json: bool) -> None:
    """The jobs that rayal submitted to a cluster, or those named."""
    from rich.table import Table

    rows = rayal.jobs(address, jobs, insecure=insecure).rows
    if json:
        return print_json(rows)
    table = Table(box=None, header_style="bold")
    for column in ("job", "state", "since", "folder", "message"):
        table.add_column(column)
    for row in rows:
        table.add_row(*(visible(str(value or "")) for value in row.values()))
    print_table(table)


class LogLines:
    """Prints a log line by line; nothing in it controls the terminal."""

    def __init__(self) -> None:
        self.begun = ""

    def write(self, text: str) -> None:
        *lines, self.begun = re.split(r"\r\n?|\n", self.begun + text)
        for line in lines:
            print(visible(COLOUR.sub("", line).expandtabs()), flush=True)

    def close(self) -> None:
        """Prints a last line that has no end."""
        if self.begun:
            self.write("\n")


def follow(job: "Job") -> None:
    lines = LogLines()
    try:
        job.follow(lines.write)
    except KeyboardInterrupt:
        raise NotFollowed(f"the job goes on: {how(job)}") from None
    finally:
        lines.close()
    note(f"job {job.id} succeeded")


class NotFollowed(RayalError):
    """The user has seen enough; the job does not care."""

    exit_code = INTERRUPTED


def how(job: "Job") -> str:
    at = shlex.quote(job.address)
    return (
        f"`rayal logs {job.id} --follow --address {at}` shows it,"
        f" `rayal stop {job.id} --address {at}` stops it"
    )
