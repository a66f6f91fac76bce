"""What a run was made with: recorded for every attempt, compared when it goes on."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.engine import local
from rayal.engine.local import LocalEngine
from rayal.errors import ClusterError, LockedError, RayalError, StorageError
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.plugins import NO_PLUGINS, Plugins, source_digest
from rayal.report.status import status_rows
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.attempts import HISTORY, attempts, begin
from rayal.workflows.run import start_run
from tests.support.whole_runs import go, outcome, sixty, stopped_at

STRATEGY = """
from rayal.strategies.base import Strategy

class Mine(Strategy):
    needs = frozenset({"probs"})

    def score(self, s):
        return s.probs[:, %d]
"""


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Experiment]) -> Callable[..., Experiment]:
    def build(**fields: Any) -> Experiment:
        compute = fields.pop("compute", {})
        scheme = {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05}
        x = sixty(tiny, 256, scheme=scheme, strategy=fields.pop("strategy", "entropy"))
        changed = {"compute": {**x.compute.model_dump(), **compute}, **fields}
        return Experiment.model_validate({**x.model_dump(mode="json"), **changed})

    return build


@pytest.fixture(scope="module")
def half(small: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_at(small(), tmp_path_factory.mktemp("half"), 1, "train")


@pytest.fixture
def begun(half: Path, tmp_path: Path) -> Path:
    """A run that stopped in its second cycle, with one thread."""
    return Path(shutil.copytree(half, tmp_path / "begun"))


def test_every_attempt_is_recorded(small: Callable[..., Experiment], begun: Path) -> None:
    """What a run was made with would be what it was looked at with last."""
    go(small(), begun)
    first, second = attempts(Folder(begun))
    before = (begun / HISTORY).read_bytes()
    go(small(), begun)  # it is complete

    assert [1, 2] == [first["attempt"], second["attempt"]]
    assert ("cpu", 1, 45) == (second["device"], second["threads"], second["total"])
    assert before == (begun / HISTORY).read_bytes()


def test_other_threads_are_refused(small: Callable[..., Experiment], begun: Path) -> None:
    """16 of 20 picks of a run were others after it went on with another number of threads."""
    with pytest.raises(LockedError, match="with 1 thread on a CPU, .* with 2 threads") as told:
        go(small(compute={"cpus_per_worker": 2}), begun)

    assert 6 == told.value.exit_code
    assert "set compute.cpus_per_worker=1, or use" in str(told.value)
    assert 1 == len(attempts(Folder(begun)))
    go(small(compute={"cpus_per_worker": 1}), begun)


@pytest.mark.parametrize(
    ("made", "step"),
    [("cpu", "set CUDA_VISIBLE_DEVICES= in the environment"), ("cuda", "go on where there is a G")],
)
def test_another_device_is_refused(
    small: Callable[..., Experiment],
    begun: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: str,
    step: str,
) -> None:
    """Half of the choices would have other last bits; and compute.device=cpu is another run."""
    folder = Folder(begun)
    (first,) = attempts(folder)
    folder.write_sealed(HISTORY, {"attempts": [first | {"device": made}]})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0" if made == "cpu" else "")
    monkeypatch.setattr(
        local, "local_device", lambda _: "cuda" if os.environ["CUDA_VISIBLE_DEVICES"] else "cpu"
    )
    with pytest.raises(LockedError, match=f"{step}.*, or use another --out"):
        go(small(), begun)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "" if made == "cpu" else "0")
    with start_run(small(), str(begun)) as opened:
        begin(opened.x, opened.ledger, local.LocalEngine(opened.x.compute), NO_PLUGINS)
    assert [made, made] == [each["device"] for each in attempts(folder)]


def test_what_was_refused_has_not_grown(small: Callable[..., Experiment], begun: Path) -> None:
    """After a larger budget was refused for another reason the run would not go on with its own."""
    larger = {"initial": 15, "per_cycle": 15, "total": 60}
    with pytest.raises(LockedError, match="2 threads"):
        go(small(compute={"cpus_per_worker": 2}, budget=larger), begun)
    go(small(), begun)


def test_what_no_model_decides_only_warns(
    small: Callable[..., Experiment], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A random choice is the same on any machine; the metrics may differ by a bit."""
    out = stopped_at(small(strategy="random"), tmp_path, 1, "train")
    go(small(strategy="random", compute={"cpus_per_worker": 2}), out)

    assert "(there -> here): 1 thread on a CPU -> 2 threads on a CPU; what comes" in caplog.text


def test_nothing_was_computed_yet(small: Callable[..., Experiment], tmp_path: Path) -> None:
    """A run that a machine without memory could not begin would be tied to that machine."""
    out = stopped_at(small(), tmp_path, 0, "train")
    go(small(compute={"cpus_per_worker": 2}), out)

    assert [1, 2] == [each["threads"] for each in attempts(Folder(out))]


