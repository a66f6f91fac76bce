"""The command line: `rayal run CONFIG`, `plan`, `status`, `report`, `sync`, and what there is.

Heavy imports are inside the commands, so that help appears at once.
"""

import io
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from rayal.errors import LabelsPending, RayalError

app = typer.Typer(
    name="rayal",
    help="Active-learning experiments on Ray, tracked in MLflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)

INTERRUPTED = 130
AGAIN_SECONDS = 0.5
"""Signals this close together are one: `timeout` and some launchers send each of them twice."""

Config = Annotated[Path, typer.Argument(help="The experiment, a YAML file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Change one value, a.b=v; may be repeated.")
]
Plugins = Annotated[
    list[str], typer.Option("--plugins", help="Accept parts from this package of yours.")
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster, host:port; without it one starts on this machine.")
]
Out = Annotated[str | None, typer.Option("--out", help="Run folder, a path or a URL.")]
Runs = Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


_debug = False
_interrupted: float | None = None  # when the first signal came


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
) -> None:
    """Active-learning experiments on Ray, tracked in MLflow."""  # `main` has taken --debug out


@app.command()
def run(
    config: Config,
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Out = None,
    address: Address = None,
    plugins: Plugins = [],  # noqa: B006
    break_lock: Annotated[
        bool,
        typer.Option("--break-lock", help="Take over a run whose writer died on another machine."),
    ] = False,
) -> None:
    """Run an experiment, or continue it: the same command again goes on where it stopped."""
    from rayal import session
    from rayal.console import Console
    from rayal.report.status import cycle_table

    x = _experiment(config, set, plugins)
    with session.opened(x, out, break_lock=break_lock) as opened:
        record = opened.record
        url = record.folder.url
        _note(f"{'complete already' if record.complete else 'run folder'}  {url}")
        with Console(record, x.task.headline, x.scheme.epochs) as console:
            opened.run(partial(_engine, x.compute, address), [console])
    _print(cycle_table(record, x.task.headline))
    print(_visible(f"curve   {url}/curve.png"))
    if (where := x.tracking.address()) is not None:
        print(_visible(f"MLflow  {where}"))


@app.command()
def plan(
    config: Config,
    set: Overrides = [],  # noqa: B006
    plugins: Plugins = [],  # noqa: B006
    probe: Annotated[bool, typer.Option(help="Estimate the time from a few batches.")] = True,
    json: AsJson = False,
) -> None:
    """What a run will do and what it costs; every problem at once."""
    from rayal import plan as plans

    x = _experiment(config, set, plugins)
    made = plans.make(x, x.dataset.open(), probe=probe)
    _print_json(made.to_dict()) if json else _print(made.to_rich())


@app.command()
def status(runs: Runs, plugins: Plugins = [], json: AsJson = False) -> None:  # noqa: B006
    """Where runs are: cycle, stage, labels, metric; from their folders alone."""
    from rayal.record import find_records
    from rayal.report.status import status_rows, status_table

    _allow(plugins)
    rows = status_rows(find_records(runs))
    _print_json(rows) if json else _print(status_table(rows))


