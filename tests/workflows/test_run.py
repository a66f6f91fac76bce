"""A run killed anywhere continues by the same command and ends as if nothing had happened."""

import json
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest

import rayal
from rayal.engine.local import LocalEngine
from rayal.errors import LabelsPending, LockedError, UsageError
from rayal.report.status import status_rows
from rayal.runs.events import Event
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from tests.support.people import answer, asks, requests, table, truthful
from tests.support.whole_runs import short

POINTS = [  # every stage: before its work, and halfway through what it writes
    "cycle-000/initial/started.json",
    "cycle-000/initial/labels.parquet",
    "cycle-000/train/started.json",
    "cycle-000/train/checkpoint-*.pt",
    "cycle-000/evaluate/started.json",
    "cycle-000/score/shard-00001.parquet",
    "cycle-000/select/chosen.csv",
    "cycle-000/label/labels.parquet",
    "cycle-001/train/weights.safetensors",
    "cycle-001/score/started.json",
    "cycle-001/score/shard-00001.parquet",
    "metrics.jsonl",
]


def ending(out: Path):
    """What a run is judged by: all picks, all labels, the last weights, the curve."""
    chosen = [path.read_bytes() for path in sorted(out.glob("cycle-*/select/chosen.csv"))]
    labels = [path.read_bytes() for path in sorted(out.glob("cycle-*/*/labels.parquet"))]
    weights = [path.read_bytes() for path in sorted(out.glob("cycle-*/train/weights.safetensors"))]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    curve = [(row["cycle"], row["labels"], row["accuracy"], row["nll"]) for row in rows]
    return chosen, labels, weights, curve


def test_killed_again_and_again(tiny, process, tmp_path):
    """A crash would lose work that was done, buy labels twice, or change what is chosen."""
    x = short(
        tiny,
        compute={
            "engine": "local",
            "shard_rows": 256,
            "cpus_per_worker": 1,
            "checkpoint_seconds": 0,
        },
    )
    assert process(x, tmp_path / "whole").returncode == 0
    for point in POINTS:
        killed = process(x, tmp_path / "killed", point)
        assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stderr}"
    last = process(x, tmp_path / "killed")

    assert last.returncode == 0, last.stderr
    assert ending(tmp_path / "whole") == ending(tmp_path / "killed")
    assert len(ending(tmp_path / "whole")[0]) == 2


def test_a_finished_shard_is_not_scored_again(tiny, process, tmp_path):
    """A killed pass over a large pool would start from the beginning."""
    x = short(tiny)
    process(x, tmp_path, "cycle-000/score/shard-00001.parquet")
    shards = [tmp_path / f"cycle-000/score/shard-0000{i}.parquet" for i in (0, 1)]
    before = [shard.stat().st_mtime_ns for shard in shards]
    assert process(x, tmp_path).returncode == 0

    assert [shard.stat().st_mtime_ns for shard in shards] == before


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_shard_is_scored_again(tiny, process, tmp_path, damage):
    """Half a shard, or a flipped bit in it, would be taken for scores."""
    x = short(tiny)
    process(x, tmp_path / "killed", "cycle-000/score/shard-00001.parquet")
    shard = tmp_path / "killed/cycle-000/score/shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes(data))
    assert process(x, tmp_path / "killed").returncode == 0
    assert process(x, tmp_path / "whole").returncode == 0

    assert ending(tmp_path / "killed") == ending(tmp_path / "whole")


def complete(x, folder):
    engine = LocalEngine(x.compute)
    with start_run(x, folder) as opened:
        return opened.run(lambda: nullcontext(engine))


def test_a_complete_run_starts_nothing(tiny, tmp_path):
    """The same command again would start a cluster for nothing."""
    x = short(tiny)
    pool = complete(x, str(tmp_path))

    def refuse():
        raise AssertionError("an engine was opened")

    with start_run(x, str(tmp_path)) as opened:
        assert opened.record.complete
        assert opened.run(refuse) == pool


