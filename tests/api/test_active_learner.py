"""`rayal.ActiveLearner`: ask and tell, over the ledger and the stages of a run."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import rayal
from rayal.errors import DataError, LabelsPending, LockedError, StorageError, UsageError
from rayal.labeling.request import Request
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.data.datasets.test_image_folder import plant
from tests.support import killed_learner, scenes
from tests.support.killed_run import Runs
from tests.support.whole_runs import files_of, go, outcome, short

KILLED = {
    "a first half that is told": "cycle-000/initial-asked/told/000000-*",
    "all that was asked for": "cycle-000/initial-asked/told/000001-*",
    "what was chosen": "cycle-000/select/done.json",
    "the second request": "cycle-000/label-asked/asked.json",
    "labels that were bought": "cycle-000/label/labels.parquet",
}
"""What is written last before a process dies."""
USUAL = ("a first half that is told", "the second request")
"""Those of them that the default tests try."""


@pytest.fixture(scope="module")
def x(tiny: Any) -> Any:
    return short(tiny)


@pytest.fixture(scope="module")
def truth(x: Any) -> dict[str, Any]:
    return dict(x.dataset.open().labels("pool"))


@pytest.fixture(scope="module")
def simulated(x: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of a run whose oracle is the dataset."""
    out = tmp_path_factory.mktemp("runs") / "simulated"
    go(x, out)
    return outcome(out)


@pytest.fixture(scope="module")
def killed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("killed") / "stderr", killed_learner.main)


def test_asking_for_the_budget_is_a_run(x: Any, simulated: dict[str, Any], tmp_path: Path) -> None:
    """People's loops would get other units, weights or numbers than an experiment that says what
    to expect of them."""
    metrics = killed_learner.loop(x, str(tmp_path), 60, 20)

    assert simulated == outcome(tmp_path)
    assert simulated["curve"][-1][3] == metrics["accuracy"]


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, id=name, marks=() if name in USUAL else pytest.mark.slow)
        for name, point in KILLED.items()
    ],
)
def test_a_killed_loop_goes_on(
    x: Any, simulated: dict[str, Any], killed: Runs, tmp_path: Path, point: str
) -> None:
    """A day of labeling would be lost, or what is asked next would be something else."""
    assert -9 == killed(x, tmp_path, point).returncode
    again = killed(x, tmp_path)

    assert (0, "") == (again.returncode, again.stderr)
    assert simulated == outcome(tmp_path)


