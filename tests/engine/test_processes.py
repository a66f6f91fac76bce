"""Trials of a sweep in processes of this machine: each once, whatever dies."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle.first_units import first_units
from rayal.engine import machine
from rayal.engine.forks import Forks
from rayal.engine.local import LocalEngine
from rayal.engine.processes import TrialProcesses, importing, suffices
from rayal.errors import ClusterError, DataError
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.settings import Sweep, SweptExperiment
from rayal.experiment.sweep.trials import Assignment
from rayal.plugins import Plugins
from rayal.workflows.sweep.sweeping import start_sweep
from rayal.workflows.sweep.trial import run_trial
from tests.support.doubles import Silent
from tests.support.forks import started
from tests.support.killed_run import PLUGINS as FOLDER

PLUGINS = Plugins(["faulty"])
SMALL = {
    "dataset": {"name": "digits", "limit_pool": 60, "limit_test": 20},
    "model": {"name": "small_cnn", "width": 4},
    "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    "budget": {"initial": 20, "per_cycle": 20, "total": 40},
}


@pytest.fixture(autouse=True)
def nobody_names_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def swept(tiny: Callable[..., Any]) -> Callable[..., SweptExperiment]:
    def build(strategies: list[Any], **settings: Any) -> SweptExperiment:
        x = tiny(strategy="random", **SMALL)
        space = {"strategy": {"grid_search": strategies}}
        sweep = {"seeds": [0], "space": space, "control": None, **settings}
        fields = {**x.model_dump(mode="json"), "sweep": sweep}
        return SweptExperiment.model_validate(fields, context=PLUGINS)

    return build


def no_cluster() -> Any:
    raise AssertionError("a cluster was started")


def run(x: SweptExperiment, out: Path) -> Any:
    with (
        importing(x.sweep, x.compute, None) as forks,
        start_sweep(x, str(out), plugins=PLUGINS) as opened,
    ):
        return opened.run(no_cluster, Silent(), forks)


def deadly(swept: Any, marker: Path, deaths: int) -> dict[str, Any]:
    """A strategy that kills the process that scores a unit which is not labeled at first."""
    x = swept(["random"])
    store = x.dataset.open()
    first = first_units(x, store)
    unit = next(unit for unit in store.pool.ids() if unit not in first)
    return {"name": "faulty.dies_scoring", "unit": unit, "marker": str(marker), "deaths": deaths}


def endings(out: Path) -> dict[str, bytes]:
    """All picks, all weights, and the table."""
    kinds = ("select/chosen.csv", "train/weights.safetensors")
    files = [file for kind in kinds for file in out.glob(f"trials/*/cycle-*/{kind}")]
    found = {str(file.relative_to(out)): file.read_bytes() for file in files}
    return {**found, "tables": (out / "tables.md").read_bytes()}


def test_trials_are_those_of_one_process(swept: Any, tmp_path: Path) -> None:
    """A study would depend on how many processes share it."""
    x = swept(["random", "entropy"], seeds=[0, 1])
    with start_sweep(x, str(tmp_path / "a")) as sweep:
        for trial in sweep.todo:
            run_trial(
                sweep.fields,
                str(tmp_path / "a"),
                x.sweep.objective,
                Assignment(trial.arm, trial.experiment.seed),
                lambda: nullcontext(LocalEngine(x.compute)),
                lambda cycle, value: None,
            )
    with start_sweep(x, str(tmp_path / "a")) as complete:
        alone = complete.run(no_cluster, Silent())
    together = run(x, tmp_path / "b")

    assert (4, 4, 2) == (together.complete, together.trials, together.shared)
    assert alone.complete == 4 and endings(tmp_path / "a") == endings(tmp_path / "b")


def test_a_process_that_dies_is_replaced_and_an_error_is_told(swept: Any, tmp_path: Path) -> None:
    """The kernel ends a process that takes too much memory: its trial, and those after it, would
    be lost. And the cause of a failure would be in a file that nobody reads."""
    dies = deadly(swept, tmp_path / "died", deaths=1)
    space = {"strategy": {"grid_search": [dies]}, "scheme": {"lr": {"grid_search": [0.05, 1e30]}}}
    with pytest.raises(DataError, match="1 of 2 trials failed.*lower scheme.lr"):
        run(swept([], space=space, concurrent=1), tmp_path / "out")

    assert "x" == (tmp_path / "died").read_text()
    assert 1 == len([*(tmp_path / "out/trials").glob("*/cycle-001/evaluate/done.json")])


@pytest.mark.slow
def test_a_process_that_dies_at_every_try(swept: Any, tmp_path: Path) -> None:
    """A sweep would never end, or end without the others."""
    dies = deadly(swept, tmp_path / "died", deaths=9)
    x = swept([dies, "random"], max_failures=1, concurrent=1)
    with pytest.raises(ClusterError, match="1 of 2 trials failed.*was killed too often; add mem"):
        run(x, tmp_path / "out")

    assert "xx" == (tmp_path / "died").read_text()
    assert 1 == len([*(tmp_path / "out/trials").glob("random*/cycle-001/evaluate/done.json")])


def command(fields: str, out: str) -> None:
    """The sweep, in a process of its own."""
    sys.path.insert(0, str(FOLDER))
    run(SweptExperiment.model_validate(json.loads(fields), context=PLUGINS), Path(out))


def below(pid: int) -> list[int]:
    """The processes that one has started, and theirs."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for each in tasks for child in (each / "children").read_text().split()]
    return [*children, *(each for child in children for each in below(child))]


