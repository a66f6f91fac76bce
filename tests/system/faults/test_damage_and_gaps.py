"""What decides a run and is read again: damaged, changed, or gone (B)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayal.cycle.scorer import Scorer
from rayal.cycle.train import TrainJob
from rayal.errors import LockedError, StorageError
from rayal.experiment.experiment import Experiment
from rayal.models.trained_model import TrainedModel
from rayal.report.runs import Run
from rayal.report.status import status_rows
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.score.models import read_models
from rayal.workflows.score.settings import PoolScoring
from rayal.workflows.sweep.folder import STOPPED, SweepFolder
from tests.support.whole_runs import go, outcome, sixty, stopped_at


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Experiment]) -> Experiment:
    """COD: each cycle looks at the model and at the predictions of the one before."""
    scheme = {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05}
    return sixty(tiny, 256, scheme=scheme)


@pytest.fixture(scope="module")
def finished(small: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    go(small, out)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run: cycles 0, 1, 2."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


STAGES = [f"0/{stage}" for stage in ("initial", "train", "evaluate", "score", "select", "label")]


@pytest.mark.parametrize("gone", [*STAGES, "1/train", "1/score"])
def test_an_earlier_stage_is_done_again(
    small: Experiment, finished: Path, run: Path, gone: str
) -> None:
    """The way out for a damaged stage would leave a run without it, called complete."""
    cycle, _, stage = gone.partition("/")
    missing = run / f"cycle-00{cycle}/{stage}"
    shutil.rmtree(missing)

    assert not Record(Folder(run)).complete
    for look in (lambda: Run.read(Record(Folder(run))), lambda: status_rows([str(run)])):
        with pytest.raises(StorageError, match=f"{missing} is missing although later"):
            look()

    go(small, run)

    assert outcome(finished) == outcome(run)
    assert Record(Folder(run)).complete
    assert Run.read(Record(Folder(finished))).points == Run.read(Record(Folder(run))).points


def test_a_stage_that_comes_out_differently_is_told(
    small: Experiment, finished: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of one model would be kept beside another: of other threads, or of a GPU."""
    shutil.rmtree(run / "cycle-001/train")
    with monkeypatch.context() as patch:
        patch.setattr(TrainJob, "key", (7,))
        with pytest.raises(StorageError) as told:
            go(small, run)

    assert f"{run}/cycle-001/evaluate was made from something else" in str(told.value)
    advice = str(told.value).partition("delete the folders ")[2].partition(", and the same")[0]
    doomed = [Path(place) for place in advice.split()]
    assert [run / "cycle-001/evaluate", run / "cycle-002/evaluate"] == [doomed[0], doomed[-1]]

    shutil.rmtree(run / "cycle-001/train")
    for place in doomed:
        shutil.rmtree(place)
    go(small, run)

    assert outcome(finished) == outcome(run)


def test_a_gap_in_a_folder_of_an_older_rayal(small: Experiment, finished: Path, run: Path) -> None:
    """It does not say what its stages were made from, so that nothing could be compared."""
    for done in run.glob("cycle-*/*/done.json"):
        folder = Folder(done.parent)
        written = folder.read_sealed("done.json")
        del written["follows"]
        folder.write_sealed("done.json", written)
    shutil.rmtree(run / "cycle-001/train")
    with pytest.raises(StorageError, match="did not record what they were made from") as told:
        go(small, run)
    for place in str(told.value).partition("the folders ")[2].partition(", and")[0].split():
        shutil.rmtree(place, ignore_errors=True)
    go(small, run)

    assert outcome(finished) == outcome(run)


