"""rayal/cycle/keep.py: files of past cycles go when nothing reads them any more, and not before."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rayal
from rayal.cycle.keep import FITTED, KINDS, SHARDS, WEIGHTS, inputs, may_go, readers
from rayal.engine.local import LocalEngine
from rayal.errors import PrunedError
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import ORDER
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.testing.side import Outside
from rayal.workflows.run import start_run
from tests.support.doubles import Silent
from tests.support.whole_runs import (
    At,
    FinishedRuns,
    chosen,
    files_of,
    go,
    outcome,
    short,
    stopped_at,
)

CHOICES = ("all", "last", "none")
LARGE = (".safetensors", "trained.json")
FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits"},
    "model": {"name": "small_cnn", "width": 4},
    "scheme": {"name": "supervised", "epochs": 1},
    "budget": {"initial": 20, "per_cycle": 20, "total": 60},
    "tracking": "none",
}


def built(**fields: Any) -> Experiment:
    return Experiment.model_validate({**FIELDS, "strategy": "cod", **fields})


def large(out: Path) -> dict[str, set[str]]:
    """By cycle the weights and shards that a run folder holds."""
    found: dict[str, set[str]] = {}
    for name in files_of(out):
        if name.endswith(LARGE) or "/shard-" in name:
            found.setdefault(name.partition("/")[0], set()).add(name.rpartition("/")[2][:5])
    return found


def test_who_reads_what_by_hand() -> None:
    """COD compares with the last cycle's model; a cold start reads no earlier weights; a pass over
    the whole pool reads the last one's predictions."""
    own = {(3, "evaluate"), (3, "score"), (3, "select")}

    assert own | {(4, "train"), (4, "score")} == readers(built(), WEIGHTS, 3)
    assert own == readers(built(strategy="entropy", start="cold"), WEIGHTS, 3)
    assert own | {(4, "score")} == readers(built(start="cold"), WEIGHTS, 3)
    assert {(3, "select"), (4, "score")} == readers(built(), SHARDS, 3)
    assert {(3, "select")} == readers(built(candidates=50), SHARDS, 3)


def test_who_reads_what_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit asks the model; what it made is asked by pass and choice, and by nobody later."""
    x = built(start="cold").model_copy(update={"strategy": Outside()})

    assert {(3, "evaluate"), (3, "fit"), (3, "score"), (3, "select")} == readers(x, WEIGHTS, 3)
    assert {(3, "score"), (3, "select")} == readers(x, FITTED, 3)
    assert set() == readers(built(), FITTED, 3)


class Reads(Silent):
    """What each stage of a run reads of weights and shards, by kind and cycle."""

    def __init__(self, out: Path, patch: pytest.MonkeyPatch) -> None:
        self.found: dict[tuple[int, str], set[tuple[str, int]]] = {}
        self.now: tuple[int, str] = (0, "")
        read, writing = Folder.read, f"{out}/cycle-"

        def told(folder: Folder, name: str, *rest: Any) -> bytes:
            place = f"{folder.url}/{name}".removeprefix(writing)
            for kind, mark in (("weights", ".safetensors"), ("shards", "shard-")):
                at = int(place[:3]) if place[:3].isdigit() else -1
                if mark in place and at >= 0 and (at, self.wrote(kind)) != self.now:
                    self.found.setdefault(self.now, set()).add((kind, at))
            return read(folder, name, *rest)

        patch.setattr(Folder, "read", told)

    def wrote(self, kind: str) -> str:
        return "train" if kind == "weights" else "score"

    def stage(self, cycle: int, stage: str) -> None:
        self.now = (cycle, stage)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"start": "cold"},
        {"strategy": "entropy", "ensemble": 2},
        {"strategy": "core_set", "start": "cold", "observers": ["emaod"]},
        {"candidates": 50},
        {"strategy": "faulty.looks_outside", "start": "cold"},
    ],
    ids=str,
)
def test_no_stage_reads_what_is_not_said(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
) -> None:
    """A file would go that a stage still reads: seen from what a run does open."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "support" / "plugins")
    x = short(tiny, **fields)
    reads = Reads(tmp_path, monkeypatch)
    go(x, tmp_path, reads)
    said = {at: {(kind.name, c) for kind, c in inputs(x, *at)} for at in reads.found}

    assert len(reads.found) >= 7
    assert {} == {at: found - said[at] for at, found in reads.found.items() if found - said[at]}


