"""What stages result in: the JSON of 0.4, there and back."""

import json

import pytest
from pydantic import ValidationError

from rayal.errors import StorageError
from rayal.runs.passes import Pass
from rayal.runs.result import StageResult
from rayal.runs.result_files import read_result, read_trained, write_trained
from rayal.runs.results import Chosen, Evaluated, Initial, Labeled, Scored, Trained
from rayal.storage.folder import Folder, recorded

FILE = recorded("weights.safetensors", b"numbers")
WRITTEN = FILE._asdict()

BY_04 = [
    (
        Trained(weights=FILE, companions={"teacher": FILE}, epochs=2, steps=9, loss=0.5, seconds=3),
        {
            "weights": WRITTEN,
            "companions": {"teacher": WRITTEN},
            "epochs": 2,
            "steps": 9,
            "loss": 0.5,
            "seconds": 3.0,
        },
    ),
    (
        Evaluated(metrics={"accuracy": 0.25, "per_class": [0.5, None]}, labels=4, cost=4.0),
        {"accuracy": 0.25, "per_class": [0.5, None], "labels": 4, "cost": 4.0},
    ),
    (
        Scored(units=3, columns=("cod",), options={"cod": {}}, shards=(FILE,), bad={"z": "empty"}),
        {
            "units": 3,
            "bad": {"z": "empty"},
            "columns": ["cod"],
            "options": {"cod": {}},
            "shards": [WRITTEN],
        },
    ),
    (
        Chosen(ids=("b", "a"), cost=2.0, sold_out=False, agreement={"cod": {"random": 0.5}}),
        {
            "ids": ["b", "a"],
            "cost": 2.0,
            "sold_out": False,
            "agreement": {"cod": {"random": 0.5}},
        },
    ),
    (
        Labeled(file=FILE, labels=2, refused=0, cost=2.0),
        {"file": WRITTEN, "labels": 2, "refused": 0, "cost": 2.0},
    ),
]


@pytest.mark.parametrize(("result", "written"), BY_04, ids=lambda each: type(each).__name__)
def test_json_is_that_of_04(result: StageResult, written: dict) -> None:
    """Run folders of 0.4 could not be continued, nor ours be read by its reports."""
    assert written == json.loads(json.dumps(result.to_json()))
    assert result == type(result).from_json(written)


def test_an_ensemble_there_and_back() -> None:
    """The second model would score with the weights of the first."""
    other = Trained(weights=recorded("b", b""), epochs=1, steps=1, loss=1.0, seconds=1.0)
    first = Trained(weights=FILE, epochs=1, steps=1, loss=1.0, seconds=1.0, members=(other,))
    back = Trained.from_json(json.loads(json.dumps(first.to_json())))

    assert (first, other) == (back.member(0), back.member(1))
    assert "members" not in first.to_json()["members"][0]  # as 0.4 wrote it


def test_what_a_later_rayal_adds_is_passed_over() -> None:
    """A report could not read the runs of a colleague who has upgraded; and a misspelt field of our
    own would be lost without a word."""
    written = Chosen(ids=("a",)).to_json()

    assert Chosen(ids=("a",)) == Chosen.from_json({**written, "mood": "good"})
    with pytest.raises(ValidationError):
        Chosen(ids=("a",), soldout=True)


def test_a_training_apart_there_and_back(tmp_path) -> None:
    """A member of an ensemble would be trained again, or a damaged one be believed."""
    out = Folder(tmp_path)
    assert read_trained(out) is None
    trained = Trained(weights=FILE, epochs=1, steps=1, loss=1.0, seconds=1.0)
    write_trained(out, trained)
    assert trained == read_trained(out)
    out.write_sealed("trained.json", {"ids": []})
    with pytest.raises(
        StorageError, match="trained.json is no Trained .*; delete it to train that"
    ):
        read_trained(out)
    out.write("trained.json", b"{")
    with pytest.raises(StorageError, match="copy, or delete it to train that model again$"):
        read_trained(out)
    out.remove("trained.json")
    assert read_trained(out) is None
    write_trained(out, trained)
    assert trained == read_trained(out)


def test_the_result_of_another_stage_is_refused(tmp_path) -> None:
    """A folder put into the wrong place would end in a traceback, or be believed."""
    (tmp_path / "label").mkdir()
    out = Folder(tmp_path / "label")
    out.write_sealed("done.json", {"result": ["a"]})
    with pytest.raises(StorageError, match="no Chosen"):
        read_result(Chosen, out)
    out.write_sealed("done.json", {"result": {"ids": ["a"]}})

    assert ("a",) == read_result(Chosen, out).ids
    for kind in (Initial, Pass, Evaluated):
        with pytest.raises(StorageError, match=f"no {kind.__name__} .*delete the folder"):
            read_result(kind, out)
