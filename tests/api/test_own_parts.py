"""Parts that a notebook or a script defines itself, in `__main__`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.experiment import config
from rayal.experiment.sources import plugin_sources
from rayal.parts import build, find
from rayal.plugins import Plugins
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.find_records import find_records
from tests.support.copied_command import CopiedCommand, undrawn_script
from tests.support.notebook import SCRIPT, Cell, notebook, own_parts
from tests.support.whole_runs import outcome


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with notebook(tmp_path) as run:
        yield run


@pytest.fixture
def own(cell: Cell) -> dict[str, Any]:
    return own_parts(cell)


def script(*words: object) -> tuple[int | None, str]:
    """How the script ends, in a process of its own, and what it says then."""
    process = CopiedCommand([SCRIPT, *words], SCRIPT.parent, work=undrawn_script)
    err = process.communicate(timeout=100)[1]
    return process.returncode, err


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that a script began, and that was stopped in the middle."""
    out = tmp_path_factory.mktemp("script") / "run"
    code, err = script(out, 1)
    assert 1 == code and "KeyboardInterrupt" in err, err
    return out


def test_the_same_script_continues(stopped: Path, own: Any, undrawn: None, tmp_path: Path) -> None:
    """A run that began in a notebook could end there only, or would choose something else."""
    code, err = script(stopped)
    assert 0 == code, err
    here = rayal.run(own["own_experiment"](), tmp_path / "run")
    again = rayal.run(own["own_experiment"](), stopped)

    assert outcome(stopped) == outcome(Path(here.url))
    assert again.complete and ["__main__.Surprise"] == [*again.scores(0).columns]
    assert [1.0] * 20 == [*again.labels()["cost"]]


def test_who_lacks_the_classes_reads_what_needs_none(stopped: Path) -> None:
    """The run of a notebook that is closed would be lost for reports."""
    (row,) = status_rows([str(stopped.parent)])
    (group,) = summarise(find_records([str(stopped)])).groups
    run = rayal.open_run(stopped)

    assert row["metric"] == "accuracy" and "__main__.Surprise" == group.arms[0].strategy
    assert "own: __main__.Surprise, seed 0" in repr(run)
    assert 10 == len(run.chosen(0)) and len(run.curve()) and len(run.labels())
    with pytest.raises(rayal.UsageError, match="'__main__.Tiny' is a class of a notebook") as told:
        run.model()
    assert "weights.safetensors is of a model that cannot be read here" in str(told.value)
    with pytest.raises(rayal.UsageError, match="experiment.yaml.*'__main__.Surprise' is a class"):
        assert run.experiment


def test_the_ways_out(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a class that is not here must help who reads it."""
    code = "import rayal\n\nclass Mine(rayal.Strategy):\n    k: int = 1\n"
    with pytest.raises(rayal.UsageError, match="run its definition first, or put it into a file"):
        build("strategies", {"name": "__main__.Mine", "k": 2})
    cell(code)
    assert 2 == build("strategies", {"name": "__main__.Mine", "k": 2}).k
    (tmp_path / "of_a_notebook").mkdir()
    (tmp_path / "of_a_notebook" / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    plugins = Plugins(["of_a_notebook"])
    assert 3 == build("strategies", {"name": "of_a_notebook.mine", "k": 3}, plugins).k


@pytest.mark.parametrize("name", ["__main__.os", "__main__.os.system", "__main__.", "__main__.x"])
def test_only_parts_are_found(cell: Cell, name: str) -> None:
    """A file could name anything that the process has imported."""
    cell("import os, rayal\nfrom rayal.strategies.cod import Cod as x\n")
    with pytest.raises(rayal.UsageError, match="is a class of a notebook"):
        find("strategies", name)


def test_only_parts_of_the_kind_are_found(own: Any) -> None:
    """A model where a strategy belongs would fail in the middle of a run."""
    with pytest.raises(rayal.UsageError, match="__main__.Tiny is no part for strategies: Tiny is"):
        find("strategies", "__main__.Tiny")


def test_several_parts_have_their_own_names(own: Any) -> None:
    """Two of one name would share a column, a folder and a seed."""
    x = own["own_experiment"]()
    names = [part.part_name() for part in (x.strategy, *x.observers, x.model, x.dataset, x.oracle)]

    assert ["Surprise", "Last", "Tiny", "Blobs", "Friend"] == [n.split(".")[1] for n in names]
    assert x == config.resolved(x.model_dump(mode="json"))


def test_the_last_definition_counts(cell: Cell, own: Any) -> None:
    """A cell that was changed and run again would do what it did before."""
    before = own["own_experiment"]()
    digests = plugin_sources(before)
    cell(
        "class Surprise(rayal.Strategy):\n"
        "    needs = frozenset({'probs'})\n"
        "    power: float = 1.0\n"
        "    def score(self, s):\n"
        "        return s.probs.min(dim=1).values\n"
    )
    x = own["own_experiment"]()

    assert type(x.strategy) is own["Surprise"] is find("strategies", "__main__.Surprise")
    changed = {name for name, digest in plugin_sources(x).items() if digests[name] != digest}
    assert {"__main__.Surprise"} == changed


def test_data_of_a_notebook_is_told_apart_by_what_it_holds(cell: Cell, own: Any) -> None:
    """The store of another notebook with a class of the same name would be taken for it."""
    first = own["Blobs"]().fingerprint()
    assert first == own["Blobs"]().fingerprint()
    cell(
        "class Blobs(Blobs):\n"
        "    def source(self):\n"
        "        source = super().source()\n"
        "        source.pool.images[3] ^= 1\n"
        "        return source\n"
    )

    assert first != own["Blobs"]().fingerprint()
