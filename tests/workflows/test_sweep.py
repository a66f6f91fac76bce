"""A sweep and its folder: what may change between two commands, and what its trials are."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rayal
from rayal.errors import LockedError, UsageError
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Assignment
from rayal.runs.events import Event
from rayal.storage.folder import Folder
from rayal.storage.local_files import temporary_name
from rayal.workflows.plan.sweep import make_sweep
from rayal.workflows.sweep.progress import Progress
from rayal.workflows.sweep.sweeping import Sweeping, start_sweep
from tests.support.finished_sweep import finish as trials
from tests.support.finished_sweep import work

ARMS = {"strategy": {"grid_search": ["random", "entropy"]}}
SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "limit_pool": 60, "limit_test": 20},
    "model": {"name": "small_cnn", "width": 4},
    "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    "budget": {"initial": 20, "per_cycle": 20, "total": 20},
    "strategy": "random",
}

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def swept(tiny: Callable[..., Any]) -> Callable[..., SweptExperiment]:
    def build(space: Any = ARMS, sweep: Any = None, **fields: Any) -> SweptExperiment:
        x = tiny(**{**SMALL, **fields}).model_dump(mode="json")
        block = {"seeds": [0], "space": space, **(sweep or {})}
        return SweptExperiment.model_validate({**x, "sweep": block})

    return build


@pytest.fixture(scope="module")
def done(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two arms and one seed, whose trials ran in this process."""
    out = tmp_path_factory.mktemp("sweep")
    x = tiny(**SMALL).model_dump(mode="json")
    trials(SweptExperiment.model_validate({**x, "sweep": {"seeds": [0], "space": ARMS}}), out)
    return out


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "sweep"))


def test_the_same_sweep_goes_on(swept: Any, out: Path) -> None:
    """Where trials run, what is looked at and how arms are spelt decide nothing."""
    spelt = {"strategy": {"grid_search": ["entropy", {"name": "random"}]}}
    again = swept(spelt, {"cpus": 2, "max_failures": 0, "objective": "final"}, tracking="none")
    with start_sweep(again, str(out)) as sweep:
        assert (2, 0, 2) == (sweep.total, sweep.left, sweep.found().complete)


def test_a_sweep_grows(swept: Any, out: Path) -> None:
    """Seeds and arms that come later join those that are there, and from then on belong to it."""
    wider = {"strategy": {"grid_search": ["random", "entropy", "margin"]}}
    with start_sweep(swept(wider, {"seeds": [0, 1]}), str(out)) as sweep:
        assert (6, 4) == (sweep.total, sweep.left)
    with pytest.raises(LockedError, match=r"sweep.seeds: \[0, 1\] -> \[0\]"):
        Sweeping(swept(wider), sweep.folder).check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scheme": {**SMALL["scheme"], "epochs": 3}}, "scheme.epochs: 1 -> 3"),
        ({"name": "other"}, 'name: "tiny" -> "other"'),
        ({"compute": {"engine": "local", "score_batch": 8}}, "compute.score_batch: 256 -> 8"),
        ({"sweep": {"seed": 1}}, "sweep.seed: 0 -> 1"),
        ({"sweep": {"early_stopping": {}}}, "sweep.early_stopping"),
        ({"sweep": {"seeds": [1]}}, r"sweep.seeds: \[0\] -> \[1\]"),
        (
            {"space": {"strategy": {"grid_search": ["random"]}}},
            "without 1 of the 2 arms that are there, the first is strategy=entropy",
        ),
        ({"space": {"start": {"grid_search": ["cold"]}}}, "without 2 of the 2 arms"),
    ],
)
def test_another_sweep_is_refused(
    swept: Any, out: Path, tmp_path: Path, changes: Any, said: str
) -> None:
    """Its trials would be taken for those that are there: old numbers under new settings."""
    before = sorted(path for path in out.rglob("*") if path.is_file())
    with pytest.raises(LockedError, match=said) as refused:
        start_sweep(swept(**changes), str(out)).__enter__()

    assert 6 == refused.value.exit_code and "use another --out" in str(refused.value)
    assert before == sorted(path for path in out.rglob("*") if path.is_file())
    with start_sweep(swept(**changes), str(tmp_path / "another")):
        pass
    with start_sweep(swept(), str(out)):  # the values that are there
        pass


