"""The timing table: what the run folders say, and nothing that they do not."""

import json
import os
import shutil
from pathlib import Path

import pytest

from jobs.analyse.timing import SETTING, STAGES, cycles, interrupted, summary
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.copied_command import CopiedCommand, script

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
PROGRAM = Path(__file__).parents[3] / "jobs" / "analyse" / "timing.py"


def row(**fields):
    setting = dict.fromkeys(SETTING, "same")
    numbers = {"candidates": 100, "extra_mb": 0.0, "epochs_s": 1.0, "companions": ""}
    seconds = {"train_s": 2.0, "auxiliary_s": None, "score_s": 3.0, "select_s": 1.0}
    return {**setting, **numbers, **seconds, "interrupted": False, **fields}


def test_summary_by_hand():
    """Means over the cycles of one setting; minutes are the sum of the parts."""
    rows = [row(train_s=50.0), row(train_s=70.0, score_s=5.0), row(strategy="other")]
    first, second = summary(rows)

    assert (first["cycles"], first["train_s"], first["score_s"]) == (2, 60, 4)
    assert first["total_min"] == pytest.approx(65 / 60)
    assert second["strategy"] == "other"


def test_interrupted_cycles_are_left_out():
    """What an earlier attempt had done would count as no time."""
    (only,) = summary([row(), row(score_s=0.1, interrupted=True)])

    assert (only["cycles"], only["score_s"]) == (1, 3.0)


def test_nothing_is_invented():
    """Auxiliary time that was not measured apart stays empty, or says where it is."""
    (plain,) = summary([row()])
    (beside,) = summary([row(companions="teacher", extra_mb=4.0)])
    (after,) = summary([row(auxiliary_s=60.0)])

    assert plain["auxiliary_s"] is None
    assert (beside["auxiliary_s"], beside["extra_mb"]) == ("in train", 4.0)
    assert (after["auxiliary_s"], after["total_min"]) == (60, 1.1)


def test_rows_are_what_the_stages_recorded(runs):
    """Seconds of another stage or cycle would be shown."""
    record = Record(Folder(runs[0]))
    found = list(cycles(record))
    done = {
        stage: json.loads(stage_folder(record.folder, 1, stage).read("done.json"))
        for stage in ("train", "score", "select")
    }

    assert [row["cycle"] for row in found] == [0, 1, 2]
    for stage in done:
        assert found[1][f"{stage}_s"] == done[stage]["seconds"]
    assert found[1]["epochs_s"] == done["train"]["result"]["seconds"]
    assert [row["candidates"] for row in found] == [580, 560, 540]
    assert found[0]["scored"] == "cod entropy least_confidence"
    assert (found[0]["cores"], found[0]["batch"]) == (os.cpu_count(), 256)


RESUMED = {
    "in the pass": [(1, "score"), (1, "select"), (1, "label"), *((2, s) for s in STAGES)],
    "in training": [*((c, s) for c in (1, 2) for s in (*STAGES, "label"))],
}


@pytest.mark.parametrize("later", RESUMED.values(), ids=RESUMED)
def test_an_interrupted_cycle_is_noticed(later, runs, tmp_path):
    """A stage that was resumed recorded the seconds of its last attempt only."""
    shutil.copytree(runs[0], tmp_path / "run")
    record = Record(Folder(tmp_path / "run"))
    for cycle, stage in later:
        out = stage_folder(record.folder, cycle, stage)
        out.write_sealed("done.json", {**out.read_sealed("done.json"), "attempt": 2})

    assert [interrupted(record, cycle) for cycle in (0, 1, 2)] == [False, True, False]


def test_companions_are_counted_by_their_weights(finished):
    """What a method keeps beside the model would be shown as nothing."""
    run = finished("emaod", strategy="emaod", scheme={"name": "tod", "epochs": 2, "batch_size": 16})
    record = Record(Folder(run))
    file = Path(run) / "cycle-000" / "train" / "companion-teacher.safetensors"
    first = next(cycles(record))

    assert (first["companions"], first["extra_mb"]) == ("teacher", file.stat().st_size / 1e6)


def test_end_to_end(runs, tmp_path, artifacts, rows):
    """`python jobs/analyse/timing.py` from anywhere: tables, and both in MLflow."""
    words = [PROGRAM, *runs, "--out", "found", "--cycle", 1]
    process = CopiedCommand(words, tmp_path, work=script)
    out, err = process.communicate(timeout=100)

    assert process.returncode == 0, err
    assert [r["cycle"] for r in rows(tmp_path / "found" / "timing.csv")] == ["1", "1"]
    assert (tmp_path / "found" / "timing.md").read_text().strip() in out
    for run in runs:
        assert {"timing.csv", "timing.md"} <= artifacts(Record(Folder(run)).run_id)


def test_nothing_to_show(runs, program, tmp_path, capsys):
    """A cycle that no run has would be an empty table."""
    assert program("analyse/timing.py", *runs, "--cycle", 9, "--out", tmp_path) == 2
    assert "no run has a finished selection" in capsys.readouterr().err
