"""How the runs were made, with what, and what makes them again."""

import shlex
from collections.abc import Sequence

from rayal.errors import counted
from rayal.report.page.blocks import Block, Cell, Fold, Listing, Section, Table
from rayal.report.page.seen import Seen
from rayal.runs.record import Record

HISTORY = "history.json"
MADE_WITH = ("engine", "device", "threads", "python", "platform")


def section(seen: Seen) -> Section | None:
    """Commands, versions, folders, and the whole experiment of one run of each arm."""
    arms = [arm for group in seen.groups for arm in group.arms]
    blocks: list[Block] = [Listing("Write this page again", seen.command)]
    if commands := _commands(seen):
        blocks.append(Listing("Run them again", "\n".join(commands)))
    blocks += [_versions(seen), _folders(seen)]
    blocks += [
        Fold(f"Experiment of {arm.label}", [Listing("experiment.yaml", _file(seen.one_of(arm)))])
        for arm in arms
    ]
    return Section("Configuration", blocks)


def _commands(seen: Seen) -> list[str]:
    """A sweep's own command where runs are of one, else that of each run."""
    sweeps = dict.fromkeys(record.sweep for record in seen.records)
    found = [
        f"rayal sweep {_words(f'{s}/sweep.yaml')} --out {_words(f'{s}-again')}" for s in sweeps if s
    ]
    for record in seen.records:
        if not record.sweep:
            url = record.folder.url
            found.append(
                f"rayal run {_words(f'{url}/experiment.yaml')} --out {_words(f'{url}-again')}"
            )
    return found


def _words(place: str) -> str:
    return shlex.quote(place)


def _file(record: Record) -> str:
    return record.experiment_file()


def _versions(seen: Seen) -> Table:
    """Each set of versions, device and threads, and how many runs were made with it last."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for record in seen.records:
        facts = tuple(_made_with(record).items())
        found[facts] = found.get(facts, 0) + 1
    names = [*dict.fromkeys(name for facts in found for name, _ in facts)]
    columns = [f"{count} of {counted(len(seen.records), 'run')}" for count in found.values()]
    rows: list[Sequence[Cell]] = [
        [name, *(dict(facts).get(name, "–") for facts in found)] for name in names
    ]
    return Table("Made with", ["", *columns], rows, "as of the last attempt at each run")


def _made_with(record: Record) -> dict[str, str]:
    history = record.folder.read_sealed(HISTORY, default=None)
    if not history or not history["attempts"]:
        return {}
    last = history["attempts"][-1]
    return {
        **{name: str(last[name]) for name in MADE_WITH if name in last},
        **{name: str(version) for name, version in last.get("versions", {}).items()},
    }


def _folders(seen: Seen) -> Fold:
    rows: list[Sequence[Cell]] = []
    for group in seen.groups:
        for arm in group.arms:
            for run in arm.runs:
                rows.append([arm.label, str(run.seed), "yes" if run.complete else "no", run.url])
    table = Table("Run folders", ["arm", "seed", "complete", "folder"], rows)
    return Fold(f"Run folders ({len(rows)})", [table])
