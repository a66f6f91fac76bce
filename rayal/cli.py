"""The command line: `rayal run CONFIG`, `plan`, `status`, `report`, `sync`, and what there is.

Heavy imports are inside the commands, so that help appears at once.
"""

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rayal.errors import LabelsPending, RayalError, UsageError

app = typer.Typer(
    name="rayal",
    help="Active-learning experiments on Ray, tracked in MLflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)

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
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


_debug = False


@app.command()
def run(
    config: Config,
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Out = None,
    address: Address = None,
    plugins: Plugins = [],  # noqa: B006
    break_lock: Annotated[
        bool, typer.Option(help="Take over a run whose writer died on another machine.")
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
        print(f"{'complete already' if record.complete else 'run folder'}  {url}", file=sys.stderr)
        with Console(record, x.task.headline, x.scheme.epochs) as console:
            opened.run(partial(session.engine, x.compute, address), [console])
    _print(cycle_table(record, x.task.headline))
    print(f"curve   {url}/curve.png")
    if (where := x.tracking.address()) is not None:
        print(f"MLflow  {where}")


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
def status(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")],
    json: AsJson = False,
) -> None:
    """Where runs are: cycle, stage, labels, metric; from their folders alone."""
    from rayal.record import find_records
    from rayal.report.status import status_rows, status_table

    rows = status_rows(find_records(runs))
    _print_json(rows) if json else _print(status_table(rows))


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")],
    format: Annotated[str, typer.Option(help="table, csv, markdown or json.")] = "table",
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("report"),
) -> None:
    """Learning curves with bands over seeds, tables, areas and paired tests."""
    from rayal.record import find_records
    from rayal.report import curves, tables

    summary = tables.summarise(find_records(runs))
    forms = {
        "table": lambda: _print(summary.to_rich()),
        "csv": lambda: print(summary.to_csv(), end=""),
        "markdown": lambda: print(summary.to_markdown()),
        "json": lambda: print(summary.to_json()),
    }
    if format not in forms:
        raise UsageError(f"--format {format}: choose one of {', '.join(forms)}")
    forms[format]()
    out.mkdir(parents=True, exist_ok=True)
    curves.draw(summary, out / "curves.png", out / "curves.svg")
    print(f"curves  {out / 'curves.png'}  {out / 'curves.svg'}", file=sys.stderr)


@app.command()
def sync(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")],
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Send to the tracker what it does not have yet."""
    from rayal import parts
    from rayal.experiment import Experiment
    from rayal.record import find_records

    parts.allow_plugins(plugins)
    for record in find_records(runs):
        tracking = Experiment.model_validate(record.experiment()).tracking
        tracking.prepare()
        tracking.sync(record)
        print(f"{record.folder.url}  in step with {tracking.address() or 'no tracker'}")


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Slurm and Kubernetes stop so
    try:
        app(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except LabelsPending as pending:
        print(f"rayal: {pending}")
        sys.exit(0)
    except RayalError as error:
        _fail(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(error, "interrupted; the same command continues the run", 130)
    except typer.TyperException as error:
        _fail(error, error.format_message(), error.exit_code)
    sys.exit(0)


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    print(f"rayal: {message}", file=sys.stderr)
    if _debug:
        raise error
    sys.exit(code)


def _experiment(path: Path, overrides: list[str], plugins: list[str]) -> Any:
    from rayal import config

    if plugins:
        sys.path.insert(0, "")  # a plugin lies in the working directory, as with python -m
    return config.load(path, overrides, plugins)


def _first_line(part: type) -> str:
    return (part.__doc__ or "").strip().splitlines()[0]


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(renderable)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=1))