@given(
    strategy=st.sampled_from(["cod", "entropy", "emaod"]),
    start=st.sampled_from(["warm", "cold"]),
    candidates=st.sampled_from([None, 50]),
    keep=st.fixed_dictionaries({k.name: st.sampled_from(CHOICES) for k in KINDS}),
    cycles=st.integers(1, 5),
)
def test_what_a_stage_reads_is_there(
    strategy: str, start: str, candidates: int | None, keep: dict[str, str], cycles: int
) -> None:
    """Whatever is asked for, no stage of a run misses what it reads; what goes under `last` goes
    under `none`; and after a run under `last` another cycle could follow."""
    x = built(strategy=strategy, start=start, candidates=candidates, keep=keep)
    stages = [(c, s) for c in range(cycles) for s in ORDER][:-3]  # the last cycle only learns
    none = x.model_copy(update={"keep": rayal.Keep(weights="none", shards="none")})
    done: set[tuple[int, str]] = set()

    def there(of: Experiment = x, complete: bool = False) -> set[Any]:
        written = [(k, c) for k in KINDS for c in range(cycles) if (c, k.stage) in done]
        return {each for each in written if not may_go(of, *each, done, complete)}

    for at in stages:
        assert {*inputs(x, *at)} <= there()
        done.add(at)
        assert there(none) <= there(x.model_copy(update={"keep": rayal.Keep()}))
    left = there(complete=True)
    for kind in KINDS:
        choice, cycles_left = keep[kind.name], {c for k, c in left if k == kind}
        assert {*inputs(x, *(cycles - 1, "score"))} <= left or "none" in keep.values()
        assert choice != "none" or not cycles_left
        assert choice != "last" or len(cycles_left) <= 2
        assert choice != "all" or cycles_left == {c for c, s in done if s == kind.stage}


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_what_is_left_by_hand(
    tiny: Callable[..., Experiment], finished: FinishedRuns, start: str
) -> None:
    """Keeping less would choose something else, or leave more or less than is said."""
    runs = {
        choice: finished(
            short(tiny, start=start, ensemble=2, keep={"weights": choice, "shards": choice})
        )
        for choice in CHOICES
    }
    whole = outcome(runs["all"])
    both = {"weigh", "train", "shard"}

    assert 2 == len(chosen(runs["all"]))
    assert chosen(runs["all"]) == chosen(runs["last"]) == chosen(runs["none"])
    assert whole["curve"] == outcome(runs["last"])["curve"] == outcome(runs["none"])["curve"]
    assert {"cycle-001": both, "cycle-002": both - {"shard"}} == large(runs["last"])
    assert {} == large(runs["none"])
    assert {"cycle-000", "cycle-001", "cycle-002"} == {*large(runs["all"])}
    assert outcome(runs["last"]).items() <= whole.items()


