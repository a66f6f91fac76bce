"""What all analyses stand on: a look back at finished runs, and results that reach MLflow."""

import shutil

import analysis
import numpy as np
import pytest
import torch
from analysis import Results, Study, alike, correlations, highest, open_studies

from rayal.errors import UsageError
from rayal.runs.record import Record
from rayal.runs.trackers.mlflow import Mlflow
from rayal.storage.folder import Folder

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def study(runs):
    return Study(Record(Folder(runs[0])))


def test_candidates_are_what_is_not_labeled(study):
    """A figure about the unlabeled units would hold labeled ones."""
    pool = set(study.store.pool.ids())
    for cycle in (0, 1, 2):
        ids = set(study.columns(cycle)["cod"].ids)

        assert ids == pool - study.labeled(cycle).keys()
        assert study.labeled(cycle + 1).keys() - study.labeled(cycle).keys() == set(
            study.picks(cycle)
        )
        assert set(study.columns(cycle)) == {"cod", "entropy", "least_confidence"}


def test_losses_agree_with_a_loop(study):
    """Rows would be of other units than those asked for, or of another network."""
    ids = study.store.pool.ids()[::37][::-1]  # not in the order of the pool
    network, card = study.network(2), study.store.card
    labels = study.store.labels("pool")
    expected = []
    for unit in ids:
        image = study.store.pool.decode(study.store.pool.take([unit])).images[0] / 255
        image = (image - np.reshape(card.image.mean, (-1, 1, 1))) / np.reshape(
            card.image.std, (-1, 1, 1)
        )
        logits = network(torch.tensor(image[None], dtype=torch.float32)).logits[0]
        expected.append(-logits.log_softmax(0)[labels[unit]].item())

    np.testing.assert_allclose(study.losses(network, ids), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cycle", [0, 3])
def test_networks_are_those_of_their_cycle(study, cycle):
    """An analysis of another cycle's network would look the same."""
    ids = study.store.test.ids()
    network = study.network(cycle)
    right = study.per_unit(ids, lambda x, y: network(x).logits.argmax(1) == y, "test")

    assert right.mean() == pytest.approx(study.evaluated(cycle, "accuracy"))


def test_what_a_run_lacks(study, finished, runs, tmp_path):
    """The user would see a traceback, or a mean over runs that have nothing in common."""
    one = finished("one-cycle", budget={"initial": 20, "per_cycle": 20, "total": 20})
    other = finished(
        "other", strategy="entropy", budget={"initial": 20, "per_cycle": 5, "total": 25}
    )
    with pytest.raises(UsageError, match="two cycles"):
        print(open_studies([one])[0].passes)
    with pytest.raises(UsageError, match="differ in more than the seed"):
        alike(open_studies([runs[0], other]))
    with pytest.raises(UsageError, match="no run folder"):
        open_studies([str(tmp_path)])
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        study.evaluated(0, "acuracy")
    alike(open_studies(runs))


def test_other_images_are_noticed(runs, tmp_path):
    """Losses would be of images that the run never saw."""
    shutil.copytree(runs[0], tmp_path / "run")
    folder = Folder(tmp_path / "run")
    folder.write_sealed("identity.json", {**folder.read_sealed("identity.json"), "data": "x"})

    with pytest.raises(UsageError, match="other images"):
        open_studies([str(tmp_path / "run")])


def test_correlations_by_hand():
    """A line would not be 1, or a constant a warning."""
    up = correlations([1, 2, 3], [1, 4, 9])

    assert up["spearman"] == pytest.approx(1)
    assert up["pearson"] == pytest.approx(np.corrcoef([1, 2, 3], [1, 4, 9])[0, 1])
    assert correlations([3, 2, 1], [1, 2, 3])["pearson"] == pytest.approx(-1)
    assert {None} == set(correlations([1, 2], [1, 2]).values())
    assert {None} == set(correlations([1, 1, 1], [1, 2, 3]).values())


def test_highest():
    """The lowest would be taken, or too many of equal ones, or always those of the first class."""
    assert highest(np.array([0.1, 0.9, 0.5, 0.9]), 3) == {1, 2, 3}
    assert len(highest(np.zeros(4), 2)) == 2
    assert 15 < len(highest(np.zeros(100), 50) & set(range(50, 100))) < 35


def test_results_reach_the_run_in_mlflow(study, tracker, artifacts, tmp_path, capsys):
    """Figures would have to be carried there by hand; a second analysis replaces the first."""
    results = Results(tmp_path)
    for rows in ([{"a": 1}], [{"a": 2}]):
        results.table("numbers", rows)
        results.send([study.record], None, skip=False)

    assert "numbers.csv" in artifacts(study.record.run_id)
    assert (tmp_path / "numbers.csv").read_text() == "a\n2\n"
    assert "| 2 |" in capsys.readouterr().out


def test_nothing_is_made_for_a_run_that_mlflow_does_not_have(study, tracker, tmp_path):
    """An analysis would leave empty runs and databases behind."""
    results = Results(tmp_path)
    results.text("a.md", "a")
    uri = f"sqlite:///{tmp_path / 'absent.db'}"
    results.send([study.record], uri, skip=False)
    elsewhere = Mlflow(uri=tracker.uri, experiment="elsewhere")

    assert not elsewhere.log_artifacts(study.record, results.files)
    assert not (tmp_path / "absent.db").exists()


def test_errors_are_one_line(program, tmp_path, capsys):
    """A wrong path would be a page of Python."""
    assert program("analyse/tod.py", tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_values_in_tables():
    """`None` in a table would read like a measurement."""
    assert analysis.markdown([{"a": None, "b": 0.123456}]).splitlines()[-1] == "|  | 0.1235 |"