def test_other_data_of_the_same_name_is_refused(swept: Any, out: Path) -> None:
    """A complete trial is not opened again, so nobody else would notice."""
    sweep = Sweeping(swept(), Folder(out))
    first = sweep.listed[0]
    identity = {**first.experiment.identity(), "data": "of another folder"}
    (sweep.folder / "trials" / first.folder).write_sealed("identity.json", identity)
    with pytest.raises(LockedError, match='data: "of another folder" -> .*; use another --out'):
        sweep.check()
    Sweeping(swept(), Folder(out / "another")).check()


def test_a_sweep_of_an_earlier_rayal_is_refused(swept: Any, out: Path) -> None:
    """Its trials have other names: all would run again, and be counted twice."""
    (out / "identity.json").unlink()
    with pytest.raises(LockedError, match="of an earlier rayal.*use another --out"):
        Sweeping(swept(), Folder(out)).check()
    Sweeping(swept(), Folder(out / "another")).check()


def test_runs_of_others_are_neither_counted_nor_shown(
    swept: Any, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that was copied in, or made by hand, would be an arm of the table."""
    first = next((out / "trials").iterdir())
    shutil.copytree(first, out / "trials" / "cod-supervised-00000000-seed0")
    with start_sweep(swept(), str(out)) as sweep:
        found = sweep.found()

    assert (2, 2, 2) == (found.complete, found.trials, len(sweep.records()))
    assert "left out 1 run in" in caplog.text and "cod-supervised-00000000-seed0" in caplog.text


def test_two_spellings_are_one_arm(
    swept: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would run twice, and the table be refused when all is computed."""
    x = swept({"strategy": {"grid_search": ["random", {"name": "random"}]}})
    found = trials(x, tmp_path)

    assert (1, 1) == (found.complete, found.trials)
    assert "1 arm is the same experiment as another and left out" in caplog.text
    assert 'first: {"strategy": {"name": "random"}} is {"strategy": "random"}' in caplog.text


@pytest.mark.parametrize(
    ("space", "labels"),
    [
        ({"compute": {"score_batch": {"grid_search": [16, 8]}}}, ["score_batch=8", "16"]),
        ({"observers": {"grid_search": [[], ["margin"]]}}, ["observers=[]", "observers=margin"]),
        ({"compute": {"scorers": {"grid_search": [1, 2]}}}, ["random"]),
        ({"max_bad": {"grid_search": [1, 2]}}, ["random"]),
    ],
)
def test_every_sweep_ends_with_a_table(
    swept: Any, tmp_path: Path, space: Any, labels: list[str]
) -> None:
    """What identity counts tells arms apart there, and what it does not is no arm of its own."""
    ((found,), table) = (each := trials(swept(space), tmp_path)).summary.groups, each.summary

    assert len(labels) == len(found.arms) == each.complete
    assert all(part in arm.label for part, arm in zip(labels, found.arms, strict=True))
    assert table.to_markdown()


def test_two_folders_with_the_same_data_are_refused(swept: Any, tmp_path: Path) -> None:
    """Nothing would tell the arms apart but the name of a folder."""
    for place in "ab":
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                folder = tmp_path / place / split / name
                folder.mkdir(parents=True)
                for number in range(12):
                    image = photograph(number + 100 * (name == "dog") + 1000 * (split == "test"))
                    (folder / f"{number}.png").write_bytes(image)
    dataset = {"name": "image_folder", "root": str(tmp_path / "a"), "size": 16}
    roots = [str(tmp_path / place) for place in "ab"]
    x = swept({"dataset": {"root": {"grid_search": roots}}}, dataset=dataset)
    with pytest.raises(UsageError, match="/a and dataset.root=.*/b hold the same; leave one out"):
        Sweeping(x, Folder(tmp_path / "sweep")).check()
    one = swept({"dataset": {"root": {"grid_search": roots[:1]}}}, dataset=dataset)
    Sweeping(one, Folder(tmp_path / "sweep")).check()


def photograph(seed: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


def test_what_a_sweep_remembers_is_sealed(swept: Any, out: Path) -> None:
    """A flipped bit would let another sweep in, or refuse the same one."""
    recorded = json.loads((out / "identity.json").read_text())

    assert ["strategy=random", "strategy=entropy"] == [*recorded["arms"].values()]
    assert "sha256" in recorded


class Told:
    """Keeps what a sweep tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)


def test_a_folder_that_is_no_sweep_is_not_swept(swept: Any, tmp_path: Path) -> None:
    """A run of another command that is at work below would lose the file that it writes."""
    there = tmp_path / "runs" / temporary_name()
    there.parent.mkdir()
    there.touch()
    for expected in (True, False):  # the second time it is a sweep, and all below is its own
        with start_sweep(swept(), str(tmp_path)):
            assert expected == there.exists()


def test_how_far_a_sweep_is(swept: Any, tmp_path: Path) -> None:
    """Cycles of all trials, those of an earlier attempt included, by what each of them costs."""
    budget = {"initial": 10, "per_cycle": 10, "total": 30}
    x, told = swept(sweep={"seeds": [0, 1]}, budget=budget), Told()
    with start_sweep(x, str(tmp_path)) as sweep:
        first, second, *_ = (Assignment(t.arm, t.experiment.seed) for t in sweep.listed)
        work(sweep, first)
        progress = Progress(sweep, sweep.ended, told)
        progress.on_cycle(second, 1)
        progress.on_cycle(second, 1)
        work(sweep, second)
        progress.on_end(second, None)
        for _ in range(2):  # as with early stopping, where each tells again what it has reached
            progress.on_end(first, None)
        progress.on_end(Assignment({"strategy": "codd"}, 0), {"message": "no", "error": "X"})
    counts = [(each.done, each.total) for each in told.events if each.what == "further"]
    shares = [each.share for each in told.events if each.what == "further"]
    ended = [each for each in told.events if each.what == "ended"]

    assert [(3, 12), (4, 12), *[(6, 12)] * 4] == counts
    # 3 x (1 step of 10 + 2 of 16 + 2 of 16) + 3 x 20 images; of entropy also the pool, twice
    random, entropy = 3 * 74 + 60, 3 * 74 + 60 + 50 + 40
    total = 2 * (random + entropy)
    assert shares[0] == pytest.approx(random / total)
    assert shares[1] == pytest.approx((random + 30 + 20 + 50) / total)
    assert shares[2] == pytest.approx((random + entropy) / total)
    assert [(2, 4)] * 3 + [(3, 4)] == [(each.done, each.total) for each in ended]
    assert ended[0].note.startswith("strategy=entropy seed=0: accuracy ")
    assert ended[-1].note == "strategy=codd seed=0: failed: no"


SEARCH = {"search": "optuna", "samples": 3}
RATES = {"scheme": {"lr": {"loguniform": [0.01, 0.1]}}}


def test_a_search_goes_on_in_a_space_that_holds_what_is_there(
    swept: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An arm that lacks a field which is searched now ended in a traceback."""
    pytest.importorskip("optuna")
    with start_sweep(swept(RATES, SEARCH), str(tmp_path)) as sweep:
        work(sweep, Assignment({"scheme": {"lr": 0.02}}, 0))
        sweep.repeats()
    wider = {"scheme": {"lr": {"loguniform": [0.001, 0.1]}}}
    with start_sweep(swept(wider, SEARCH), str(tmp_path)) as sweep:
        assert (2, 1) == (sweep.total, sweep.left), "a draw of the same arm again was one"
        assert [{"scheme": {"lr": 0.02}}] == [trial.arm for trial in sweep.listed]
    more = {"scheme": {"lr": wider["scheme"]["lr"], "epochs": {"randint": [1, 3]}}}
    absent = r"sweep.space.scheme.epochs: \(absent\) -> "
    with pytest.raises(LockedError, match=absent):
        start_sweep(swept(more, SEARCH), str(tmp_path)).__enter__()

    for recorded in ("identity.json", "sweep.yaml"):  # trials that were copied from elsewhere
        (tmp_path / recorded).unlink()
    with start_sweep(swept(more, SEARCH), str(tmp_path)) as sweep:
        assert [] == sweep.listed == sweep.records()
    assert "left out 1 run in" in caplog.text


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"strategy": {"choice": ["random", "codd"]}}, "did you mean 'cod'"),
        ({"scheme": {"lr": {"uniform": [-2, -1]}}}, "scheme.lr=-1.5: .*greater than 0"),
        ({"scheme": {"rate": {"uniform": [0, 1]}}}, "there is no such key"),
        (
            {"candidates": {"choice": [30, 1000]}},
            "candidates=1000: candidates: 1000 is more than the 60 images",
        ),
    ],
)
def test_what_a_search_cannot_run_is_found_before(
    swept: Any, tmp_path: Path, space: Any, said: str
) -> None:
    """Trials would fail one by one, on a cluster that had to be started."""
    pytest.importorskip("optuna")
    with pytest.raises(UsageError, match=said):
        Sweeping(swept(space, SEARCH), Folder(tmp_path / "sweep")).check()