def test_what_is_not_told_is_asked_again(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """A loop that was stopped would wait for ever for what nobody is shown any more."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(6)
        learner.tell({})
        learner.tell({ids[3]: truth[ids[3]], ids[0]: truth[ids[0]]})
        rest = [ids[1], ids[2], ids[4], ids[5]]

        assert rest == learner.waiting == learner.ask(6) == learner.ask(100)
        with pytest.raises(LabelsPending, match="waiting for 4 of 6 labels"):
            learner.learn()
        (row,) = status_rows([str(tmp_path)])  # whether or not its process lives
        assert ("waiting", 0, "initial") == (row["state"], row["cycle"], row["stage"])
    (row,) = status_rows([str(tmp_path)])
    assert ("waiting", "waiting for 4 of 6 labels") == (row["state"], row["message"])

    with rayal.ActiveLearner(x, tmp_path) as learner:
        assert rest == learner.waiting == learner.ask(1)
        assert {ids[0], ids[3]} == learner.labels.keys()
        learner.tell({unit: truth[unit] for unit in rest})
        assert [] == learner.waiting
        assert learner.learn() and [6] == [*learner.curve()["labels"]]
    assert ids == [*learner.run.labels()["id"]]


def test_labels_are_names_or_indices(x: Any, tmp_path: Path) -> None:
    """A name would be taken for another class; one that cannot be labeled, for none told."""
    x = x.model_copy(update={"strategy": rayal.load(CONFIG, strategy="random").strategy})
    with rayal.ActiveLearner(x, tmp_path) as learner:
        a, b, c, d, e = learner.ask(5)
        learner.tell({a: "7", b: 7, c: np.int64(7), d: None, e: "0"})
        learner.tell({a: 7, b: "7", d: None})

        assert {a: "7", b: "7", c: "7", e: "0"} == learner.labels
        assert [d] == learner.refused
        more = learner.ask(3)
        assert not {*more} & {a, b, c, d, e} and 3 == len(more)
        assert [7, 7, 7, None, 0] == [
            None if label != label else label for label in learner.run.labels()["label"]
        ]
        learner.tell({d: None, a: "7"})
    assert 4 == learner.curve()["labels"][0]


def test_it_says_what_it_waits_for(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Before anything is asked, all labels would be told; a closed one would seem to be waiting."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        new = repr(learner)
        ids = learner.ask(4)
        learner.tell({ids[0]: truth[ids[0]]})
        asked = repr(learner)
        learner.tell({unit: truth[unit] for unit in ids})
        told = repr(learner)

    assert f"<ActiveLearner waiting for the first request, 0 told; {tmp_path}>" == new
    assert "waiting for 3 of 4 labels, 1 told" in asked
    assert "waiting for the next request, all labels are told, 4 told" in told
    assert "<ActiveLearner closed, 4 told" in repr(learner)


CONFIG = Path(rayal.__file__).parents[1] / "configs/digits/base.yaml"
WRONG = {
    "unit": ("digit-9999", 1, "'digit-9999': is not in the pool; use the ids that ask() returns"),
    "no text": (3, 1, "3: is not in the pool; use the ids that ask() returns"),
    "name": ("", "sevn", "'sevn' is no class; choose one of: 0, 1, 2"),
    "index": ("", 10, "10 is no class index; give one of 0 to 9, or the class's name"),
    "negative": ("", -1, "-1 is no class index; give one of 0 to 9, or the class's name"),
    "truth": ("", True, "True is no label; give a class, its index, or None"),
    "number": ("", 7.0, "7.0 is no label; give a class, its index, or None"),
    "other": ("told", 4, "was told to be '3', not '4', and that stays; leave it out, or tell all"),
    "taken back": ("told", None, "was told to be '3', not None, and that stays"),
}


@pytest.mark.parametrize(("unit", "label", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_label_takes_nothing(
    x: Any, tmp_path: Path, unit: Any, label: Any, problem: str
) -> None:
    """Half of a table would be in, and nobody knew which half."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(4)
        learner.tell({ids[0]: 3})
        before = files_of(tmp_path)
        wrong = {"": ids[1], "told": ids[0]}.get(unit, unit)
        with pytest.raises(UsageError, match=re.escape(problem)):
            learner.tell({ids[2]: 5, wrong: label, ids[3]: 1})

        assert before == files_of(tmp_path)
        learner.tell({ids[2]: 5, ids[3]: 1})  # it leaves the wrong one out
        assert {ids[0]: "3", ids[2]: "5", ids[3]: "1"} == learner.labels
        corrected = {**learner.labels, ids[0]: "4"}
    with rayal.ActiveLearner(x, tmp_path / "other") as learner:
        learner.tell(corrected)
        assert corrected == learner.labels


def test_all_that_is_wrong_is_told_at_once(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Each would cost another round; of thousands, the first ones do."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(4)
        other = next(unit for unit in truth if unit not in ids)
        with pytest.raises(UsageError) as caught:
            learner.tell({ids[0]: "x", other: 3, ids[1]: 12})
        with pytest.raises(UsageError, match="and 9980 more$"):
            learner.tell({f"{n}": 1 for n in range(10_000)})
        with pytest.raises(UsageError, match="give a dictionary, unit -> label"):
            learner.tell([3, 4])  # type: ignore[arg-type]

    first, *problems = str(caught.value).splitlines()
    assert "3 problems in tell(), which has taken none of these labels" == first
    assert 3 == len(problems)
    assert "was not asked for; tell labels of your own choice before the first ask()" in problems[1]


def test_labels_that_are_there_already(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Whoever has some labels would have to label a random set once more."""
    mine = [*truth][5:15]
    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell({unit: truth[unit] for unit in mine[:4]})
    with rayal.ActiveLearner(x, tmp_path) as learner:
        assert [] == learner.waiting and set(mine[:4]) == set(learner.labels)
        learner.tell({unit: truth[unit] for unit in mine[4:]})
        chosen = learner.ask(5)

        assert 5 == len(chosen) and not {*chosen} & {*mine}
        assert chosen == learner.run.chosen(0)
        with pytest.raises(UsageError, match="was not asked for"):
            learner.tell({[*truth][20]: 3} if [*truth][20] not in chosen else {[*truth][21]: 3})
    assert mine == [*learner.run.labels()["id"]]
    assert [10] == [*learner.curve()["labels"]]


def test_the_labels_of_the_dataset_are_not_looked_at(
    x: Any, truth: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may not exist; and where they do, a learner would know what nobody told it."""
    from rayal.data.store import Store

    read = Store.labels

    def of_the_test(store: Store, split: Any, ids: Any = None) -> Any:
        assert "test" == split, "labels of the pool were read"
        return read(store, split, ids)

    monkeypatch.setattr(Store, "labels", of_the_test)
    with rayal.ActiveLearner(x, tmp_path) as learner:
        for _ in range(2):
            learner.tell({unit: truth[unit] for unit in learner.ask(5)})
        assert learner.learn() and 10 == len(learner.labels)


def test_until_nothing_is_left(tiny: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """The last request would be larger than the pool, or a loop never end."""
    x = tiny(dataset={"name": "digits", "limit_pool": 12, "limit_test": 20}, strategy="entropy")
    sizes = []
    with rayal.ActiveLearner(x, tmp_path) as learner:
        while ids := learner.ask(5):
            sizes.append(len(ids))
            learner.tell({unit: truth[unit] for unit in ids})
        assert [] == learner.ask(5) == learner.waiting

    assert [5, 5, 2] == sizes
    assert learner.run.complete and "complete" == status_rows([str(tmp_path)])[0]["state"]


def test_an_experiment_needs_no_budget(tiny: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """What a budget says would have to be invented; and a run without one would never end."""
    x = short(tiny, budget={})
    with rayal.ActiveLearner(x, tmp_path / "learner") as learner:
        learner.tell({unit: truth[unit] for unit in learner.ask(20)})
        learner.learn()
    summary = summarise([Record(Folder(tmp_path / "learner"))])

    assert [[20]] == [list(arm.labels) for group in summary.groups for arm in group.arms]
    with pytest.raises(UsageError, match="budget: is required; set budget.initial, budget.per"):
        rayal.run(x, tmp_path / "run")
    with pytest.raises(UsageError, match="oracle: 'told' has no answers .*; use rayal.ActiveLear"):
        rayal.run(tiny(oracle="told"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert rayal.run(tiny(budget={"initial": 20, "per_cycle": 1, "total": 20}), tmp_path / "run")
    x = short(tiny, oracle="told")
    with rayal.ActiveLearner(x, tmp_path / "learner") as learner:  # its amounts do not count
        assert 20 == len(learner.labels)


def test_another_experiment_is_refused(tiny: Any, tmp_path: Path) -> None:
    """Labels told for one would train another; a run would go on with people's labels."""
    with rayal.ActiveLearner(tiny(), tmp_path) as learner:
        learner.ask(5)
    with pytest.raises(LockedError, match=r"holds another experiment .*seed: 0 -> 1"):
        rayal.ActiveLearner(tiny(seed=1), tmp_path)
    with pytest.raises(LockedError, match=r"holds another experiment .*oracle.name"):
        rayal.run(tiny(), tmp_path)


def test_one_learner_of_a_folder(x: Any, tmp_path: Path) -> None:
    """A cell of a notebook that is run again would be locked out by itself."""
    first = rayal.ActiveLearner(x, tmp_path)
    ids = first.ask(5)
    with rayal.ActiveLearner(x, tmp_path) as second:
        assert ids == second.ask(5)
        for use in (lambda: first.ask(5), lambda: first.tell({ids[0]: 1}), first.learn):
            with pytest.raises(UsageError, match="is closed; make another with the same out"):
                use()
        with pytest.raises(LockedError):
            Ledger(Folder(tmp_path), {}).__enter__()
    assert ids == first.waiting == second.waiting
    first.close()  # again: nothing happens


def test_what_cannot_be_asked(x: Any, tiny: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Nonsense would be in the ledger, where it stays."""
    for n in (0, -1, 2.5, True, "5"):
        with (
            rayal.ActiveLearner(x, tmp_path) as learner,
            pytest.raises(UsageError, match="ask for a whole number of units, at least 1"),
        ):
            learner.ask(n)  # type: ignore[arg-type]
    with rayal.ActiveLearner(x, tmp_path) as learner:
        with pytest.raises(UsageError, match="set of 1 image is too small to train on; ask for"):
            learner.ask(1)
        with pytest.raises(LabelsPending, match="no label was told yet"):
            learner.learn()
        with pytest.raises(UsageError, match="no cycle has yet"):
            learner.model()
        assert 2 == len(learner.ask(2))
    with pytest.raises(UsageError, match="takes an experiment, got 'digits'; use rayal.load"):
        rayal.ActiveLearner("digits")  # type: ignore[arg-type]
    balanced = {"initial": 20, "per_cycle": 20, "total": 60, "balanced": True}
    with pytest.raises(UsageError, match="budget.balanced: oracle 'told' does not know classes"):
        rayal.ActiveLearner(tiny(budget=balanced), tmp_path)


def test_the_model_is_of_all_labels_told(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """A model that has not seen the last labels would be taken for the final one."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell({unit: truth[unit] for unit in learner.ask(20)})
        first = learner.model().state_dict()
        assert [20] == [*learner.curve()["labels"]]
        ids = learner.ask(20)
        learner.tell({unit: truth[unit] for unit in ids[:10]})
        waiting = learner.model().state_dict()  # of the labels before: the last are not all there
        learner.tell({unit: truth[unit] for unit in ids})
        second = learner.model().state_dict()

    assert [20, 40] == [*learner.curve()["labels"]]
    assert all((first[name] == waiting[name]).all() for name in first)
    assert any((first[name] != second[name]).any() for name in first)


def test_what_is_asked_can_be_looked_at(x: Any, tmp_path: Path) -> None:
    """People would label other images than were asked for."""
    from sklearn.datasets import load_digits

    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(3)
        images = learner.images(ids)
    originals = load_digits().images[[int(unit[-4:]) for unit in ids]]

    assert [(8, 8, 1)] * 3 == [image.shape for image in images]
    for image, original in zip(images, originals, strict=True):
        np.testing.assert_array_equal(np.rint(original * (255 / 16)), image[..., 0])


def test_an_image_that_cannot_be_decoded(tiny: Any, tmp_path: Path) -> None:
    """A training would end at it, after all labels were told."""
    plant(tmp_path / "images", *(f"pool/{n}.png" for n in range(5)), "test/a/6.png", "test/b/7.png")
    (tmp_path / "images/pool/3.png").write_bytes(b"no image")
    x = tiny(
        dataset={"name": "unlabeled_folder", "root": str(tmp_path / "images")},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 4},
    )
    mine = dict.fromkeys([f"pool/{n}.png" for n in range(5)], "a")
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        with pytest.raises(UsageError, match="'pool/3.png': cannot be decoded: .*; leave it out"):
            learner.tell(mine)
        with pytest.raises(DataError, match="'pool/3.png' cannot be decoded: .*; leave it out"):
            learner.images(mine)
        del mine["pool/3.png"]
        assert 4 == len(learner.images(mine))
        learner.tell(mine)
        assert [] == learner.ask(5)
        assert learner.learn() and [4] == [*learner.curve()["labels"]]


def test_copies_of_test_images_are_not_told(tiny: Any, tmp_path: Path) -> None:
    """A model would learn the images that judge it, though guards leave these out."""
    plant(tmp_path / "images", *(f"pool/{n}.png" for n in range(5)), "test/b/7.png")
    (tmp_path / "images/test/a").mkdir()
    shutil.copy(tmp_path / "images/pool/3.png", tmp_path / "images/test/a/copy.png")
    x = tiny(
        dataset={"name": "unlabeled_folder", "root": str(tmp_path / "images")},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 4},
        guards={"test_images": "leave_out"},
    )
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        with pytest.raises(UsageError, match="'pool/3.png': is a test image too, .*; leave it out"):
            learner.tell(dict.fromkeys([f"pool/{n}.png" for n in range(5)], "a"))
        learner.tell(dict.fromkeys([f"pool/{n}.png" for n in (0, 1, 2, 4)], "a"))
        assert 4 == len(learner.labels)


def test_told_labels_that_are_damaged(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """A flipped bit would be another class."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(4)
        learner.tell({unit: truth[unit] for unit in ids[:2]})
        learner.tell({unit: truth[unit] for unit in ids[2:3]})
    file = max((tmp_path / "cycle-000/initial-asked/told").iterdir())
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)

    with pytest.raises(StorageError, match="is damaged; .* or delete it and tell those labels"):
        rayal.ActiveLearner(x, tmp_path).tell({})
    file.unlink()
    with rayal.ActiveLearner(x, tmp_path) as learner:
        assert ids[2:] == learner.waiting
        learner.tell({unit: truth[unit] for unit in ids[2:]})
        assert {unit: str(truth[unit]) for unit in ids} == learner.labels


def test_a_damaged_folder_is_let_go(x: Any, tmp_path: Path) -> None:
    """It would be locked until Python ends, and nothing could free it."""
    learner = rayal.ActiveLearner(x, tmp_path)
    ids = learner.ask(4)
    learner.tell({ids[0]: 3})
    learner.close()
    (file,) = (tmp_path / "cycle-000/initial-asked/told").iterdir()
    data = file.read_bytes()
    learner = rayal.ActiveLearner(x, tmp_path)
    file.write_bytes(b"damaged")

    with pytest.raises(StorageError, match="is damaged"):
        learner.close()
    learner.close()  # again: nothing happens
    with Ledger(Folder(tmp_path), learner.run.record.identity()):
        pass
    with pytest.raises(StorageError, match="is damaged"):
        rayal.ActiveLearner(x, tmp_path).waiting  # noqa: B018 (reads)
    file.write_bytes(data)
    with rayal.ActiveLearner(x, tmp_path) as learner:
        assert ids[1:] == learner.waiting


def test_an_observer_that_fails_at_once(x: Any, tmp_path: Path) -> None:
    """A folder would stay locked by a learner that nobody has."""

    def fails(event: Any) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        rayal.ActiveLearner(x, tmp_path, on_event=fails)
    with Ledger(Folder(tmp_path), rayal.open_run(tmp_path).record.identity()):
        pass


def test_a_learner_that_is_refused_closes_no_other(x: Any, tiny: Any, tmp_path: Path) -> None:
    """A cell with a mistake would end the learner of the cell before."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        ids = learner.ask(4)
        with pytest.raises(LockedError, match="another experiment .*seed: 0 -> 1"):
            rayal.ActiveLearner(tiny(seed=1), tmp_path)
        with pytest.raises(UsageError, match="candidates: 9999 is more"):
            rayal.ActiveLearner(tiny(candidates=9999), tmp_path)

        assert ids == learner.ask(4)


def test_the_first_units_that_nobody_can_label(
    x: Any, truth: dict[str, Any], tmp_path: Path
) -> None:
    """The learner would be stuck for ever, with units that it does not train on."""
    order = _first(x, tmp_path / "other", 9)
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        learner.tell(dict.fromkeys(learner.ask(4)))
        with pytest.raises(LabelsPending, match="labels told: 0, too few to train on; ask for m"):
            learner.learn()
        assert order[4:7] == learner.ask(3) == learner.ask(1)
        learner.tell({order[4]: 1, order[5]: None, order[6]: None})
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:  # one label is no batch
        assert order[7:] == learner.ask(2)
        learner.tell({unit: truth[unit] for unit in order[7:]})

        assert not {*learner.ask(3)} & {*order}
        assert 3 == len(learner.labels) and 6 == len(learner.refused)
    assert order == [*learner.run.labels()["id"]] and [3] == [*learner.curve()["labels"]]


def _first(x: Any, out: Path, units: int) -> list[str]:
    """The first units in their random order."""
    with rayal.ActiveLearner(x, out) as learner:
        return learner.ask(units)


def test_nothing_is_left_that_could_be_labeled(tiny: Any, tmp_path: Path) -> None:
    """A loop would ask for the same units again, or end in a traceback."""
    x = tiny(dataset={"name": "digits", "limit_pool": 5, "limit_test": 20})
    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell(dict.fromkeys(learner.ask(9)))

        assert [] == learner.ask(9) == learner.waiting and 5 == len(learner.refused)


def test_too_few_labels_of_ones_own(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Asking for more would change nothing: the first set is what was told."""
    a, b, c, *_ = truth
    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell({a: truth[a], c: None})
        for use in (lambda: learner.ask(20), learner.learn):
            with pytest.raises(UsageError, match="ask.., 1, are too few to train on; tell more of"):
                use()
        learner.tell({b: truth[b]})
        assert 4 == len(learner.ask(4))


def test_an_interrupted_request_stands(
    x: Any, truth: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object would ask for other units than the folder waits for."""
    ask = Request.ask

    def interrupted(request: Request, units: Any) -> None:
        new = request.asked is None
        ask(request, units)
        if new:
            raise KeyboardInterrupt

    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell({unit: truth[unit] for unit in learner.ask(6)})
        monkeypatch.setattr(Request, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learner.ask(7)
        monkeypatch.undo()

        assert learner.run.chosen(0) == learner.waiting == learner.ask(3)
        assert 7 == len(learner.waiting)


def test_each_stage_is_told_once(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """A log would have labels that are bought twice."""
    said: list[str] = []
    with rayal.ActiveLearner(
        x, tmp_path, on_event=lambda event: said.append(str(event))
    ) as learner:
        for _ in range(2):
            learner.tell({unit: truth[unit] for unit in learner.ask(5)})
        metrics = learner.learn()
    stages = [each for each in said if each.endswith(("begun", "ended"))]

    assert len({*stages}) == len(stages)
    label = stages.index("cycle 0 label: begun")
    assert ["cycle 0 label: ended", "cycle 1 train: begun"] == stages[label + 1 : label + 3]
    assert ["accuracy", "nll"] == [*metrics]
    assert [*metrics.values()] == [*learner.curve().iloc[-1][["accuracy", "nll"]]]


def test_a_learner_is_a_place(x: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    """Whoever has the object would have to write its folder."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        learner.tell({unit: truth[unit] for unit in learner.ask(5)})
        learner.learn()
        ids = [*truth][:3]
        images = np.stack(learner.images(ids))

        assert str(tmp_path) == learner.url
        assert [str(tmp_path)] == [*rayal.status(learner).table()["run"]]
        assert 1 == len(rayal.compare([learner]).table())
        assert ids == rayal.score(learner, images, ids=ids).ids


def test_labels_from_other_libraries(x: Any, tmp_path: Path) -> None:
    """A column of a table, or the argmax of a network, would have to be made a dictionary."""
    with rayal.ActiveLearner(x, tmp_path) as learner:
        a, b, c, d, e = learner.ask(5)
        learner.tell(pd.Series({a: 3, b: 4}))
        learner.tell({c: torch.tensor(5), d: np.array(6)})
        with pytest.raises(UsageError, match="7.0 is no label"):
            learner.tell({e: torch.tensor(7.0)})
        with pytest.raises(UsageError, match="True is no label"):
            learner.tell({e: np.True_})
        with pytest.raises(UsageError, match=f"{e}' is there several times; leave all but one out"):
            learner.tell(pd.Series([1, 2], index=[e, e]))
        learner.tell(pd.Series([2], index=[e]))

        assert {a: "3", b: "4", c: "5", d: "6", e: "2"} == learner.labels


def test_masks(undrawn: None, tmp_path: Path) -> None:
    """A mask of another size would be stretched over the image, or one put where it is not."""
    shapes = (24, 32), (20, 28)
    root = scenes.write(tmp_path / "scenes", pool=12, test=2, shapes=shapes)
    x = rayal.Experiment.model_validate(
        {
            "name": "dense",
            "dataset": {"name": "camvid", "root": str(root), "canvas": shapes[0]},
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4},
            "scheme": {"name": "supervised", "steps": 2, "batch_size": 4, "lr": 0.05},
            "strategy": "entropy",
            "compute": {"engine": "local", "cpus_per_worker": 1, "score_batch": 4},
            "tracking": "none",
        }
    )
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        ids = learner.ask(4)
        images = learner.images(ids)
        shaped = {image.shape[:2] for image in images}
        masks = [np.full(image.shape[:2], 255, int) for image in images]
        for mask in masks:
            mask[:10] = 3
        with pytest.raises(UsageError, match=r"shape \(5, 5\) and float64 is no mask; give class"):
            learner.tell({ids[0]: np.zeros((5, 5))})
        with pytest.raises(UsageError, match="the mask has the value 99; give classes as 0 to"):
            learner.tell({ids[0]: np.full_like(masks[0], 99)})
        learner.tell(dict(zip(ids, masks, strict=True)))
        learner.tell({ids[0]: masks[0]})
        shown = learner.labels
        learner.ask(2)

    assert set(shapes) == shaped
    for unit, mask in zip(ids, masks, strict=True):
        height, width = mask.shape
        np.testing.assert_array_equal(mask, shown[unit][:height, :width])
        assert (shown[unit][height:] == 255).all()  # type: ignore[operator]
