"""A stage is done once and for ever, whatever is killed, paused, damaged or full."""

import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import rayal
from rayal.errors import DataError, LabelsPending, LockedError, StorageError, UsageError
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import VOTES, Vote, dump_votes
from rayal.runs.ledger import INITIAL, STAGES, Ledger, PoolState, stage_folder, write_labels
from rayal.runs.result import StageResult
from rayal.runs.results import Initial, Labeled
from rayal.storage import lock
from rayal.storage.folder import Folder, recorded
from rayal.storage.local_files import temporary_name

IDENTITY = {"seed": 1, "scheme": {"name": "supervised", "lr": 0.1}, "observers": []}
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def disk() -> Iterator[Folder]:
    """A run folder where syncing is cheap."""
    with tempfile.TemporaryDirectory(dir=FAST_DISK) as place:
        yield Folder(f"{place}/run")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A run folder on an object store, with nobody else there to wait for."""
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    folder = Folder(f"memory://{uuid.uuid4().hex}")
    yield folder
    folder.delete()


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest) -> Folder:
    folder: Folder = request.getfixturevalue(request.param)
    return folder


def buy(ledger: Ledger, cycle: int, **values: int | None) -> None:
    """Buy labels at 1.5 each, in cycle -1 the initial ones."""
    answers = {unit: Label(value, 1.5) for unit, value in values.items()}
    stage = (0, Initial) if cycle < 0 else (cycle, Labeled)
    ledger.once(*stage, lambda out: write_labels(out, answers))


class Made(StageResult):
    """What some stage results in."""

    stage = "train"
    by: str = ""
    shape: tuple[int, ...] = ()


class MadeLater(Made):
    stage = "score"


class MadeLast(Made):
    stage = "fit"


def never(out: Folder) -> StageResult:
    raise AssertionError("this stage is finished")


def test_work_is_done_once(folder: Folder) -> None:
    """A resumed run would train again, or forget what it had trained."""
    with Ledger(folder, IDENTITY) as ledger:
        made = ledger.once(0, Made, lambda out: Made(by="first", shape=(1, 2)))

    with Ledger(folder, IDENTITY) as ledger:
        assert Made(by="first", shape=(1, 2)) == made == ledger.once(0, Made, never)
        assert made == ledger.result(0, Made)
        assert [True, False] == [ledger.finished(0, stage) for stage in ("train", "score")]


def test_done_says_who_and_when(folder: Folder) -> None:
    """Nobody could tell which attempt made a result, or how long it took."""
    with Ledger(folder, IDENTITY):
        pass
    with Ledger(folder, IDENTITY) as ledger:
        ledger.once(2, MadeLast, lambda out: MadeLast())
    done = folder.read_json("cycle-002/fit/done.json")

    assert 2 == done["attempt"]
    assert done["seconds"] >= 0
    assert done["started"] <= done["finished"]
    assert done["finished"].endswith("+00:00")


def test_work_that_failed_runs_again_with_what_it_had(folder: Folder) -> None:
    """A half-done stage would count as done, or lose its finished shards."""

    def half(out: Folder) -> StageResult:
        out.write("shard-0", b"whole")
        raise LabelsPending("waiting for 1 of 2 labels")

    with pytest.raises(LabelsPending), Ledger(folder, IDENTITY) as ledger:
        ledger.once(0, MadeLater, half)
    with Ledger(folder, IDENTITY) as ledger:
        assert not ledger.finished(0, "score")
        made = ledger.once(0, MadeLater, lambda out: MadeLater(by=out.read("shard-0").decode()))

    assert "whole" == made.by


def test_state_by_hand(folder: Folder) -> None:
    """The wrong units would be trained on, or the budget miscounted (L10)."""
    with Ledger(folder, IDENTITY) as ledger:
        assert PoolState(0, {}, {}, (), 0.0, 0) == ledger.state()
        buy(ledger, -1, z=3, a=1)
        assert PoolState(0, {"z": 3, "a": 1}, {"z": -1, "a": -1}, (), 3.0, 2) == ledger.state()
        buy(ledger, 0, m=None, b=0)
        buy(ledger, 1)
        buy(ledger, 2, c=2, n=None)
        state = ledger.state()

    expected = PoolState(
        cycle=3,
        labels={"z": 3, "a": 1, "b": 0, "c": 2},
        bought={"z": -1, "a": -1, "b": 0, "c": 2},
        refused=("m", "n"),
        spent=9.0,
        paid=6,
    )
    assert expected == state
    assert list("zabc") == list(state.labels)


def test_costs_add_up_exactly(disk: Folder) -> None:
    """Ten clicks of 0.1 would not reach a budget of 1 and one more cycle would be bought."""
    with Ledger(disk, IDENTITY) as ledger:
        tenths = {str(i): Label(0, 0.1) for i in range(10)}
        ledger.once(0, Initial, lambda out: write_labels(out, tenths))

        assert 1.0 == ledger.state().spent


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 3), (1, None), (None, 3), (None, None)])
def test_a_unit_bought_twice_is_an_error(
    disk: Folder, first: int | None, second: int | None
) -> None:
    """Money would be spent on a known label, which would then change silently (F08, G05)."""
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, a=first)
        buy(ledger, 0, a=second)
        with pytest.raises(StorageError, match="'a' was bought before; delete the folder .*label"):
            ledger.state()


def buy_again(ledger: Ledger, cycle: int, **labels: int | None) -> None:
    """A purchase of units that have a label."""
    answers = {unit: Label(label, 1.0) for unit, label in labels.items()}
    ledger.once(cycle, Labeled, lambda out: write_labels(out, answers, again=answers))


def test_a_unit_asked_for_again_has_its_last_label(disk: Folder) -> None:
    """The first, worse label would train, or the second one be free."""
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, a=1, b=2, c=3)
        buy_again(ledger, 0, b=4, c=None)

        expected = PoolState(1, {"a": 1, "b": 4}, {"a": -1, "b": -1}, ("c",), 6.5, 5)
        assert expected == ledger.state() == Ledger(disk, IDENTITY).state()
        first = {"a": 1, "b": 2, "c": 3}
        assert PoolState(0, first, dict.fromkeys(first, -1), (), 4.5, 3) == ledger.state(0)


def test_an_answer_costs_the_mean_of_those_that_were_paid_for(disk: Folder) -> None:
    """Sixty labels that came free, and ten of 30 seconds, would make a unit one of 4 seconds, and
    the next cycle ask for the whole pool; units asked again would be dearer by every answer."""
    with Ledger(disk, IDENTITY) as ledger:
        free = {f"free-{i}": Label(0, 0.0) for i in range(60)}
        ledger.once(0, Initial, lambda out: write_labels(out, free))
        assert ledger.state().mean_cost is None
        timed = {"free-0": Label(1, 30.0), "a": Label(1, 40.0), "b": Label(None, 20.0)}
        ledger.once(0, Labeled, lambda out: write_labels(out, timed, again=["free-0"]))
        assert 30.0 == ledger.state().mean_cost
        twice = {"a": Label(2, 50.0)}
        ledger.once(1, Labeled, lambda out: write_labels(out, twice, again=twice))

        assert (140.0, 35.0) == (ledger.state().spent, ledger.state().mean_cost)


@pytest.mark.parametrize("first", [None, "nothing"])
def test_only_a_labeled_unit_is_asked_for_again(disk: Folder, first: str | None) -> None:
    """A damaged run would go on with labels that nobody can have given."""
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, **({"a": None} if first is None else {"b": 1}))
        buy_again(ledger, 0, a=1)
        with pytest.raises(StorageError, match="'a' (was bought|is asked for again, never) before"):
            ledger.state()


def test_votes_are_those_of_all_purchases(disk: Folder) -> None:
    """Who asks again would not know what was said before."""
    heard = [Vote("a", 1, "x"), Vote("a", 2, "y"), Vote("never labeled", 3, "x")]

    def bought(out: Folder) -> Initial:
        made_from = {VOTES: out.write(VOTES, dump_votes(heard))}
        return write_labels(out, {"a": Label(1, 1.0), "b": Label(7, 1.0)}, made_from)

    with Ledger(disk, IDENTITY) as ledger:
        ledger.once(0, Initial, bought)
        buy_again(ledger, 0, a=2)

        assert {"a": heard[:2], "b": [Vote("b", 7)]} == ledger.votes(0)
        assert {"a": [*heard[:2], Vote("a", 2)], "b": [Vote("b", 7)]} == ledger.votes()


def test_another_vote_is_another_history() -> None:
    """What was chosen by votes would pass for chosen by others, where the labels are the same."""
    file, evidence = recorded("labels.parquet", b""), recorded(VOTES, b"x")
    plain = Labeled(file=file, labels=1, refused=0, cost=1.0)
    heard = plain.model_copy(update={"evidence": {VOTES: evidence}})

    assert [file.sha256] == plain.decides() != heard.decides()


@pytest.mark.parametrize(
    "label", [Label("cat", 1.0), Label(1.5, 1.0), Label(1, math.nan), Label(1, -1.0)]
)
def test_answers_that_make_no_sense(disk: Folder, label: Label) -> None:
    """A cost of nan would never reach the budget, and a run would not end (F01)."""
    with pytest.raises(DataError, match="unit 'b': the (label|cost)"):
        write_labels(disk, {"a": Label(0, 1.0), "b": label})

    assert [] == disk.names()


def test_another_experiment_is_refused(folder: Folder) -> None:
    """A run would go on with other settings than it began with (A13)."""
    with Ledger(folder, IDENTITY):
        pass
    changed = {"seed": 1, "scheme": {"name": "supervised", "lr": 0.05, "epochs": 3}}
    with pytest.raises(LockedError) as caught, Ledger(folder, changed):
        pass

    assert (
        f"{folder.url} holds another experiment (there -> here): scheme.lr: 0.1 -> 0.05,"
        " scheme.epochs: (absent) -> 3, observers: [] -> (absent);"
        " use another --out (in Python: out=), or the values that are there"
    ) == str(caught.value)

    with Ledger(folder, IDENTITY):  # refused before anything was written, and unlocked
        pass


def test_of_many_differences_the_telling_ones_are_first(folder: Folder) -> None:
    """The name of the other experiment, and the way out, stood among forty numbers."""
    there = {**{f"option_{n}": n for n in range(20)}, "classes": ["cat"] * 40}
    here = {**{f"option_{n}": n + 1 for n in range(20)}, "classes": ["cat"] * 40 + ["dog"]}
    with Ledger(folder, {**there, "dataset": {"name": "digits"}, "name": "first"}):
        pass
    with pytest.raises(LockedError) as caught:
        Ledger(folder, {**here, "dataset": {"name": "svhn"}, "name": "second"}).__enter__()

    assert (
        f'{folder.url} holds another experiment (there -> here): dataset.name: "digits" -> "svhn",'
        ' name: "first" -> "second", option_0: 0 -> 1, option_1: 1 -> 2, option_2: 2 -> 3 and 18'
        " more; use another --out (in Python: out=), or the values that are there"
    ) == str(caught.value)


def test_a_long_value_is_cut_where_it_differs(folder: Folder) -> None:
    """Two lists of classes were two screens, or would be the same dots."""
    with Ledger(folder, {"classes": ["cat"] * 40}):
        pass
    with pytest.raises(LockedError) as caught:
        Ledger(folder, {"classes": ["cat"] * 39 + ["dog"] * 40}).__enter__()

    assert 'classes: ..."cat", "cat"] -> ..."cat", "dog", "dog"' in str(caught.value)
    assert len(str(caught.value)) < 320 + len(folder.url)


def test_identity_is_compared_as_json(disk: Folder) -> None:
    """A tuple in the configuration would make every resume a changed experiment."""
    for _ in range(2):
        with Ledger(disk, {"milestones": (60, 80)}) as ledger:
            assert 0 == ledger.state().cycle


def test_a_newer_format_is_refused(folder: Folder) -> None:
    """An old rayal would misread what a new one wrote (B10)."""
    with Ledger(folder, IDENTITY):
        pass
    run = folder.read_sealed("run.json")
    folder.write_sealed("run.json", {**run, "format": 99, "rayal": "9.9"})
    with pytest.raises(
        UsageError, match=f"made by rayal 9.9, this is {rayal.__version__}; use that version"
    ):
        Ledger(folder, IDENTITY).__enter__()


def test_the_second_driver_is_refused(disk: Folder) -> None:
    """Two drivers would buy two different sets of labels."""
    with Ledger(disk, IDENTITY), pytest.raises(LockedError, match=f"pid {os.getpid()}"):
        Ledger(disk, {"other": 1}).__enter__()


def test_a_replaced_driver_cannot_commit(folder: Folder) -> None:
    """A driver that slept through its replacement would record over its results (J02)."""
    first, second = Ledger(folder, IDENTITY), Ledger(folder, IDENTITY, break_lock=True)

    def sleep_through_it(out: Folder) -> StageResult:
        second.__enter__()
        return Made(by="first")

    with first:
        for work in (sleep_through_it, never):
            with pytest.raises(LockedError, match="was taken over by"):
                first.once(0, Made, work)
        assert "second" == second.once(0, Made, lambda out: Made(by="second")).by
    second.__exit__()


def test_leftovers_are_swept_by_the_holder_only(disk: Folder) -> None:
    """A refused driver would delete the file that the first one is writing (A15)."""
    with Ledger(disk, IDENTITY):
        leftover = disk.local / "cycle-000" / temporary_name()
        leftover.parent.mkdir()
        leftover.write_bytes(b"half")
        with pytest.raises(LockedError):
            Ledger(disk, IDENTITY).__enter__()
        assert leftover.exists()
    with Ledger(disk, IDENTITY):
        assert not leftover.exists()


def test_what_was_killed_before_its_first_file_is_swept(disk: Folder) -> None:
    """A file of a process that was killed as it began would stay in the run folder."""
    disk.make()
    half = disk.local / f".tmp-{uuid.uuid4().hex}"
    half.write_bytes(b"half")
    theirs = disk.local / ".tmp-theirs"
    theirs.write_bytes(b"")
    with Ledger(disk, IDENTITY):
        assert (False, True) == (half.exists(), theirs.exists())


def test_a_link_is_swept_and_not_what_it_leads_to(disk: Folder, tmp_path: Path) -> None:
    """A run would be refused for ever, by a message that does not name the link."""
    with Ledger(disk, IDENTITY):
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").touch()
        for leads in (tmp_path / "kept", tmp_path / "absent"):
            (disk.local / temporary_name()).symlink_to(leads)
    with Ledger(disk, IDENTITY):
        assert not list(disk.local.glob(".tmp-*"))
    assert (tmp_path / "kept" / "file").exists()


def test_a_folder_that_is_no_run_is_not_swept(disk: Folder) -> None:
    """`--out ~` would delete other programs' files."""
    theirs = disk.local / "other" / temporary_name()
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"")
    with Ledger(disk, IDENTITY):
        assert theirs.exists()


