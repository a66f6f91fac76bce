"""What the pages besides the how-tos show is true: files load, snippets run, names exist."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import rayal
from rayal.engine.draws import all_arms
from rayal.experiment import config
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from tests.support.shown_commands import blocks
from tests.test_layers import ORDER

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def test_the_committee_is_an_experiment(tmp_path: Path) -> None:
    """The example of one pass for many strategies would be refused."""
    (shown,) = blocks(page("concepts/signals"), "yaml")
    (tmp_path / "committee.yaml").write_text(shown)
    x = config.load(tmp_path / "committee.yaml")

    assert (5, 5, True) == (x.ensemble, len(x.scored()), x.budget.balanced)


def test_the_sweep_is_the_file(tmp_path: Path) -> None:
    """The example sweep would be of another file, or have other trials than one would count."""
    shown = blocks(page("how_to/sweeps"), "yaml")[0]
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "configs/sweeps/shown.yaml").write_text(shown)
    x = config.load_as(SweptExperiment, tmp_path / "configs/sweeps/shown.yaml")
    file = ROOT / "configs/sweeps/digits_tod_lambda_alpha.yaml"

    assert x == config.load_as(SweptExperiment, file)
    assert len(trials.of_arms(x, all_arms(x.sweep))) == 4 * (1 + 4) * 3


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the quickstart stands, with the file that it shows, made shorter."""
    (shown,) = blocks(page("quickstart"), "yaml")
    x = yaml.safe_load(shown)
    x["scheme"] |= {"epochs": 2}
    x |= {"compute": {"cpus_per_worker": 1}, "tracking": "none"}
    x["budget"] |= {"total": 100}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(x))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_runs_of_the_quickstart_in_their_order(mine: Path, undrawn: None) -> None:
    """The changed one was refused, as the folder of the first was another experiment's."""
    lines = [line for block in blocks(page("quickstart"), "bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    runs = [words[3:] for words in commands if words[:3] == ["rayal", "run", "mine.yaml"]]
    done = []
    for words in runs:
        options = list(zip(words[::2], words[1::2], strict=True))
        changes = [value for name, value in options if name == "--set"]
        x = rayal.load("mine.yaml", set=[*changes, "compute.engine=local"])
        done.append(rayal.run(x, dict(options).get("--out")))

    assert ["--set", "scheme.epochs=10", "--out", "runs/ten_epochs"] == runs[-1]
    assert (4, 3) == (len(done), len({run.url for run in done}))
    assert all(run.complete for run in done)


def test_the_quickstart_in_python_runs(mine: Path, undrawn: None) -> None:
    """Somebody would copy these lines into a first notebook, and meet an error."""
    first, own = blocks(page("quickstart"), "python")
    known: dict[str, Any] = {"__name__": "__main__"}
    exec(first, known)
    exec(own, known)

    assert known["run"].complete and known["mine"].complete
    assert (mine / "runs" / "notebook" / "run.json").exists()
    assert known["mine"].scores(0).columns.tolist()[1:] == ["random", "entropy"]


def test_the_home_page_in_python_runs(mine: Path, undrawn: None) -> None:
    """The first lines of Python that anybody sees would fail."""
    (shown,) = blocks(page("index"), "python")
    known: dict[str, Any] = {}
    local = 'rayal.load("mine.yaml", set=["compute.engine=local"], '
    exec(shown.replace('rayal.load("mine.yaml", ', local), known)

    assert known["run"].complete


def test_the_readme_in_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    """The same, of README.md."""
    (shown,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    short = ["scheme.epochs=1", "budget.total=100", "compute.cpus_per_worker=1"]
    short += ["compute.engine=local", "tracking=none"]
    load: Callable[..., Any] = rayal.load
    monkeypatch.setattr(rayal, "load", lambda file, **f: load(ROOT / file, set=short, **f))
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(shown, known)

    assert known["run"].complete


def test_the_map_of_the_code_is_true() -> None:
    """The map would lead nowhere, or leave a room out."""
    (tree,) = blocks(page("code"), "text")
    inside = re.findall(r"(?<![\w/])(\w+(?:\.py|/))", tree)
    roots = [ROOT / name for name in ("rayal", "jobs", "configs", "docs", "tests")]
    files = [*roots, *(path for root in roots for path in root.rglob("*"))]
    rooms = [name for name in ORDER if (ROOT / "rayal" / name).is_dir()]

    assert [] == [name for name in inside if not any(path.match(name) for path in files)]
    assert [] == [room for room in rooms if f"\n  {room}/" not in tree]


def test_every_link_in_the_repository_leads_somewhere() -> None:
    """A page read as a file, without the site, would send its reader into nothing."""
    made = ("methods/", "reference/", "changes.md", "tutorials/")
    broken = []
    for file in [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
            target = (file.parent / link).resolve()
            if not target.exists() and not str(target).startswith(
                tuple(str(DOCS / each) for each in made)
            ):
                broken.append(f"{file.name}: {link}")

    assert not broken