def test_other_versions_are_told(
    small: Callable[..., Experiment], begun: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a curve would be of another torch, and nobody would know."""
    folder = Folder(begun)
    (first,) = attempts(folder)
    old = {**first, "versions": {**first["versions"], "torch": "1.0"}}
    folder.write_sealed(HISTORY, {"attempts": [old]})
    go(small(), begun)

    assert "(there -> here): torch 1.0 -> " in caplog.text
    assert [old] == attempts(folder)[:1]


def test_what_an_older_rayal_left(
    small: Callable[..., Experiment], begun: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It wrote the versions of the last attempt alone."""
    folder = Folder(begun)
    folder.remove(HISTORY)
    folder.write_json("environment.json", {"python": "3.11", "versions": {"torch": "1.0"}})
    kept = folder.read("environment.json")
    go(small(), begun)

    assert "torch 1.0 -> " in caplog.text
    assert kept == folder.read("environment.json")


def test_a_damaged_history_and_its_way_out(small: Callable[..., Experiment], begun: Path) -> None:
    """The way out would lose the run."""
    (begun / HISTORY).write_text((begun / HISTORY).read_text().replace("cpu", "cpv"))
    with pytest.raises(StorageError, match="history.json is damaged.* or delete it"):
        go(small(), begun)
    (begun / HISTORY).unlink()
    go(small(), begun)


def test_a_changed_plugin_is_told(
    small: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run would choose by two formulas, and its folder would know of one; or the results of the
    first would pass for those of the second, where the run was complete."""
    package = tmp_path / "attempted_plugin"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mine.py").write_text(STRATEGY % 0)
    monkeypatch.syspath_prepend(tmp_path)
    fields = small().model_dump(mode="json") | {"strategy": "attempted_plugin.mine"}
    x = Experiment.model_validate(fields, context=Plugins(["attempted_plugin"]))
    out = stopped_at(x, tmp_path / "run", 1, "train")
    (package / "mine.py").write_text(STRATEGY % 1)
    go(x, out)
    first, second = (made["plugins"]["attempted_plugin"] for made in attempts(Folder(out)))
    told = caplog.text
    caplog.clear()
    go(x, out)
    assert "" == caplog.text  # it was finished by what is here
    (package / "mine.py").write_text(STRATEGY % 2)
    go(x, out)
    third = source_digest("attempted_plugin")
    assert third is not None and 2 == len(attempts(Folder(out)))
    done = f"the source of attempted_plugin {second[:12]} -> {third[:12]}; its results stay as they"
    assert "is complete, and was made with something else" in caplog.text and done in caplog.text
    caplog.clear()
    go(x, tmp_path / "anew")
    assert "" == caplog.text
    for name in ("attempted_plugin", "attempted_plugin.mine"):
        del sys.modules[name]

    change = f"the source of attempted_plugin {first[:12]} -> {second[:12]}"
    assert change in told
    assert (None, None) == (source_digest("no_such_module"), source_digest("sys"))


def test_a_finished_run_is_extended(small: Callable[..., Experiment], tmp_path: Path) -> None:
    """Whoever can pay for more labels would have to begin again."""
    budget = {"initial": 15, "per_cycle": 15}
    for total in (30, 60):
        go(small(budget={**budget, "total": total}), tmp_path / "grown")
    go(small(budget={**budget, "total": 60}), tmp_path / "whole")

    assert outcome(tmp_path / "whole") == outcome(tmp_path / "grown")
    assert [30, 60] == [made["total"] for made in attempts(Folder(tmp_path / "grown"))]
    for changed, difference in (
        ({**budget, "total": 45}, "budget.total: 60 -> 45"),
        ({**budget, "total": 60, "per_cycle": 20}, "budget.per_cycle: 15 -> 20"),
    ):
        with (
            pytest.raises(LockedError, match=difference),
            start_run(small(budget=changed), str(tmp_path / "grown")),
        ):
            pass


@pytest.mark.parametrize("refused", ["by its threads", "by its engine"])
def test_an_extension_that_is_refused_leaves_a_run_complete(
    small: Callable[..., Experiment], tmp_path: Path, refused: str
) -> None:
    """A finished run would count as crashed or unfinished, in every report too."""
    budget = {"initial": 15, "per_cycle": 15}
    go(small(budget={**budget, "total": 30}), tmp_path)
    kept = {name: (tmp_path / name).read_bytes() for name in ("experiment.yaml", "identity.json")}
    x = small(budget={**budget, "total": 45})

    def fails(compute: Any) -> Any:
        if refused == "by its engine":
            raise ClusterError("no room")
        return LocalEngine(small(compute={"cpus_per_worker": 2}).compute)

    with pytest.raises(RayalError, match="no room|go on with 2 threads"):
        go(x, tmp_path, engine=fails)  # type: ignore[arg-type]
    (row,) = status_rows([str(tmp_path)])

    assert ("complete", 30, "") == (row["state"], row["labels"], row["message"])
    assert not (tmp_path / "ended.json").exists()
    assert kept == {name: (tmp_path / name).read_bytes() for name in kept}

    go(x, tmp_path)
    (row,) = status_rows([str(tmp_path)])

    assert ("complete", 45) == (row["state"], row["labels"])
    assert 45 == Record(Folder(tmp_path)).budget().total


def test_what_a_smaller_total_cut_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Costs would be shown that never were, or a curve pass for one of the larger budget."""
    clicks = Budget(initial=10, per_cycle=20, total=100, unit="clicks")
    for before in (10, 30, 90):
        clicks.check_growth(before)
    with pytest.raises(LockedError, match="cut by budget.total 45, .* totals such as 30"):
        clicks.check_growth(45)
    assert "" == caplog.text
    with caplog.at_level(logging.WARNING):
        Budget(initial=10, per_cycle=20, total=100).check_growth(45)

    assert "cut by budget.total 45: it is smaller" in caplog.text