@pytest.mark.parametrize("name", ["done.json", "labels.parquet", "identity.json", "run.json"])
def test_damage_is_named(disk: Folder, name: str) -> None:
    """A flipped bit would change a label, and nobody would ever know (B05)."""
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, a=1, b=2, c=None)
        expected = ledger.state()
    out = stage_folder(disk, 0, INITIAL)
    file = (out if name in out.names() else disk).local / name
    whole = file.read_bytes()
    damaged = 0
    for bit in range(3, 8 * len(whole), 61):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            with Ledger(disk, IDENTITY) as ledger:
                assert expected == ledger.state()  # white space flipped: the meaning is the same
        except StorageError as error:
            damaged += 1
            assert f"/{name} is damaged" in str(error)
            in_stage = f"or delete the folder {out.url} to do that stage again" in str(error)
            assert in_stage == (name in out.names())

    assert damaged > 5


def test_a_missing_label_file_is_named(disk: Folder) -> None:
    """Labels that were paid for would silently not count."""
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, a=1)
        ledger.stage(0, INITIAL).remove("labels.parquet")
        with pytest.raises(StorageError, match="labels.parquet: there is no such file.* or delete"):
            ledger.state()
        ledger.stage(0, INITIAL).delete()  # the way out
        buy(ledger, -1, a=1)

        assert {"a": 1} == ledger.state().labels


