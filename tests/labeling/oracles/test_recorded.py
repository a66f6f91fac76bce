"""Recorded votes: read from either form of file, handed out one after another."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.errors import DataError, UsageError
from rayal.labeling.oracles.recorded import Recorded
from rayal.labeling.oracles.simulated import Simulated
from rayal.labeling.recorded_votes import Columns, recorded_votes
from rayal.labeling.votes import Vote, parse_votes
from rayal.storage.folder import Folder
from rayal.testing import OracleContract
from rayal.testing.trainings import prepared
from tests.support.recorded import write_votes

CLASSES = ("cat", "dog", "2")


class TestRecorded(OracleContract):
    """What every oracle promises."""

    @pytest.fixture(autouse=True)
    def _each(self, tmp_path):
        write_votes(tmp_path / "votes.csv", prepared(False), wrong=0.3, annotators=5)
        self.part = Recorded(file=str(tmp_path / "votes.csv"), votes=2, disputed="first")


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def oracle(path: Path, rows: str, **options) -> Recorded:
    """Votes for digits; each row is the number of a digit, an annotator and a class."""
    lines = (f"digit-{int(n):04d},{who},{what}" for n, who, what in map(str.split, rows))
    file = written(path / "votes.csv", "\n".join(["id,annotator,label", *lines]))
    return Recorded(file=file, **options)


def test_long_and_wide_say_the_same(tmp_path):
    """Users of one form would get other labels than those of the other."""
    long = written(
        tmp_path / "long.csv",
        "unit,who,what,took\na,x,cat,1.5\nb,x,1,\na,y,2,3\nb,y,,2\n",
    )
    table = pa.table({"id": ["a", "b"], "x": ["cat", "dog"], "y": ["2", None]})
    pq.write_table(table, tmp_path / "wide.parquet")
    columns = Columns(id="unit", annotator="who", label="what", seconds="took")
    found = recorded_votes(long, columns, CLASSES)
    wide = recorded_votes(str(tmp_path / "wide.parquet"), Columns(annotators=("x", "y")), CLASSES)

    assert [Vote("a", 0, "x", 1.5), Vote("a", 2, "y", 3.0)] == found["a"]
    assert [Vote("b", 1, "x"), Vote("b", None, "y", 2.0)] == found["b"]
    assert {"a": [Vote("a", 0, "x"), Vote("a", 2, "y")], "b": [Vote("b", 1, "x")]} == wide


def test_row_numbers_are_those_of_the_dataset(tmp_path):
    """The votes of CIFAR-10N, whose ids are numbers, would be those of no unit."""
    table = pa.table({"id": [0, 12], "one": pa.array([1, 0], pa.int8())})
    pq.write_table(table, tmp_path / "votes.parquet")
    found = recorded_votes(str(tmp_path / "votes.parquet"), Columns(annotators=("one",)), CLASSES)

    assert ["train-00000", "train-00012"] == list(found)


@pytest.mark.parametrize(
    ("label", "said"), [("bird", "'a': 'bird' is no class"), ("7", "'a': 7 is no class index")]
)
def test_what_is_no_class(tmp_path, label, said):
    """A misspelt class would be another one."""
    file = written(tmp_path / "votes.csv", f"id,annotator,label\na,x,{label}\n")
    with pytest.raises(DataError, match=said):
        recorded_votes(file, Columns(), CLASSES)


def test_columns_are_named(tmp_path):
    """One annotator's votes would be taken for another's."""
    file = written(tmp_path / "votes.csv", "id,who,label\na,x,cat\n")
    with pytest.raises(DataError, match="no column 'annotator', .* id, who, label: name those of"):
        recorded_votes(file, Columns(), CLASSES)

    named = recorded_votes(file, Columns(annotator="who"), CLASSES)
    assert {"a": [Vote("a", 0, "x")]} == named


def test_a_file_of_another_kind(tmp_path):
    """A table of a spreadsheet would be read as noise."""
    text = "id,annotator,label\na,x,cat\n"
    with pytest.raises(DataError, match=r"is no .parquet or .csv file; give the votes in one"):
        recorded_votes(written(tmp_path / "votes.xlsx", text), Columns(), CLASSES)
    with pytest.raises(DataError, match="cannot be read as .parquet"):
        recorded_votes(written(tmp_path / "votes.parquet", text), Columns(), CLASSES)

    assert ["a"] == list(recorded_votes(written(tmp_path / "votes.csv", text), Columns(), CLASSES))


def test_votes_of_another_dataset(tmp_path):
    """All units would be refused, for nothing."""
    text = "id,annotator,label\na,x,1\n"
    store, asked = prepared(False), ["digit-0000"]
    other = Recorded(file=written(tmp_path / "other.csv", text))
    with pytest.raises(
        DataError, match="no vote of any unit of .*'digit-0000'; it has .* 'a': use"
    ):
        other.answer(store, asked, Folder(tmp_path))

    made = Recorded(file=written(tmp_path / "votes.csv", text.replace("a,x", "digit-0000,x")))
    assert {"digit-0000": (1, 1.0)} == made.answer(store, asked, Folder(tmp_path))


def test_masks_are_refused(tmp_path):
    """A class would be taken for a mask in the middle of a run."""
    file, card = written(tmp_path / "votes.csv", "id,annotator,label\na,x,1\n"), prepared(True).card
    with pytest.raises(UsageError, match="are masks; use simulated"):
        Recorded(file=file).check(card)

    Simulated().check(card)


def test_votes_come_one_after_another(tmp_path):
    """A vote would be given twice, or two be counted as one."""
    rows = ["0 x 3", "1 x 1", "0 y 5", "0 z 5", "1 y 1"]
    made, store = oracle(tmp_path, rows, disputed="first"), prepared(False)
    first, second, other = "digit-0000", "digit-0001", "digit-0002"
    earlier: dict = {}
    said = []
    for _ in range(3):
        out = Folder(tmp_path / f"{len(said)}")
        label = made.answer_again(store, [first], earlier, out)[first]
        (votes,) = (parse_votes(out.read(name)) for name in made.evidence(out))
        earlier = {first: [*earlier.get(first, ()), *votes]}
        said.append((label.value, label.cost, [vote.annotator for vote in votes]))

    assert [(3, 1.0, ["x"]), (3, 1.0, ["y"]), (5, 1.0, ["z"])] == said
    known = {first: earlier[first], second: [Vote(second, 1, "x")]}
    assert {second: 1.0} == made.costs_again(store, known)
    refused = made.answer(store, [other], Folder(tmp_path / "other"))
    assert {other: (None, 0.0)} == refused
    assert [1.0, 0.0] == made.costs(store, [first, other]).tolist()
    assert {} == made.evidence(Folder(tmp_path / "other"))


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"votes": 3}, 5),
        ({"votes": 2, "disputed": "first"}, 3),
        ({"votes": 2, "disputed": "refuse"}, None),
        ({"votes": 3, "consensus": "unanimous"}, 5),
        ({"votes": 3, "consensus": "unanimous", "disputed": "refuse"}, None),
    ],
)
def test_the_rule_decides(tmp_path, options, label):
    """A model would train on the label that the fewest have named."""
    made, store = oracle(tmp_path, ["0 x 3", "0 y 5", "0 z 5"], **options), prepared(False)
    found = made.answer(store, ["digit-0000"], Folder(tmp_path / "out"))["digit-0000"]

    assert (label, options["votes"]) == found


def test_the_real_votes(shared_data, tmp_path):
    """The noise would be another than the one that was published."""
    columns = Columns(annotators=("random_label1", "random_label2", "random_label3"))
    file = shared_data / "cifar10n_train_human_labels.parquet"
    found = recorded_votes(str(file), columns, tuple(map(str, range(10))))
    truth = pq.read_table(file, columns=["clean_label"])["clean_label"].to_numpy()
    said = np.array([[vote.value for vote in votes] for votes in found.values()])

    assert (50_000, 3) == said.shape
    np.testing.assert_allclose(
        (said != truth[:, None]).mean(axis=0), [0.1723, 0.1812, 0.1764], atol=1e-4
    )


def test_a_draw_is_settled_by_another_vote(tmp_path):
    """A second opinion alone would never change a label, and be bought for nothing."""
    rows = ["0 x 3", "0 y 5", "0 z 5", "1 x 3", "1 y 3", "1 z 5", "2 x 3", "2 y 5", "2 z 1"]
    made, store = oracle(tmp_path, rows), prepared(False)
    ids = [f"digit-{n:04d}" for n in range(3)]
    earlier = {unit: [Vote(unit, 3, "x")] for unit in ids}
    answers = made.answer_again(store, ids, earlier, Folder(tmp_path / "out"))

    assert dict(zip(ids, [(5, 2.0), (3, 1.0), (3, 2.0)], strict=True)) == answers
    assert {unit: label.cost for unit, label in answers.items()} == made.costs_again(store, earlier)
    both = oracle(tmp_path, rows, votes=2)
    found = both.answer(store, ids, Folder(tmp_path / "both"))
    assert [3.0, 2.0, 3.0] == both.costs(store, ids).tolist() == [a.cost for a in found.values()]