@app.command()
def report(
    runs: Runs,
    format: Annotated[
        Literal["table", "csv", "markdown", "json"], typer.Option(help="What is printed.")
    ] = "table",
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("report"),
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Learning curves with bands over seeds, tables, areas and paired tests."""
    from rayal.record import find_records
    from rayal.report import curves, tables
    from rayal.storage import storage_errors

    _allow(plugins)
    summary = tables.summarise(find_records(runs))
    match format:
        case "table":
            _print(summary.to_rich())
        case "csv":
            print(summary.to_csv(), end="")
        case "markdown":
            print(summary.to_markdown(), end="")
        case "json":
            print(summary.to_json(), end="")
    with storage_errors(str(out)):
        out.mkdir(parents=True, exist_ok=True)
        curves.draw(summary, out / "curves.png", out / "curves.svg")
    _note(f"curves  {out / 'curves.png'}  {out / 'curves.svg'}")


@app.command()
def sync(runs: Runs, plugins: Plugins = []) -> None:  # noqa: B006
    """Send to the tracker what it does not have yet."""
    from rayal import config
    from rayal.record import find_records

    _allow(plugins)
    for record in find_records(runs):
        tracking = config.resolved(record.experiment()).tracking
        tracking.sync(record)
        where = tracking.address() or "no tracker"
        print(_visible(f"{record.folder.url}  in step with {where}"))


def _list_verb(kind: str) -> None:
    @app.command(kind, help=f"The {kind} there are, with what they are.")
    def listing(json: AsJson = False) -> None:
        from rayal import parts

        rows = [
            {"name": name, "what": _first_line(parts.find(kind, name))}
            for name in parts.names(kind)
        ]
        if json:
            _print_json(rows)
        else:
            width = max(len(row["name"]) for row in rows)
            for row in rows:
                print(f"{row['name']:{width}}  {row['what']}")


for _kind in ("strategies", "schemes", "models", "datasets"):
    _list_verb(_kind)


def main() -> NoReturn:
    """The `rayal` command: one line for an error of the user's, with its exit code."""
    global _debug
    _debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _catch_signals()
    _direct_output()
    try:
        if app(arguments, prog_name="rayal", standalone_mode=False) == INTERRUPTED:
            raise KeyboardInterrupt  # typer has made a return value of it
        print(end="", flush=True)
    except LabelsPending as pending:
        print(_visible(f"rayal: {pending}"))
    except RayalError as error:
        _fail(error, str(error), error.exit_code)
    except KeyboardInterrupt as error:
        _fail(error, "interrupted; the same command continues the run", INTERRUPTED)
    except typer.TyperException as error:
        _fail(error, error.format_message(), error.exit_code)
    except BrokenPipeError:  # nobody reads any more, as behind `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    if _debug:
        _note("".join(traceback.format_exception(error)))
    if message:  # `rayal` alone has shown its help
        _note(f"rayal: {message}")
    sys.exit(code)


def _catch_signals() -> None:
    """Ctrl-C and SIGTERM, with which Slurm and Kubernetes stop a job, do the same."""
    global _interrupted
    _interrupted = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    """The first signal ends the command in good order, a later one at once."""
    global _interrupted
    now = time.monotonic()
    if _interrupted is None:
        _interrupted = now
        raise KeyboardInterrupt
    if now - _interrupted > AGAIN_SECONDS:
        cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""  # the progress bar hides it
        os.write(2, cursor + b"rayal: stopped at once; the same command continues the run\n")
        os._exit(INTERRUPTED)


def _direct_output() -> None:
    """Streams take every character, and log records become lines of stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.captureWarnings(True)
    for name, level in (("rayal", logging.INFO), ("py.warnings", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG if _debug else level)
        logger.handlers, logger.propagate = [_Lines()], False


class _Lines(logging.Handler):
    """A line per record, on what is stderr at the time: a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "rayal: warning: " if record.levelno >= logging.WARNING else ""
        _note(kind + " ".join(record.getMessage().split()))
        if record.exc_info:
            _note("".join(traceback.format_exception(record.exc_info[1])))


def _experiment(path: Path, overrides: list[str], plugins: list[str]) -> Any:
    from rayal import config

    _allow(plugins)
    return config.load(path, overrides)


def _allow(plugins: list[str]) -> None:
    """Accept parts of these packages, which may lie in the working directory."""
    if plugins:
        from rayal import parts

        parts.allow_plugins(plugins)
        sys.path.append(os.getcwd())  # last: a file there never stands in for an installed package


@contextmanager
def _engine(compute: Any, address: str | None) -> Iterator[Any]:
    from rayal import session

    with session.engine(compute, address) as engine:
        _catch_signals()  # Ray has put its own handler in place
        yield engine


def _first_line(part: type) -> str:
    return (part.__doc__ or "").strip().splitlines()[0]


def _note(text: str) -> None:
    """A line for the user, apart from the output."""
    print(_visible(text), file=sys.stderr)


def _visible(text: str) -> str:
    """The text with the control characters, that a name may hold, escaped."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _print(renderable: Any) -> None:
    """Tables are never cut: where a terminal is narrow, it wraps their lines itself."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(highlight=False, markup=False, emoji=False)
    wide = console.options.update(max_width=sys.maxsize)
    console.width = max(console.width, Measurement.get(console, wide, renderable).maximum)
    console.print(renderable)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=1))