def test_nothing_is_looked_back_at(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Without a strategy that compares, the last model is enough."""
    go(short(tiny, strategy="entropy", keep={"weights": "last", "shards": "none"}), tmp_path)

    assert {"cycle-002": {"weigh"}} == large(tmp_path)


POINTS = [  # a stage's done.json is written when it ends, and again before its files go
    "cycle-000/train/done.json",
    "cycle-000/train/done.json",
    "removed cycle-000/train/weights.safetensors",
    "cycle-000/score/done.json",
    "removed cycle-000/score/shard-00001.parquet",
    "cycle-002/evaluate/done.json",
    "removed cycle-001/train/weights.safetensors",
    "cycle-002/train/done.json",
    "removed cycle-001/score/shard-00000.parquet",
]


def test_killed_while_files_go(
    process: Any, tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A run could not go on, would choose something else, or leave files for ever."""
    x = short(tiny, keep={"weights": "none", "shards": "none"})
    assert process(x, tmp_path / "whole").returncode == 0
    for point in POINTS:
        killed = process(x, tmp_path / "killed", point)
        assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stderr}"
        record = Record(Folder(tmp_path / "killed"))
        for cycle, stage in record.finished():  # what is missing is said to be
            names = {
                path.name for path in (tmp_path / f"killed/cycle-{cycle:03d}/{stage}").iterdir()
            }
            wrote = {"train": "weights.safetensors", "score": "shard-00000.parquet"}.get(stage)
            assert wrote is None or wrote in names or record.pruned(cycle, stage)
    last = process(x, tmp_path / "killed")

    assert last.returncode == 0, last.stderr
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "killed")
    assert {} == large(tmp_path / "whole") == large(tmp_path / "killed")


