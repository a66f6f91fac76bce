"""Fits: what is made of labeled units and candidates between a training and its pass."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import rayal
from rayal.cycle.candidates import candidates
from rayal.cycle.fit import FitJob, fit
from rayal.cycle.loop import run
from rayal.cycle.offer import of_images
from rayal.cycle.rounds import Worker
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, StorageError, UsageError
from rayal.models.weights import load_weights
from rayal.randomness import derive
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.runs.result_files import read_fit
from rayal.runs.result_files import write_fit as fits_written
from rayal.runs.results import Fitted, Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.testing.side import Outside, Side, SideSpec
from rayal.training.augment import normalise
from rayal.training.round_robin import RoundRobin
from rayal.workflows.checks import check
from tests.support.doubles import Silent
from tests.support.forks import as_two
from tests.support.whole_runs import short

NAME = "faulty.looks_outside"
PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


class Heard(Silent):
    """The stages, in order."""

    def __init__(self):
        self.stages = []

    def stage(self, cycle, stage):
        self.stages.append((cycle, stage))


def go(x, folder):
    """Runs to the end: the picks of each cycle, the fitted companions, and the stages."""
    heard = Heard()
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), heard)
    return *outcome(folder, pool.cycle), heard.stages


def outcome(folder, cycles):
    picks, made = [], []
    for cycle in range(cycles):
        done = json.loads((folder / f"cycle-{cycle:03d}/select/done.json").read_text())
        picks.append(done["result"]["ids"])
        done = json.loads((folder / f"cycle-{cycle:03d}/fit/done.json").read_text())
        made.append(done["result"]["fits"]["side"]["companion"]["sha256"])
    return picks, made


def companion(folder, cycle=0):
    made = Side(64)
    file = folder / f"cycle-{cycle:03d}/fit/side/companion-side.safetensors"
    load_weights(made, file.read_bytes())
    return made


@pytest.fixture(scope="module", autouse=True)
def plugins():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGINS)
        yield


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A run with fits, that of nobody's interference: experiment, folder, picks, fits."""
    x, folder = short(tiny, strategy=NAME), tmp_path_factory.mktemp("whole")
    return x, folder, *go(x, folder)


def test_a_fit_stands_between_training_and_scoring(whole):
    """The pass would ask an untrained companion, or that of another cycle."""
    _, folder, picks, made, stages = whole

    assert [s for c, s in stages if c == 1] == [
        *("train", "evaluate", "fit", "score", "select", "label")
    ]
    assert len({*made}) == len(picks) == 2
    assert (2, "fit") not in stages  # nothing is scored in the last cycle


def test_learns_from_labeled_units_and_candidates(whole):
    """A fit would learn from the wrong images, in the wrong order, or not at all."""
    x, folder, _, _, _ = whole
    store, key = x.dataset.open(), (x.seed, 1, "fit", "side")
    with Ledger(Folder(folder), x.identity()) as ledger:
        known = of_images(ledger.state(1).labels, store)
    ids = [list(known), candidates(x, store, known, 1)]
    shown = [
        normalise(
            torch.from_numpy(store.pool.decode(store.pool.take(each)).images), store.card.image
        )
        for each in ids
    ]
    turns = [
        RoundRobin(len(each), 8, *key, name)
        for each, name in zip(ids, ("labeled", "candidates"), strict=True)
    ]
    with torch.random.fork_rng():
        torch.manual_seed(derive(derive(*key, "begin")))
        side = SideSpec().build(None, 10, store.card.image)
    optimizer = torch.optim.Adam(side.parameters(), lr=5e-4)
    for step in range(25):
        images = torch.cat([e[t.places(step)] for e, t in zip(shown, turns, strict=True)])
        truth = torch.cat([torch.ones(8), torch.zeros(8)])
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(side(images), truth).backward()
        optimizer.step()

    made = companion(folder, cycle=1)
    assert torch.allclose(side.plane.weight, made.plane.weight, rtol=1e-5, atol=1e-7)


def test_the_choice_is_what_the_companion_says(whole):
    """A pass would be scored by the companion of another cycle."""
    x, folder, picks, _, _ = whole
    store, side = x.dataset.open(), companion(folder, cycle=1)
    images = torch.from_numpy(store.pool.decode(store.pool.take(picks[1])).images)
    scores = -side(normalise(images, store.card.image))

    assert torch.all(scores.diff() <= 1e-5)  # the best first


def test_observers_share_a_fit(whole, tiny, tmp_path):
    """It would be paid twice, or watching another strategy would change the run."""
    _, _, picks, made, _ = whole
    seen = go(short(tiny, strategy=NAME, observers=[NAME, "entropy"]), tmp_path)

    assert (picks, made) == (seen[0], seen[1])
    assert ["side"] == sorted(f.name for f in (tmp_path / "cycle-000/fit").iterdir() if f.is_dir())


