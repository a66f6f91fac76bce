"""The page about run folders has every file that there is, and tells the truth about deleting."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle.shared_training import SHARED
from rayal.runs.ledger import STAGES
from rayal.storage.folder import Folder
from rayal.storage.journal import ENDED
from rayal.workflows import score
from rayal.workflows.sweep import sweeping as sweep
from rayal.workflows.sweep.folder import DRAWS, STOPPED
from tests.support.whole_runs import At, Interrupted, chosen, go

PAGE = (Path(__file__).parents[2] / "docs/concepts/run_folder.md").read_text(encoding="utf-8")


def kind(name: str) -> str:
    """A file's name as the page has it: one of a number for all of them."""
    name = re.sub(r"^shard-\d+", "shard-00000", name)
    name = re.sub(r"^companion-\w+", "companion-<name>", name)
    return re.sub(r"^checkpoint-\d+", "checkpoint-<epoch>", name)


def names(folder: Path) -> set[str]:
    """Of all files and folders below it, but for those of cycles and ensembles."""
    found = {path.name for path in folder.rglob("*")}
    return {kind(name) for name in found if not re.match(r"(cycle|member)-\d+$", name)} - {*STAGES}


@pytest.fixture(scope="module")
def run(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A run with every kind of file, stopped once before a training."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    x = tiny(
        model={"name": "small_cnn", "width": 4},
        strategy="variation_ratio",
        observers=["core_set", "cod"],
        ensemble=2,
        scheme={"name": "tod", "epochs": 2, "batch_size": 16, "lr": 0.02},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    with pytest.raises(Interrupted):
        go(x, folder, At(1, "train"))
    assert (folder / ENDED).exists()
    go(x, folder)
    return x, folder


def test_every_file_of_a_run_is_on_the_page(run: tuple[Any, Path]) -> None:
    """Somebody would find a file that nobody explains, and delete it or keep it for ever."""
    _, folder = run

    assert [] == sorted(name for name in names(folder) if name not in PAGE)


def test_what_may_be_deleted_is_made_again(run: tuple[Any, Path]) -> None:
    """The page would cost somebody a run."""
    x, folder = run
    before = chosen(folder)
    rows = re.findall(r"^\| (`[^|]+) \|[^|]*\|[^|]*\| yes", PAGE, re.MULTILINE)
    deletable = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    for name in deletable:
        (folder / name).unlink(missing_ok=True)
    Folder(folder / "cycle-001" / "evaluate").delete()
    Folder(folder / "cycle-000" / "select").delete()
    go(x, folder)

    assert {"experiment.yaml", "history.json", "ended.json", "curve.csv"} <= {*deletable}
    assert before == chosen(folder)
    assert all((folder / name).exists() for name in deletable if name not in (ENDED, STOPPED))


def test_files_of_sweeps_and_scorings_are_on_the_page() -> None:
    """What their modules say of their folders, the page would not."""
    said = re.findall(r"OUT/(\S+)(?: (\S+\.\w+))?(?: (\S+\.\w+))?(?: (\S+\.\w+))?", sweep.__doc__)
    said += re.findall(r"OUT/(\S+)()()()", score.__doc__)
    files = {name.strip("/").rsplit("/")[-1] for row in said for name in row if name}

    assert len(files) > 12
    assert [] == sorted(name for name in files | {SHARED, STOPPED, DRAWS} if name not in PAGE)