@pytest.mark.parametrize(
    "sign", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_no_process_outlives_the_command(swept: Any, tmp_path: Path, sign: int) -> None:
    """A trial would go on unseen, and its folder be locked for the command that continues it."""
    gate = tmp_path / "gate"
    gate.touch()
    x = swept([{"name": "faulty.waits", "gate": str(gate)}, "entropy"], concurrent=1)
    process = started(command, x.model_dump_json(), str(tmp_path / "out"))
    for _ in range(12000):
        if Path(f"{gate}.reached").exists():
            break
        time.sleep(0.01)
    its_own = below(process.pid)
    os.kill(process.pid, sign)
    process.join()
    for _ in range(1000):
        alive = [pid for pid in its_own if Path(f"/proc/{pid}/cmdline").exists()]
        if not alive:
            break
        time.sleep(0.01)
    gate.unlink()
    found = run(x, tmp_path / "out")

    assert 2 == len(its_own) and [] == alive
    assert (2, 2) == (found.complete, found.trials)


def test_when_processes_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that was named would stand idle, or trials on it be promised what only it has."""
    local, space = Compute(engine="local"), {"seed": {"grid_search": [1]}}
    sweep = Sweep(space=space)

    assert suffices(sweep, local, None) and suffices(sweep, local, "local")
    assert not suffices(sweep, local, "10.0.0.1:6379")
    assert not suffices(sweep, Compute(), None)
    assert not suffices(sweep.model_copy(update={"gpus": 0.5}), local, None)
    assert not suffices(Sweep(space=space, early_stopping={}), local, None)
    drawn = Sweep(space={"seed": {"choice": [1]}}, search="optuna")
    assert not suffices(drawn, local, None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert not suffices(sweep, local, None)


def test_a_trial_larger_than_the_machine(swept: Any, tmp_path: Path) -> None:
    """It would wait for ever."""
    x = swept(["random"], cpus=machine.cores() + 1)

    with pytest.raises(ClusterError, match=r"a trial takes .* cores \(sweep.cpus\).*lower it"):
        run(x, tmp_path)


class Told:
    """A watcher: what became of the trials."""

    def __init__(self) -> None:
        self.errors = list[Any]()

    def on_cycle(self, assignment: Assignment, cycles: int) -> None:
        raise RuntimeError("the folder of the sweep is gone")

    def on_end(self, assignment: Assignment, error: Any) -> None:
        self.errors.append(error)


def processes(work: Any, watcher: Any, seeds: Sequence[int], **settings: Any) -> None:
    """Does the work, which needs no library, as the trials of these seeds."""
    sweep = Sweep(space={"seed": {"grid_search": [1]}}, max_failures=0, **settings)
    local = Compute(engine="local")
    with Forks(["rayal.engine.trial_process"]) as forks:
        made = TrialProcesses(sweep, local, work, watcher, forks)
        made.run([Assignment({}, seed) for seed in seeds])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[str]]:
    """The errors of four trials, and what was warned of: the first two die, the next two warn, in
    a folder whose files have names of Python's modules."""
    folder, watcher, warned = tmp_path_factory.mktemp("named"), Told(), list[str]()

    def work(trial: Assignment, *_: Any) -> None:
        import logging

        if trial.seed > 1:
            logging.getLogger("rayal.training").warning("100%% of %s", "nothing")
            return
        print("the licence server is away", file=sys.stderr, flush=True)
        if trial.seed:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)

    for name in ("queue", "random", "logging"):
        (folder / f"{name}.py").write_text("raise SystemExit('not Python's')")
    listens = logging.Handler()
    listens.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rayal.training")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(logger, "handlers", [*logger.handlers, listens])
        processes(work, watcher, range(4), concurrent=1)
    return watcher.errors, warned


def test_files_of_the_working_folder_are_no_modules(told: Any) -> None:
    """A file queue.py beside the experiments would end every trial before it begins."""
    errors, _ = told

    assert [None, None] == errors[2:]


def test_a_death_says_what_is_known_of_it(told: Any) -> None:
    """Memory would be bought for what a lack of memory did not do."""
    errors, _ = told
    away = ": the licence server is away"

    assert [
        f"the process of the trial died too often (exit code 3){away}",
        f"the process of the trial was killed too often{away}; add memory, or lower"
        " sweep.concurrent",
    ] == [error["message"] for error in errors[:2]]


def test_warnings_of_trials_are_shown_once(told: Any) -> None:
    """What a run alone says, that its augmentation is of no use, a sweep would keep to itself."""
    _, warned = told

    assert ["100% of nothing"] == warned


def test_a_watcher_that_fails_ends_the_trials() -> None:
    """The command would wait for hours before it says what is wrong."""

    def work(trial: Assignment, _: Any, report: Any) -> None:
        if not trial.seed:
            report(1, 0.5)
        time.sleep(60)

    begun = time.monotonic()
    with pytest.raises(RuntimeError, match="the folder of the sweep is gone"):
        processes(work, Told(), range(3))

    assert 30 > time.monotonic() - begun
