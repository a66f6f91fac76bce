"""rayal.runs.record: a run folder can be read at any moment of the run, and after its death."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from rayal.errors import Apart, StorageError, UsageError
from rayal.labeling.oracles.base import Label
from rayal.runs.experiment_file import WRITTEN_ANEW
from rayal.runs.find_records import find_records
from rayal.runs.ledger import STAGES, Ledger, stage_folder, write_labels
from rayal.runs.record import Record
from rayal.runs.result import StageResult
from rayal.runs.results import Chosen, Evaluated, Initial, Labeled, Scored, Trained
from rayal.storage import lock, yaml_file
from rayal.storage.folder import Folder, Json
from tests.support.doubles import evaluated, trained

EXPERIMENT = {"name": "x", "budget": {"initial": 2, "per_cycle": 2, "total": 4}}

WHOLE = {
    **EXPERIMENT,
    "seed": 0,
    **{part: {"name": "x"} for part in ("dataset", "scheme", "strategy")},
    "task": {"name": "classification"},
}
"""As much of an experiment as every reader needs."""


@pytest.fixture(params=["local", "memory"])
def run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Folder]:
    """The folder of a run that has not begun."""
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    folder = Folder(tmp_path / "run" if request.param == "local" else f"memory://{uuid.uuid4()}")
    folder.write("experiment.yaml", yaml.safe_dump(EXPERIMENT).encode())
    yield folder
    folder.delete()


def measured(labels: int) -> Evaluated:
    """What an evaluate stage records."""
    return evaluated(labels, accuracy=labels / 10, per_class=[0.5])


def one_cycle(ledger: Ledger, cycle: int, chosen: list[str]) -> None:
    """All stages of a cycle in which two more units are labeled, as the loop does them."""
    ledger.once(cycle, Trained, lambda out: trained())
    ledger.once(cycle, Evaluated, lambda out: measured(2 * cycle + 2))
    ledger.once(0, Initial, lambda out: write_labels(out, {}))
    ledger.once(cycle, Scored, lambda out: Scored(units=0, columns=(), shards=()))
    ledger.once(cycle, Chosen, lambda out: Chosen(ids=tuple(chosen)))
    if chosen:
        answers = {unit: Label(0, 1.0) for unit in chosen}
        ledger.once(cycle, Labeled, lambda out: write_labels(out, answers))


def test_rows_by_hand(run: Folder) -> None:
    """Curves would show the wrong labels, or times of stages that were not done."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, ["a", "b"])
        ledger.once(1, Trained, lambda out: trained())
        ledger.once(1, Evaluated, lambda out: measured(4))
    first, second = Record(run).cycles()
    seconds = {key: first.pop(key) for key in [f"{stage}_seconds" for stage in STAGES]}

    assert {"cycle": 0, "labels": 2, "cost": 2.0, "accuracy": 0.2} == first
    assert ["fit_seconds"] == [k for k, v in seconds.items() if v is None]
    assert (1, 4, 0.4) == (second["cycle"], second["labels"], second["accuracy"])
    assert second["train_seconds"] >= 0 and second["label_seconds"] is None


def test_stage_now(run: Folder) -> None:
    """`rayal status` would name the wrong stage, or none."""
    seen = []
    with Ledger(run, {}) as ledger:
        record = Record(run)

        def look(out: Folder) -> StageResult:
            seen.append(record.stage_now())
            return trained()

        class Later(Trained):
            stage = "score"

        ledger.once(0, Trained, look)
        seen.append(record.stage_now())
        ledger.once(1, Later, look)

    assert [(0, "train"), None, (1, "score")] == seen


def test_a_crashed_run(run: Folder) -> None:
    """A report about a crashed run would fail, or take half a stage for a result (M04)."""

    def crash(out: Folder) -> StageResult:
        out.write("epochs.jsonl", b'{"epoch": 0, "loss": 2.5}\n{"epoch": 1, "loss": 1.5}\n')
        raise RuntimeError

    with pytest.raises(RuntimeError), Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, ["a", "b"])
        ledger.once(1, Trained, crash)
    record = Record(run)

    assert (1, "train") == record.stage_now()
    assert [0] == [row["cycle"] for row in record.cycles()]
    assert [2.5, 1.5] == [row["loss"] for row in record.epochs(1)]
    assert [] == record.epochs(0)
    assert record.result(1, Trained) is None
    assert not record.complete


def test_complete_when_the_budget_is_spent(run: Folder) -> None:
    """Unfinished runs would be ranked with finished ones, or finished ones left out."""
    with Ledger(run, {}) as ledger:
        record = Record(run)
        states = [record.complete]
        one_cycle(ledger, 0, ["a", "b"])
        states.append(record.complete)
        ledger.once(1, Trained, lambda out: trained())
        states.append(record.complete)
        ledger.once(1, Evaluated, lambda out: measured(4))
        states.append(record.complete)

    assert [False, False, False, True] == states