@pytest.mark.parametrize("name", ["with space", "é文", "a#b", "100%25", "line\nbreak"])
def test_run_folders_with_odd_names(disk: Folder, name: str) -> None:
    """A path could not be used because of how it is spelled (B11)."""
    for _ in range(2):
        with Ledger(disk / name, IDENTITY) as ledger:
            buy(ledger, -1, a=1)

            assert {"a": 1} == ledger.state().labels


def test_a_file_as_run_folder(disk: Folder) -> None:
    """`--out curve.csv` would fail hours later, or with a traceback (B11)."""
    disk.write("curve.csv", b"")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        Ledger(disk / "curve.csv", IDENTITY).__enter__()


def test_full_disk(disk: Folder) -> None:
    """A full disk would damage what was recorded, or lose it (B01)."""
    many = {f"unit-{i}": Label(i % 10, 1.0) for i in range(1000)}
    with Ledger(disk, IDENTITY) as ledger:
        buy(ledger, -1, a=1)
    before = [whole_files(disk)[name] for name in ("run.json", "cycle-000/initial/done.json")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with (
            pytest.raises(StorageError, match=r"labels.parquet: no space for \d{4,} bytes; free"),
            Ledger(disk, IDENTITY) as ledger,
        ):
            ledger.once(0, Labeled, lambda out: write_labels(out, many))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert before == [whole_files(disk)[n] for n in ("run.json", "cycle-000/initial/done.json")]

    with Ledger(disk, IDENTITY) as ledger:
        ledger.once(0, Labeled, lambda out: write_labels(out, many))

        assert 1001 == len(ledger.state().labels)


def whole_files(folder: Folder) -> dict[str, bytes]:
    """Path -> content of every file of a run."""
    return {str(p.relative_to(folder.local)): p.read_bytes() for p in files_of(folder)}


def files_of(folder: Folder) -> list[Path]:
    return [path for path in Path(folder.url).rglob("*") if path.is_file()]


class LedgerMachine(RuleBasedStateMachine):
    """Buying, refusing, failing and resuming in any order, against a model of plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.mkdtemp(dir=FAST_DISK)
        self.folder = Folder(self.place) / "run"
        self.purchases: list[dict[str, Label]] = []
        self.units = 0

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    def answers(self, values: list[int | None]) -> dict[str, Label]:
        first = self.units
        return {f"unit {first + i}": Label(v, 0.5 + i) for i, v in enumerate(values)}

    def next_stage(self) -> tuple[int, type[Labeled]]:
        return (len(self.purchases) - 1, Labeled) if self.purchases else (0, Initial)

    @rule(values=st.lists(st.none() | st.integers(0, 9), max_size=4))
    def buy(self, values: list[int | None]) -> None:
        answers = self.answers(values)
        with Ledger(self.folder, IDENTITY) as ledger:
            ledger.once(*self.next_stage(), lambda out: write_labels(out, answers))
        self.purchases.append(answers)
        self.units += len(answers)

    @rule(values=st.lists(st.integers(0, 9), max_size=4))
    def fail_before_the_commit(self, values: list[int | None]) -> None:
        def work(out: Folder) -> StageResult:
            write_labels(out, self.answers(values))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Ledger(self.folder, IDENTITY) as ledger:
            ledger.once(*self.next_stage(), work)

    @rule()
    def buy_again_what_is_bought(self) -> None:
        with Ledger(self.folder, IDENTITY) as ledger:
            for cycle in range(-1, len(self.purchases) - 1):
                ledger.once(max(cycle, 0), Initial if cycle < 0 else Labeled, never)

    @invariant()
    def state_is_what_was_bought(self) -> None:
        state = Ledger(self.folder, IDENTITY).state()
        bought = [
            (unit, label, cycle)
            for cycle, answers in enumerate(self.purchases, start=-1)
            for unit, label in answers.items()
        ]
        labels = {unit: label.value for unit, label, _ in bought if label.value is not None}

        assert list(labels.items()) == list(state.labels.items())
        assert {unit: cycle for unit, _, cycle in bought if unit in labels} == state.bought
        assert tuple(unit for unit, _, _ in bought if unit not in labels) == state.refused
        assert math.fsum(label.cost for _, label, _ in bought) == state.spent
        assert max(0, len(self.purchases) - 1) == state.cycle


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


DRIVER = """
import os, signal, sys
import pandas  # pyarrow would import it in every copy
from rayal.storage import lock
from rayal.errors import LockedError
from rayal.runs.ledger import Ledger, write_labels
from rayal.labeling.oracles.base import Label
from rayal.runs.result import StageResult
from rayal.runs.results import Initial, Labeled
from rayal.storage.folder import Folder

class Made(StageResult):
    stage = "train"
    attempt: int

lock.SETTLE = 0.01
WRITING = os.O_WRONLY | os.O_RDWR

def label(ledger, cycle, out):
    state = ledger.state()
    known = len(state.labels) + len(state.refused)
    values = [known, None if cycle == 1 else 7, 5]
    return write_labels(out, {f"unit-{known + i}": Label(v, 0.1) for i, v in enumerate(values)})

def run(url, cycles):
    with Ledger(Folder(url), {"seed": 1}) as ledger:
        ledger.once(0, Initial, lambda out: label(ledger, 0, out))
        while (cycle := ledger.state().cycle) < cycles:
            ledger.once(cycle, Made, lambda out: Made(attempt=ledger._lock.attempt))
            ledger.once(cycle, Labeled, lambda out: label(ledger, cycle, out))

def die_at(n, url):
    def count(event, args):
        nonlocal n
        changes = event in ("os.rename", "os.mkdir", "os.remove") or (
            event == "open" and (args[2] or 0) & WRITING)
        if changes and str(args[0]).startswith(url):
            n -= 1
            if n == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

for line in sys.stdin:  # a process that has imported everything; each run is a copy of it
    kill_at, cycles, url = line.rstrip("\\n").split(" ", 2)
    child = os.fork()
    if child == 0:
        die_at(int(kill_at), url)
        try:
            run(url, int(cycles))
            os._exit(0)
        except LockedError:
            os._exit(6)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Driver:
    """Runs a small experiment in a process, killed before its n-th change of the file system."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-c", DRIVER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Folder, *, kill_at: int = 0, cycles: int = 2) -> int:
        """The exit code; -9 where the kill came before the end."""
        self.process.stdin.write(f"{kill_at} {cycles} {folder.url}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


def finished_stages(folder: Folder) -> dict[str, bytes]:
    """Stage -> its done.json."""
    return {
        f"{cycle}/{stage}": (folder / cycle / stage).read("done.json")
        for cycle in folder.names()
        if cycle.startswith("cycle-")
        for stage in (folder / cycle).names()
        if (folder / cycle / stage).exists("done.json")
    }


@pytest.mark.parametrize("apart", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_changes_of_the_disk(disk: Folder, driver: Driver, apart: int) -> None:
    """Some moment of a run would not survive a kill; each is killed twice (A01, A02, I1, I3)."""
    golden = disk / "golden"
    assert 0 == driver.run(golden)
    expected = Ledger(golden, {"seed": 1}).state()
    for n in range(1, 1000, apart):
        folder = disk / str(n)
        if driver.run(folder, kill_at=n) == 0:
            break
        first = finished_stages(folder)
        driver.run(folder, kill_at=3 + n % 11)
        second = finished_stages(folder)

        assert first.items() <= second.items()
        assert 0 == driver.run(folder)
        assert second.items() <= finished_stages(folder).items()
        assert expected == Ledger(folder, {"seed": 1}).state()
        assert 0 == driver.run(folder)  # nothing to do but to sweep
        assert not [path for path in files_of(folder) if path.name.startswith(".tmp-")]

    assert 40 < n < 999
    assert 8 == len(expected.labels)
    assert ("unit-7",) == expected.refused


def test_three_drivers_and_random_kills(disk: Folder) -> None:
    """Two drivers would each record their own result of a stage (J06)."""
    cycles, seen, conflicts = 5, {}, []
    guard = threading.Lock()

    def fight(seed: int) -> None:
        driver, rng = Driver(), random.Random(seed)
        while f"cycle-{cycles - 1:03d}/label" not in finished_stages(disk):
            if driver.run(disk, kill_at=rng.randint(1, 25), cycles=cycles) not in (0, 6, -9):
                break
            with guard:
                for stage, done in finished_stages(disk).items():
                    if seen.setdefault(stage, done) != done:
                        conflicts.append(stage)
        driver.close()

    fighters = [threading.Thread(target=fight, args=[seed]) for seed in range(3)]
    for fighter in fighters:
        fighter.start()
    for fighter in fighters:
        fighter.join()
    order = sorted(stage for stage in seen if not stage.endswith("initial"))
    attempts = [json.loads(seen[stage])["attempt"] for stage in sorted(order, key=in_order)]

    assert [] == conflicts
    assert 1 + 2 * cycles == len(seen)
    assert sorted(attempts) == attempts
    assert len(set(attempts)) > 3


def in_order(stage: str) -> tuple[str, int]:
    cycle, name = stage.split("/")
    return cycle, STAGES.index(name)