ALONE = {"strategy": {"grid_search": ["entropy"]}}


def test_random_is_run_beside_strategies(swept: Any, tmp_path: Path) -> None:
    """Nobody could tell whether a strategy helps: it has the same seeds and takes their first model
    from the shared training."""
    x = swept(ALONE, {"seeds": [0, 1]})
    with start_sweep(x, str(tmp_path)) as sweep:
        assert "sweep, with random as its control (2 trials more)" == sweep.control_note
    found = trials(x, tmp_path)
    (group,) = found.summary.groups

    assert (4, 4, 2) == (found.complete, found.trials, found.shared)
    assert {"entropy": [0, 1], "random": [0, 1]} == {
        arm.label: [run.seed for run in arm.runs] for arm in group.arms
    }
    assert [] == group.unpaired
    assert (4, 0) == (
        (plan := make_sweep(x, probe=False)).trials,
        make_sweep(swept(), probe=False).control,
    )
    assert "control random, 2 trials of these; sweep.control: null leaves it out" in str(plan)


def test_without_a_control(swept: Any, tmp_path: Path) -> None:
    """Whoever has random runs already, or none to spare."""
    x = swept(ALONE, {"control": None})
    with start_sweep(x, str(tmp_path)) as sweep:
        assert (1, "") == (sweep.total, sweep.control_note)
    assert "control" not in str(make_sweep(x, probe=False))
    with start_sweep(swept(ALONE), str(tmp_path)) as sweep:  # begun without: goes on without
        assert 1 == sweep.total