def test_complete_when_no_unit_is_left(run: Folder) -> None:
    """A run whose pool is smaller than its budget would look unfinished for ever."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, [])

    assert Record(run).complete


def test_heartbeat_age(run: Folder) -> None:
    """`rayal status` could not tell a running run from a dead one."""
    with Ledger(run, {}):
        record = Record(run)
        assert 0 <= record.heartbeat_age() < 5
        holder = run.read_sealed("lock.json")
        for age, expected in [(100, 100), (-100, 0)]:  # the second: a clock was set back
            moment = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
            run.write_sealed("lock.json", {**holder, "heartbeat": moment})
            assert expected == pytest.approx(record.heartbeat_age(), abs=2)

    assert record.heartbeat_age() is None


def test_identity_of_a_run(run: Folder) -> None:
    """A tracker would show a resumed run as a second one."""
    ids = []
    for _ in range(2):
        with Ledger(run, {}):
            ids.append(Record(run).run_id)

    assert ids[0] == ids[1] != ""
    assert EXPERIMENT == Record(run).experiment()


def test_no_run(run: Folder) -> None:
    """`rayal status typo` would end in a traceback."""
    with pytest.raises(
        UsageError, match="absent is not a run folder: .*; give the --out .* of a run$"
    ):
        Record(run / "absent")
    with Ledger(run, {}):
        assert Record(run).run_id


@pytest.mark.parametrize("name", ["experiment.yaml", "cycle-000/train/epochs.jsonl"])
def test_damaged_files_are_named(run: Folder, name: str) -> None:
    """A report would end in a traceback, without the file's name."""
    with Ledger(run, {}):
        run.write(name, b'{"torn: ')
    record = Record(run)
    with pytest.raises(StorageError, match=f"{name} is damaged"):
        record.experiment() if name == "experiment.yaml" else record.epochs(0)