def test_two_kinds_of_one_fit_are_refused(tiny):
    """One would be scored by what the other wanted."""
    other = {"name": NAME, "side": {"length": 3}}
    with pytest.raises(ValidationError, match="wants a side with .*length=3.*give both the same"):
        short(tiny, strategy=NAME, observers=[other])


def test_a_batch_that_workers_cannot_share_is_refused(tiny):
    """Some would weigh more than others."""
    compute = {"engine": "ray", "train_workers": 3}
    with pytest.raises(ValidationError, match="3 cannot share the side's batches of 8.*use 2"):
        short(tiny, strategy=NAME, compute=compute)


def test_nothing_is_fitted_without_candidates(tiny, tmp_path):
    """A run that buys its whole pool would end with a division by zero."""
    x = short(
        tiny,
        strategy=NAME,
        dataset={"name": "digits", "limit_pool": 40, "limit_test": 10},
        budget={"initial": 20, "per_cycle": 20, "total": 100},
    )
    _, _, stages = go_whatever(x, tmp_path)

    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        assert {} == ledger.result(1, Fitted).fits
    assert (1, "fit") in stages


def go_whatever(x, folder):
    heard = Heard()
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), heard)
    return pool, None, heard.stages


@pytest.mark.parametrize("strategy", [NAME, "core_gcn"])
def test_a_pool_may_be_used_up(tiny, tmp_path, strategy):
    """Nothing is fitted then, and whoever scans labeled units would ask for it all the same."""
    x = short(
        tiny,
        strategy=strategy,
        dataset={"name": "digits", "limit_pool": 40, "limit_test": 10},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    store = x.dataset.open()
    truth = store.labels("pool")
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        asked = []
        while ids := learner.ask(20):
            asked += ids
            learner.tell({unit: truth[unit] for unit in ids})

    assert sorted(asked) == sorted(truth)


@pytest.mark.parametrize("strategy", [NAME, "uncertain_gcn", "random"])
def test_what_is_left_may_be_damaged(tiny, tmp_path, strategy):
    """A fit to no candidate would divide by zero, and who looks at no image would choose it."""
    for unit in range(14):
        folder = tmp_path / "images" / ("test" if unit % 7 == 0 else "train") / "ab"[unit % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(unit).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{unit}.png")
    for number in range(2):
        (tmp_path / f"images/train/a/bad{number}.png").write_bytes(b"no image")
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "size": 8}
    x = short(
        tiny,
        strategy=strategy,
        dataset={**folder, "store": str(tmp_path / "store")},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 4},
        budget={"initial": 6, "per_cycle": 6, "total": 14},
    )
    pool, _, _ = go_whatever(x, tmp_path / "run")

    assert 12 == len(pool.labels)