def test_a_run_that_waits_starts_nothing(tiny, tmp_path):
    """Whoever looks whether enough is in would wait for a cluster that has nothing to do."""
    run = tmp_path / "run"
    x = short(
        tiny,
        oracle="people",
        strategy="random",
        budget={"initial": 20, "per_cycle": 9, "total": 29},
    )

    def refuse():
        raise AssertionError("an engine was opened")

    assert asks(x, run)
    shutil.rmtree(requests(run)[-1])
    for _ in range(2):
        with start_run(x, run) as opened, pytest.raises(LabelsPending, match="for 20 labels, 0 in"):
            opened.run(refuse)
        assert "waiting" == status_rows([str(run)])[0]["state"]
        (row, *_) = Record(Folder(run)).requests()
        assert 20 == len(row[1].asked)
    assert requests(run)[-1].exists()  # written again
    answer(run, truthful(x))
    assert asks(x, run)
    with start_run(x, run) as opened, pytest.raises(LabelsPending, match="for 9 labels, 0 in"):
        opened.run(refuse)
    fewer = short(tiny, **{**dict(x), "oracle": {"name": "people", "wait": 0.3}})
    file = tmp_path / "some.csv"
    rows = table(requests(run)[-1], truthful(x)).splitlines(keepends=True)
    file.write_text("".join(rows[:4]))
    rayal.add_labels(run, file)
    with start_run(fewer, run) as opened, pytest.raises(AssertionError, match="engine was opened"):
        opened.run(refuse)  # three of nine are enough now


def test_a_changed_experiment_is_refused_with_what_changed(tiny, tmp_path):
    """Half of a run would be trained with one learning rate and half with another."""
    complete(short(tiny), str(tmp_path))
    changed = short(tiny, scheme={"name": "supervised", "epochs": 4, "batch_size": 16, "lr": 0.01})

    with (
        pytest.raises(LockedError, match=r"scheme\.lr.*0\.05.*0\.01"),
        start_run(changed, str(tmp_path)),
    ):
        pass


def test_what_cannot_change_the_result_may_change(tiny, tmp_path):
    """A user who moves to a larger machine would have to start over."""
    complete(short(tiny), str(tmp_path))
    moved = {"engine": "ray", "scorers": 7, "shard_rows": 256, "cpus_per_worker": 2}

    with start_run(short(tiny, compute=moved), str(tmp_path)) as opened:
        assert opened.record.complete


def test_contradictions_are_found_before_anything_starts(tiny, tmp_path):
    """A run would fail in its last cycle for want of images."""
    with (
        pytest.raises(UsageError, match=r"budget\.total: 301 is more than the 300"),
        start_run(
            short(tiny, budget={"initial": 20, "per_cycle": 20, "total": 301}), str(tmp_path)
        ),
    ):
        pass
    assert not any(tmp_path.iterdir())


def test_a_run_may_lie_on_another_file_system(tiny, drawn, tmp_path):
    """Run folders on object storage would fail somewhere on the way."""
    x = short(tiny)
    pool = complete(x, "memory://runs/one")
    local = complete(x, str(tmp_path))
    remote = Folder("memory://runs/one")

    assert pool == local
    for file in ("experiment.yaml", "metrics.jsonl", "curve.csv"):
        assert remote.exists(file)
    assert remote.read("curve.png").startswith(b"\x89PNG")
    for cycle in (0, 1):
        name = f"cycle-00{cycle}/select/chosen.csv"
        assert remote.read(name) == (tmp_path / name).read_bytes()


class Waits:
    """People who have not answered yet."""

    def on(self, event: Event) -> None:
        if (event.what, event.stage) == ("begun", "label"):
            raise LabelsPending("waiting for labels")


def test_a_run_that_waits_for_people_shows_its_curve(tiny, tmp_path):
    """Each command does one short cycle and ends: its curve would never be drawn."""
    x = short(tiny, compute={"engine": "local"})
    with pytest.raises(LabelsPending), start_run(x, str(tmp_path)) as run:
        run.run(lambda: nullcontext(LocalEngine(x.compute)), [Waits()])

    assert 1 == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    assert 2 == len((tmp_path / "curve.csv").read_text().splitlines())
    assert (tmp_path / "curve.png").exists()