def test_finished_stages_are_read_once(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that looks every few seconds would download the whole run each time."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, [])
    record = Record(run)
    rows = record.cycles()
    monkeypatch.setattr(Folder, "read_sealed", lambda *_: pytest.fail("read again"))

    assert rows == record.cycles()


def test_reading_while_the_run_writes(run: Folder) -> None:
    """A reader would see half a cycle (J05)."""
    ended = threading.Event()

    def write() -> None:
        with Ledger(run, {}) as ledger:
            for cycle in range(8):
                one_cycle(ledger, cycle, [f"{cycle}-a", f"{cycle}-b"])
        ended.set()

    with Ledger(run, {}):
        pass
    writer = threading.Thread(target=write)
    writer.start()
    lengths = []
    while not ended.is_set():
        rows = Record(run).cycles()
        assert [(c, 2 * c + 2) for c in range(len(rows))] == [
            (row["cycle"], row["labels"]) for row in rows
        ]
        lengths.append(len(rows))
    writer.join()

    assert sorted(lengths) == lengths
    assert 8 == len(Record(run).cycles())


def test_a_run_that_begins_is_not_there_yet(tmp_path: Path) -> None:
    """`rayal status` over a sweep would fail whenever a run has just begun, or could not (J05)."""
    with Ledger(Folder(tmp_path / "begins"), {}), Ledger(Folder(tmp_path / "goes"), {}):
        (tmp_path / "goes/experiment.yaml").write_text(yaml.safe_dump(WHOLE))
        found = find_records([str(tmp_path)])

    assert [str(tmp_path / "goes")] == [record.folder.url for record in found]
    with pytest.raises(
        UsageError, match="no run folder is there or below; give the --out .* of a run"
    ):
        find_records([str(tmp_path / "begins")])
    assert 1 == len(find_records([str(tmp_path / "goes")]))


def test_what_a_run_began_with(run: Folder) -> None:
    """Runs that began with different units would be compared as pairs (L05)."""
    answers = {"b": Label(1, 1.0), "a": Label(None, 1.0)}
    with Ledger(run, {}) as ledger:
        before = Record(run).initial()
        ledger.once(0, Initial, lambda out: write_labels(out, answers))

    assert frozenset() == before
    assert {"a", "b"} == Record(run).initial()


def test_a_bit_of_the_settings_is_found(run: Folder) -> None:
    """A report would show another strategy, or take an unfinished run for a complete one."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, [])
    whole = yaml_file.sealed(yaml.safe_dump(EXPERIMENT)).encode()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        run.write("experiment.yaml", bytes(flipped))
        try:
            assert EXPERIMENT == Record(run).experiment()  # a bit of the word that marks the seal
        except StorageError as error:
            assert "experiment.yaml is damaged" in str(error)
            assert "give the run's own command again" in str(error)

    run.write("experiment.yaml", whole)
    assert EXPERIMENT == Record(run).experiment()


def test_a_run_without_its_settings_is_not_left_out(run: Folder) -> None:
    """A report over many runs would be made without one of them, and nobody would know."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, [])
    run.remove("experiment.yaml")
    (record,) = Record.below(run)

    with pytest.raises(StorageError, match="experiment.yaml: there is no such file.* anew"):
        record.experiment()
    assert "delete" not in WRITTEN_ANEW  # what is not there cannot be deleted


def test_rows_of_epochs_are_those_of_the_training(run: Folder) -> None:
    """A curve of losses would show a number that never was."""

    def train(out: Folder) -> Trained:
        return trained().model_copy(update={"log": out.write("epochs.jsonl", b'{"loss": 1.5}\n')})

    with Ledger(run, {}) as ledger:
        ledger.once(0, Trained, train)
    assert [{"loss": 1.5}] == Record(run).epochs(0)
    stage_folder(run, 0, "train").write("epochs.jsonl", b'{"loss": 7.5}\n')

    with pytest.raises(StorageError, match="epochs.jsonl is damaged.* delete it"):
        Record(run).epochs(0)
    stage_folder(run, 0, "train").remove("epochs.jsonl")
    assert [] == Record(run).epochs(0)


@pytest.mark.parametrize("stage", ["initial", "train", "evaluate", "score", "select", "label"])
def test_a_gap_is_an_error(run: Folder, stage: str) -> None:
    """A curve without one of its cycles would have another area, and pass for a whole one."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, ["a", "b"])
        ledger.once(1, Trained, lambda out: trained())
        ledger.once(1, Evaluated, lambda out: measured(4))
    Record(run).check_whole()
    assert Record(run).complete
    stage_folder(run, 0, stage).delete()

    assert not Record(run).complete
    with pytest.raises(StorageError, match=f"cycle-000/{stage} is missing although later"):
        Record(run).check_whole()
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, ["a", "b"])
    Record(run).check_whole()
    assert Record(run).complete


def test_a_stage_done_while_others_are_looked_at_is_no_gap(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` would now and then call a run damaged that goes on."""
    with Ledger(run, {}) as ledger:
        one_cycle(ledger, 0, ["a", "b"])
        ledger.once(1, Trained, lambda out: trained())
        read, looks = Record._read, []

        def meanwhile(self: Record, cycle: int, stage: str) -> Json | None:
            found = read(self, cycle, stage)
            if (cycle, stage) == (1, "evaluate"):
                looks.append(found)
                ledger.once(1, Evaluated, lambda out: measured(4))
                ledger.once(1, Scored, lambda out: Scored(units=0, columns=(), shards=()))
            return found

        monkeypatch.setattr(Record, "_read", meanwhile)
        Record(run).check_whole()

    assert [None] == looks


def test_a_missing_cycle_is_a_gap(run: Folder) -> None:
    """The number of folders would be taken for the number of the last cycle."""
    with Ledger(run, {}) as ledger:
        for cycle in range(3):
            one_cycle(ledger, cycle, [f"{cycle}-a", f"{cycle}-b"])
    (run / "cycle-001").delete()

    with pytest.raises(StorageError, match="cycle-001/train is missing"):
        Record(run).check_whole()


DAMAGE = {
    "empty": ("experiment.yaml", "", "it holds no experiment"),
    "list": ("experiment.yaml", "- a", "it holds no experiment"),
    "part": ("experiment.yaml", yaml.safe_dump(WHOLE | {"task": 3}), "task.name is missing"),
    "less": ("experiment.yaml", "name: x", "seed is missing"),
    "torn": ("experiment.yaml", '{"torn: ', "ScannerError"),
    "deep": ("experiment.yaml", "[" * 100_000, "ScannerError"),
    "spent": (
        "experiment.yaml",
        yaml.safe_dump(WHOLE | {"budget": {"total": 3}}),
        "budget.initial: should be there",
    ),
    "cut": ("run.json", '{"id": "', "not JSON"),
    "deep-json": ("run.json", "[" * 100_000, "not JSON"),
}


def test_a_damaged_run_hides_no_other(tmp_path: Path) -> None:
    """One empty file would take the reports of a whole sweep away."""
    for name in ("a-good", *DAMAGE, "z-good"):
        with Ledger(Folder(tmp_path / name), {}):
            (tmp_path / name / "experiment.yaml").write_text(yaml.safe_dump(WHOLE))
    for name, (file, text, _) in DAMAGE.items():
        (tmp_path / name / file).write_text(text)
    apart = Apart()
    found = find_records([str(tmp_path), str(tmp_path / "absent")], apart=apart)

    assert ["a-good", "z-good"] == [Path(record.folder.url).name for record in found]
    *damaged, absent = map(str, apart.errors)
    assert "absent: no run folder is there" in absent
    for name, (file, _, why) in sorted(DAMAGE.items()):
        (told,) = (each for each in damaged if f"/{name}/" in each)
        assert f"/{name}/{file} is damaged" in told and why in told and len(told) < 500
    with pytest.raises(StorageError, match=f"{len(DAMAGE) + 1} problems, all else is done"):
        apart.end()