def test_damage_and_its_way_out(small: Experiment, finished: Path, tmp_path: Path) -> None:
    """A user would do as the message says, and be told the same again."""
    half = stopped_at(small, tmp_path / "half", 1, "train")
    for name, kept in (
        ("cycle-000/train/weights.safetensors", "cycle-000/train"),
        ("cycle-000/score/shard-00000.parquet", None),
        ("cycle-000/train/done.json", "cycle-000/train"),
    ):
        out = Path(shutil.copytree(half, tmp_path / name.replace("/", "-")))
        data = bytearray((out / name).read_bytes())
        data[len(data) // 2] ^= 1
        (out / name).write_bytes(data)
        with pytest.raises(StorageError, match=f"{out / name} is damaged") as told:
            go(small, out)
        if kept is None:
            assert f"delete it and {out}/cycle-000/score/done.json" in str(told.value)
            (out / name).unlink()
            (out / "cycle-000/score/done.json").unlink()
        else:
            assert f"delete the folder {out / kept} to do" in str(told.value)
            shutil.rmtree(out / kept)
        go(small, out)

        assert outcome(finished) == outcome(out)


def test_a_run_keeps_its_normalisation(
    small: Experiment, finished: Path, run: Path, tmp_path: Path
) -> None:
    """A bit of the mean in the prepared dataset would change every score from there on."""
    place = small.dataset.model_copy(update={"store": str(tmp_path / "stores")})
    x = small.model_copy(update={"dataset": place})
    store = Folder(x.dataset.open().url)
    card = store.read_sealed("card.json")
    store.write_sealed("card.json", {**card, "image": {**card["image"], "mean": [1.3]}})
    with pytest.raises(LockedError, match=r"store\.image\.mean: \[0\.3.*\] -> \[1\.3\]"):
        go(x, run)
    store.delete()
    go(x, run)

    assert outcome(finished) == outcome(run)


def test_settings_are_written_anew(small: Experiment, run: Path) -> None:
    """The way out for a damaged experiment.yaml would be none."""
    (run / "experiment.yaml").unlink()
    go(small, run)

    assert Record(Folder(run)).complete


def test_a_run_of_an_older_rayal_goes_on(small: Experiment, finished: Path, run: Path) -> None:
    """Nobody could go on with what rayal 0.4 had begun: it sealed less."""
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text[: text.index("# sha256")])
    identity = Folder(run).read_sealed("identity.json")
    Folder(run).write_sealed("identity.json", {k: v for k, v in identity.items() if k != "store"})
    shutil.rmtree(run / "cycle-002")
    go(small, run)

    assert outcome(finished) == outcome(run)
    assert identity == Folder(run).read_sealed("identity.json")


def test_the_previous_model_is_restored_once(
    small: Experiment, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard with an image that could not be read before would read all weights again."""
    shutil.rmtree(run / "cycle-001/score")
    scorers, asked, read = list[Scorer](), 0, TrainedModel.read
    init = Scorer.__init__

    def remembered(self: Scorer, *given: Any) -> None:
        init(self, *given)
        scorers.append(self)

    def counted(*given: Any) -> TrainedModel:
        nonlocal asked
        asked += 1
        return read(*given)

    monkeypatch.setattr(Scorer, "__init__", remembered)
    go(small, run)
    (scorer,) = scorers
    monkeypatch.setattr(TrainedModel, "read", counted)
    images = scorer.decode(scorer.job.images.take(scorer.job.images.ids()[:2])).images
    for _ in range(3):
        scorer._previous_probs(images)

    assert 1 == asked


def test_trials_that_were_stopped_are_sealed(tmp_path: Path) -> None:
    """A trial would count as stopped that never was, and never be run."""
    folder = Folder(tmp_path)

    def stopped() -> set[str]:
        return SweepFolder.stopped(SimpleNamespace(folder=folder))  # type: ignore[arg-type]

    assert set() == stopped()
    folder.write_sealed(STOPPED, {"trials": ["a", "b"]})
    assert {"a", "b"} == stopped()
    (tmp_path / STOPPED).write_text((tmp_path / STOPPED).read_text().replace('"b"', '"c"'))
    with pytest.raises(StorageError, match="stopped.json is damaged.* or delete it"):
        stopped()
    (tmp_path / STOPPED).unlink()
    assert set() == stopped()


@pytest.mark.parametrize("place", ["", "/cycle-002/train", "/cycle-002/train/weights.safetensors"])
def test_weights_of_a_run_are_checked_before_they_score(run: Path, place: str) -> None:
    """A pool would be scored with a damaged model, and nobody would know."""
    settings = {"checkpoint": f"{run}{place}", "pool": "digits", "strategies": ["entropy"]}
    file = run / "cycle-002/train/weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)

    with pytest.raises(StorageError, match=f"{file} is damaged"):
        read_models(PoolScoring.model_validate(settings))
    alone = shutil.copy(file, run.parent / "copied.safetensors")
    read_models(PoolScoring.model_validate({**settings, "checkpoint": str(alone)}))


def test_names_of_classes_are_those_of_the_run(run: Path) -> None:
    """A report would name a class as a damaged file of weights does."""
    assert tuple("0123456789") == Record(Folder(run)).classes()


def test_a_member_of_an_ensemble_is_trained_again(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The advice would name the member's folder, without which the stage still counts as done."""
    scheme = {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05}
    x = sixty(tiny, 256, scheme=scheme, strategy="ensemble_entropy", ensemble=2)
    go(x, tmp_path / "whole")
    half = stopped_at(x, tmp_path / "half", 1, "score")
    train = half / "cycle-001/train"
    file = train / "member-001/weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match=f"{file} is damaged.* or delete the folder {train} to"):
        go(x, half)
    (train / "done.json").unlink()  # as if the stage had been cut short
    (train / "member-001/trained.json").write_text("{}")
    with pytest.raises(StorageError, match="trained.json is damaged.* delete it to train that"):
        go(x, half)
    shutil.rmtree(train)
    go(x, half)

    assert outcome(tmp_path / "whole") == outcome(half)