POINTS = [
    "cycle-001/fit/side/checkpoint-000001.pt",
    "cycle-001/fit/side/checkpoint-000002.json",
    "cycle-001/fit/side/companion-side.safetensors",
    "cycle-001/fit/side/fit.json",
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_inside_a_fit(whole, tiny, process, tmp_path, point):
    """Whoever is killed there would choose otherwise, or fit again what was done."""
    _, _, picks, made, _ = whole
    x = short(
        tiny,
        strategy=NAME,
        compute={
            "engine": "local",
            "shard_rows": 256,
            "cpus_per_worker": 1,
            "checkpoint_seconds": 0,
        },
    )
    assert -signal.SIGKILL == process(x, tmp_path, point).returncode
    ended = process(x, tmp_path)

    assert (0, (picks, made)) == (ended.returncode, outcome(tmp_path, 2))


def test_a_finished_fit_is_not_done_again(whole, tmp_path, monkeypatch):
    """A stage of several fits would begin with the first again."""
    x, folder, picks, made, _ = whole
    shutil.copytree(folder, tmp_path / "run")
    for stage in ("score", "select", "label"):
        shutil.rmtree(tmp_path / f"run/cycle-001/{stage}")
    (tmp_path / "run/cycle-001/fit/done.json").unlink()
    shutil.rmtree(tmp_path / "run/cycle-002")
    monkeypatch.setattr(LocalEngine, "fit", lambda self, jobs: iter(()) if not jobs else 1 / 0)

    assert (picks, made) == go(x, tmp_path / "run")[:2]


def test_a_fit_that_is_gone_is_made_again(whole, tmp_path):
    """A deleted folder would end the run, or be noticed by nobody."""
    x, folder, picks, made, _ = whole
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/cycle-001/fit")

    assert (picks, made) == go(x, tmp_path / "run")[:2]


def test_a_fit_that_diverges_says_so(whole, tmp_path, monkeypatch):
    """Its scores would be told as if they meant something."""
    job = one(whole, tmp_path)
    monkeypatch.setattr(
        "rayal.testing.side.binary_cross_entropy_with_logits",
        lambda logits, truth: logits.sum() * torch.nan,
    )
    with pytest.raises(DataError, match=r"loss of side became .* lower its lr"):
        fit(job, Worker())


def test_a_step_that_breaks_its_contract_is_named(whole, tmp_path, monkeypatch):
    """Whoever writes a fit would get a traceback of rayal's own lines."""
    monkeypatch.setattr("rayal.testing.side._SideFitting.step", lambda *_: {"lost": 1})
    with pytest.raises(UsageError, match=r"side: step\(\) returned .*; return a dictionary"):
        fit(one(whole, tmp_path), Worker())


def test_a_fit_whose_record_is_damaged_is_made_again(whole, tmp_path):
    """The message would name a way out that does not lead out."""
    x, folder, picks, made, _ = whole
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    for stage in ("score", "select", "label"):
        shutil.rmtree(run / f"cycle-001/{stage}")
    shutil.rmtree(run / "cycle-002")
    (run / "cycle-001/fit/done.json").unlink()
    record = run / "cycle-001/fit/side/fit.json"
    record.write_text(record.read_text().replace("25", "26"))
    with pytest.raises(StorageError, match="fit.json.*delete it to fit that companion again"):
        go(x, run)
    record.unlink()

    assert (picks, made) == go(x, run)[:2]


def test_images_of_a_size_that_a_fit_cannot_take_are_refused(tiny):
    """A worker would find out, after the first training."""

    class Choosy(SideSpec):
        def accepts(self, height, width):
            return "the side wants 32x32 pixels" if (height, width) != (32, 32) else None

    x = short(tiny, strategy=Outside(side=Choosy()))
    with pytest.raises(UsageError, match="wants 32x32 pixels; use images of such a size"):
        check(x, x.dataset.open().card)


def test_a_cycle_scores_another_pool_with_what_it_fitted(whole, tmp_path):
    """`rayal score` would ask an untrained companion, or say that there is none."""
    x, folder, picks, _, _ = whole
    store = x.dataset.open()
    images = torch.from_numpy(store.pool.decode(store.pool.take(picks[1])).images)
    ask = {"strategies": [NAME], "plugins": ["faulty"]}
    scores = rayal.score(str(folder / "cycle-001"), images, **ask).table()[f"score.{NAME}"]
    expected = -companion(folder, cycle=1)(normalise(images, store.card.image))

    assert expected.tolist() == pytest.approx(scores.tolist(), rel=1e-5)
    with pytest.raises(UsageError, match="side that is made beside .*; use the folder of a cycle"):
        rayal.score(str(folder), images, **ask)  # the last cycle has scored nothing


def test_rounds_are_written_down(whole):
    """Nobody could see whether a fit has converged."""
    _, folder, _, _, _ = whole
    text = (folder / "cycle-000/fit/side/fit.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]

    assert [10, 20, 25] == [row["step"] for row in rows]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_damaged_rows_of_a_fit_are_named(whole, tmp_path):
    """A display of progress would end the run that it shows."""
    shutil.copytree(whole[1], tmp_path / "run")
    rows = tmp_path / "run/cycle-000/fit/side/fit.jsonl"
    record = Record(Folder(tmp_path / "run"))
    assert (25, 25) == record.fit_steps(0)
    for damage in ("", "[]", "{"):
        rows.write_text(damage)
        with pytest.raises(StorageError, match="side/fit.jsonl is damaged: .*; delete it"):
            record.fit_steps(0)
    rows.unlink()

    assert (0, 0) == record.fit_steps(0)


def test_randomness_of_the_process_is_left_alone(whole, tmp_path):
    """A fit would change what the rest of the process draws."""
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    fit(one(whole, tmp_path), Worker())

    assert torch.equal(expected, torch.rand(5))


def test_two_workers_fit_as_one(whole, tmp_path):
    """Workers would weigh parts of a batch wrongly, or make different companions."""
    alone = fit(one(whole, tmp_path / "alone"), Worker())
    as_two(_work, tmp_path, one(whole, tmp_path / "pair"))
    pair = read_fit(Folder(tmp_path / "result"))

    made = [Side(64), Side(64)]
    for side, name in zip(made, ("alone", "pair"), strict=True):
        load_weights(side, (tmp_path / name / "companion-side.safetensors").read_bytes())
    assert torch.allclose(made[0].plane.weight, made[1].plane.weight, rtol=1e-4, atol=1e-6)
    assert pair.loss == pytest.approx(alone.loss, rel=1e-4) and pair.steps == alone.steps


def _work(rank: int, folder: Path, job: FitJob) -> None:
    made = fit(job, Worker(rank=rank, size=2))
    if made is not None:
        fits_written(Folder(folder / "result"), made)


def one(whole, out):
    """The fit of the first cycle, alone."""
    x, folder, *_ = whole
    with Ledger(Folder(folder), x.identity()) as ledger:
        labels, trained = ledger.state(0).labels, ledger.result(0, Trained)
    return FitJob(
        experiment=x,
        cycle=0,
        store=x.dataset.open().url,
        labels=labels,
        known=frozenset(labels),
        weights=FileLocation(str(folder / "cycle-000/train"), trained.weights),
        companions={},
        out=str(out),
        name="side",
    )
