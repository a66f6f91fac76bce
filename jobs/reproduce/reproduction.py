"""What the programs of this folder share: a paper's comparisons as sweeps, its numbers beside ours.

    python jobs/reproduce/X.py [--dataset A,B] [--methods M,N] [--seeds 0,1,2] [--out DIR]
        [--set scheme.epochs=2 --set scheme.milestones=[1] ...] [--address auto]
        [--list | --report-only]

A comparison is a set of methods on one dataset; methods whose training is the same are one sweep,
so that they share their first cycle. Sweeps run one after the other; a job that was killed goes on
where it was by the same command. Two jobs may write to one folder: what both papers run, runs once.

OUT/<experiment>/                        the sweeps, as `rayal sweep` writes them
OUT/analysis/<method>/                   what analyses found, where a table asks for it
OUT/<job>_<comparison>.md .csv .png .svg ours beside the paper's, written again after every sweep
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NoReturn

import beside as table
import typer
from beside import Result
from planned import Comparison as Comparison
from planned import Method as Method
from planned import Planned, differences, listed, planned
from published import Published as Published

from rayal.cli import main
from rayal.cli.console import SweepConsole
from rayal.cli.options import Address, BreakLock, Overrides
from rayal.cli.output import note, visible
from rayal.engine.processes import importing
from rayal.errors import RayalError, UsageError
from rayal.parts import suggest
from rayal.report.drawing import encoded
from rayal.report.runs import Run
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.run import start_cluster
from rayal.workflows.sweep.sweeping import Sweeping, start_sweep


def check(sweeps: Sequence[Planned], out: Folder) -> None:
    """Raises what any sweep would raise at its start, before the first one begins."""
    for each in sweeps:
        for method, record in each.records(out):
            if differing := differences(record.experiment(), each.experiment(method)):
                raise UsageError(
                    f"{record.folder.url} was run with other settings than this command's:"
                    f" {', '.join(differing)}; repeat its --set, or use another --out"
                )
        Sweeping(each.x, out / each.folder, together=True).check()


def run(each: Planned, out: Folder, address: str | None, break_lock: bool) -> None:
    """Runs what is left of a sweep; raises the first failure of a trial when all have ended."""
    place = (out / each.folder).url
    with (
        importing(each.x.sweep, each.x.compute, address) as forks,
        start_sweep(each.x, place, break_lock=break_lock, together=True) as opened,
    ):
        note(f"sweep  {opened.folder.url}")
        with SweepConsole() as console:
            opened.run(partial(start_cluster, address), console, forks)


def report(job: str, name: str, comparison: Comparison, out: Folder) -> str:
    """Writes the files of a comparison from what is there; returns its Markdown."""
    runs: dict[str, list[Run]] = defaultdict(list)
    records: dict[str, list[Record]] = defaultdict(list)
    changed: dict[str, list[str]] = defaultdict(list)
    for each in planned(name, comparison.methods, seeds=(0,)):
        for method, record in each.records(out):
            runs[method].append(read := Run.read(record))
            records[method].append(record)
            if differing := differences(record.experiment(), each.experiment(method)):
                changed[", ".join(differing)].append(f"{method} seed {read.seed}")
    results = [
        Result(key, method.called, comparison.published.get(key, ()), runs[key])
        for key, method in comparison.methods.items()
    ]
    rows, without = table.rows(results), [key for key in comparison.methods if not runs[key]]
    reasons = "\n".join(f"- `{names}`: {reason}" for names, reason in comparison.why.items())
    blocks = [f"### {job}: {name}", comparison.note]
    blocks += [
        f"> **Warning:** not the protocol: {what} ({', '.join(sorted(who))})"
        for what, who in changed.items()
    ]
    blocks += [
        table.markdown(rows),
        f"What need not agree, or cannot:\n\n{reasons}" * bool(reasons),
    ]
    blocks += [further(out, records) for further in comparison.further]
    blocks.append(f"Not run yet: {', '.join(without)}." if without else "")
    text = "\n\n".join(filter(None, blocks)) + "\n"
    files = {"md": text.encode(), "csv": table.to_csv(rows).encode()}
    if (drawn := table.figure(f"{job}: {name}", results)) is not None:
        files |= {kind: encoded(drawn, kind) for kind in ("png", "svg")}
    for kind, data in files.items():
        out.write(f"{job}_{name}.{kind}", data)
    return text


def reproduce(
    job: str,
    comparisons: Mapping[str, Comparison],
    dataset: str = "",
    methods: str = "",
    seeds: str = "0,1,2",
    out: str = "reproductions",
    set: Sequence[str] = (),
    address: str | None = None,
    break_lock: bool = False,
    only_list: bool = False,
    only_report: bool = False,
) -> None:
    """The work of such a job; the options are those of `launch`.

    A sweep that fails does not keep the others; raises the first failure at the end.
    """
    place = Folder(out)
    asked = {name: comparisons[name] for name in _chosen(dataset, comparisons, "--dataset")}
    if not only_report:
        known = {key: None for comparison in asked.values() for key in comparison.methods}
        wanted = _chosen(methods, known, "--methods")
        sweeps = [
            each
            for name, comparison in asked.items()
            for each in planned(
                name,
                {key: item for key, item in comparison.methods.items() if key in wanted},
                _numbers(seeds),
                set,
            )
        ]
        print(visible(listed(sweeps, place)), flush=True)
        if only_list:
            return
        _run_all(job, sweeps, asked, place, address, break_lock)
    for name, comparison in asked.items():
        print(f"{report(job, name, comparison, place)}")
    print(visible(f"tables and figures  {place.url}"))


def launch(job: str, about: str | None, comparisons: Mapping[str, Comparison]) -> None:
    """Runs the program: errors, signals and exit codes are those of the `rayal` command."""

    def command(
        dataset: Annotated[str, typer.Option(help=f"Of {', '.join(comparisons)}; all.")] = "",
        methods: Annotated[str, typer.Option(help="Their names, a,b,c; --list shows all.")] = "",
        seeds: Annotated[str, typer.Option(help="One trial of each method with each.")] = "0,1,2",
        out: Annotated[str, typer.Option(help="Folder, a path or a URL.")] = "reproductions",
        set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
        address: Address = None,
        break_lock: BreakLock = False,
        only_list: Annotated[
            bool, typer.Option("--list", help="Say what would run, and end.")
        ] = False,
        only_report: Annotated[
            bool, typer.Option("--report-only", help="Run nothing; report what is there.")
        ] = False,
    ) -> None:
        reproduce(job, comparisons, dataset, methods, seeds, out, set, address, break_lock,
                  only_list, only_report)  # fmt: skip

    start(command, f"reproduce-{job}", about)


def start(command: Callable[..., None], name: str, about: str | None) -> NoReturn:
    """Runs a program's one command as `rayal` runs its own: errors, signals and exit codes."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.command(help=(about or "").partition("\n")[0])(command)
    main(app, name)


def _run_all(
    job: str,
    sweeps: Sequence[Planned],
    comparisons: Mapping[str, Comparison],
    out: Folder,
    address: str | None,
    break_lock: bool,
) -> None:
    check(sweeps, out)
    failures: list[RayalError] = []
    for each in sweeps:
        try:
            run(each, out, address, break_lock)
        except RayalError as error:
            note(f"{each.folder}: {error}")
            failures.append(error)
        report(job, each.comparison, comparisons[each.comparison], out)
    if failures:
        raise failures[0]


def _chosen(text: str, known: Mapping[str, Any], option: str) -> list[str]:
    """Names of a comma-separated list, or all; UsageError for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: there is no {name!r} here; {suggest(name, known)}")
    return names or list(known)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds: expected whole numbers such as 0,1,2, got {text!r}") from error