def test_a_sweep_of_before_goes_on_as_it_was(swept: Any, tmp_path: Path) -> None:
    """One that is complete would begin again with trials that nobody asked for, or be refused."""
    trials(swept(ALONE, {"control": None}), tmp_path)
    there = Folder(tmp_path).read_sealed("identity.json")
    assert "control" not in there["sweep"]  # as an earlier rayal wrote it
    written = (tmp_path / "sweep.yaml").read_text().replace("  control: null\n", "")
    (tmp_path / "sweep.yaml").write_text(written)
    opened = rayal.open_sweep(tmp_path)

    assert ["1 of 1 trials complete; 0 first trainings taken from another trial"] == (
        opened.lines()[:1]
    )
    for _ in range(2):
        with start_sweep(swept(ALONE), str(tmp_path)) as sweep:
            assert (1, 0) == (sweep.total, sweep.left)


def test_a_control_that_is_there_stays(swept: Any, tmp_path: Path) -> None:
    """It is an arm like any other: without it the table would be another one."""
    with start_sweep(swept(ALONE), str(tmp_path)):
        pass
    with pytest.raises(LockedError, match="without 1 of the 2 arms that are there"):
        Sweeping(swept(ALONE, {"control": None}), Folder(tmp_path)).check()
    named = {"strategy": {"grid_search": ["entropy", "random"]}}
    with start_sweep(swept(named), str(tmp_path)) as sweep:  # the same arms
        assert (2, []) == (sweep.total, sweep.control)


def test_trials_that_a_rule_ended_are_complete_until_it_changes(swept: Any, tmp_path: Path) -> None:
    """A sweep would never be complete, run its trials for ever, or refuse another rule; arms of
    different lengths are compared over the label counts that they share."""
    budget = {"initial": 20, "per_cycle": 10, "total": 50}
    stop = {"plateau": {"points": 100, "cycles": 1}}
    ended = trials(swept(stop=stop, budget=budget), tmp_path)
    (group,) = ended.summary.groups

    assert (ended.complete, ended.trials, group.shared) == (2, 2, [20, 30])
    assert any("2 of 2 runs ended by a rule of stop" in each for each in ended.summary.warnings)

    with start_sweep(swept(budget=budget), str(tmp_path)) as sweep:
        first, _ = sweep.todo
        work(sweep, Assignment(first.arm, 0))
        found = sweep.found()
        (group,) = found.summary.groups

        assert (len(sweep.todo), found.complete, group.shared) == (1, 2, [20, 30])
        assert sorted(len(arm.labels) for arm in group.arms) == [2, 4]
    with pytest.raises(UsageError, match="sweep.space.stop: cannot be varied"):
        trials(swept({"stop": {"target": {"grid_search": [0.5, 0.9]}}}), tmp_path / "other")