def test_it_may_change_between_attempts(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A disk that fills up in the middle of a run could not be relieved."""
    stopped_at(short(tiny), tmp_path, 2, "train")
    assert {"cycle-000", "cycle-001"} == {*large(tmp_path)}
    go(short(tiny, keep={"weights": "last", "shards": "last"}), tmp_path)
    assert {"cycle-001", "cycle-002"} == {*large(tmp_path)}
    go(short(tiny, keep={"weights": "none", "shards": "none"}), tmp_path)

    assert {} == large(tmp_path)
    assert Record(Folder(tmp_path)).complete


def test_a_stage_that_is_done_again_has_its_files(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """What was pruned once would be called pruned for ever."""
    x = short(tiny, strategy="entropy", start="cold", keep={"weights": "last", "shards": "last"})
    go(x, tmp_path)
    assert Record(Folder(tmp_path)).pruned(0, "train")
    Folder(tmp_path / "cycle-000" / "train").delete()
    go(short(tiny, strategy="entropy", start="cold"), tmp_path)

    assert not Record(Folder(tmp_path)).pruned(0, "train")
    assert rayal.open_run(tmp_path).model(0)


def test_a_run_under_last_grows(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Who buys more labels would have to start over, or get others."""
    keep = {"weights": "last", "shards": "last"}
    more = {"initial": 20, "per_cycle": 20, "total": 80}
    go(short(tiny, keep=keep), tmp_path / "grown")
    go(short(tiny, keep=keep, budget=more), tmp_path / "grown")
    go(short(tiny, budget=more), tmp_path / "whole")

    assert chosen(tmp_path / "whole") == chosen(tmp_path / "grown")


def test_a_run_under_none_cannot_grow(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """It would fail on a cluster that was started for it, or be taken for damaged; what it says
    helps."""
    keep = {"weights": "none", "shards": "last"}
    more = {"initial": 20, "per_cycle": 20, "total": 80}
    go(short(tiny, keep=keep), tmp_path / "run")

    def refuse() -> Any:
        raise AssertionError("an engine was opened")

    x = short(tiny, keep=keep, budget=more)
    with (
        pytest.raises(PrunedError, match=r"keep\.weights=last and another --out"),
        start_run(x, str(tmp_path / "run")) as opened,
    ):
        opened.run(refuse)
    assert Record(Folder(tmp_path / "run")).complete
    go(short(tiny, keep={**keep, "weights": "last"}), tmp_path / "anew")
    go(short(tiny, keep=keep, budget=more), tmp_path / "anew")

    assert chosen(tmp_path / "run") == chosen(tmp_path / "anew")[:2]


def test_what_was_pruned_is_no_damage(
    tiny: Callable[..., Experiment], finished: FinishedRuns, tmp_path: Path
) -> None:
    """Somebody would look for a broken disk, or delete the stage; what it says helps."""
    keep = {"weights": "none", "shards": "none"}
    go(short(tiny, keep=keep), tmp_path / "run")
    run = rayal.open_run(tmp_path / "run")
    for read in (
        run.model,
        lambda: run.model(0),
        lambda: run.scores(1),
        lambda: rayal.select(run, cycle=0, budget=1, strategy="cod"),
        lambda: rayal.score(run, np.zeros((1, 1, 8, 8), np.uint8), strategies="entropy"),
        lambda: rayal.score(
            f"{run.url}/cycle-000/train/weights.safetensors",
            np.zeros((1, 1, 8, 8), np.uint8),
            strategies="entropy",
        ),
        lambda: rayal.select(f"{run.url}/cycle-000/score", budget=1, strategy="cod"),
    ):
        with pytest.raises(PrunedError, match="nothing is damaged") as raised:
            read()
        assert "delete" not in str(raised.value)
    whole = finished(short(tiny, keep={"weights": "all", "shards": "all"}))
    again = rayal.open_run(whole)

    assert again.model(0) and len(again.scores(1))
    assert chosen(tmp_path / "run") == chosen(whole)
    assert run.experiment.keep.weights == "none"


def test_a_lost_file_is_damage_still(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Of a file that nobody pruned it would be said that all is well."""
    go(short(tiny, keep={"weights": "last"}), tmp_path)
    (tmp_path / "cycle-002/train/weights.safetensors").unlink()

    with pytest.raises(rayal.StorageError, match="delete the folder") as raised:
        rayal.open_run(tmp_path).model(2)
    assert not isinstance(raised.value, PrunedError)


def test_pictures_of_what_is_left(
    tiny: Callable[..., Experiment], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A report would end at the first cycle without weights. Without them a picture has no
    predictions; without scores it says less, and the same of the score."""
    from rayal.report.images import first_images
    from rayal.report.picked import shots
    from rayal.report.pictures import files
    from rayal.report.reasons import reasons

    x = short(tiny, strategy="entropy")
    go(x, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "pruned")
    rayal.prune(tmp_path / "pruned", weights="all", shards="none")
    told = [reasons(Record(Folder(tmp_path / name)), x, 0) for name in ("run", "pruned")]
    whole, pruned = ([(u, r.rank, r.score) for u, r in each.items()] for each in told)
    assert whole == pruned
    assert rayal.open_run(tmp_path / "pruned").pictures(0, images=1)
    go(short(tiny, strategy="entropy"), tmp_path / "pruned")
    rayal.prune(tmp_path / "pruned")
    record = Record(Folder(tmp_path / "pruned"))
    drawn = [name for name, _ in files(record, 1)]
    store = x.dataset.open()
    (shot, *_), (before, *_) = (
        shots(each, x, store, 0, first_images(each, store, 0, 1))
        for each in (record, Record(Folder(tmp_path / "run")))
    )

    assert ["cycle-000.png", "cycle-001.png"] == [n for n in drawn if n.startswith("cycle-")]
    assert "no predictions in the pictures of 2 of 3 cycles, whose weights" in caplog.text
    assert shot.predicted is None and before.predicted is not None
    assert (before.image, before.score, before.answer) == (shot.image, shot.score, shot.answer)


def test_an_interrupted_engine_keeps_what_it_needs(
    tiny: Callable[..., Experiment], finished: FinishedRuns, tmp_path: Path
) -> None:
    """Stopped before each stage in turn, a run that keeps nothing chooses the same."""
    x = short(tiny, keep={"weights": "none", "shards": "none"})
    whole = finished(short(tiny))
    for stage in ("evaluate", "score", "select", "label"):
        stopped_at(x, tmp_path / "stopped", 1, stage)
    go(x, tmp_path / "stopped", At(9, "train"), engine=LocalEngine)

    assert chosen(whole) == chosen(tmp_path / "stopped")
