"""Processes that hold a pool: the picks of one process, whoever dies, and no more than fits."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from ray.exceptions import (
    ActorUnschedulableError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
)

from rayal.cycle.checked import seen_by
from rayal.cycle.lots import Lot, Read, Whole, held
from rayal.engine import failures, holder_process, holding, hosts
from rayal.engine.cluster import RayEngine
from rayal.engine.holding import HeldPool, Seats
from rayal.engine.hosts import Host, needed, shared_out
from rayal.errors import ClusterError, LostError
from rayal.experiment.compute import Compute
from rayal.randomness import numpy_generator
from rayal.selection.progress import Progress
from rayal.storage.folder import FileRecord
from rayal.strategies import badge, core_set
from rayal.strategies.badge import Badge
from rayal.strategies.base import Strategy
from rayal.strategies.core_gcn import CoreGcn
from rayal.strategies.core_set import CoreSet
from rayal.strategies.prob_cover import ProbCover
from rayal.strategies.typiclust import Typiclust
from rayal.workflows.select import select
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.request import Request
from tests.support.fake_ray import Actor, FakeRay
from tests.support.kept_pass import kept_pass

ROOT = Path(__file__).parents[2]
LABELED = [f"unit-{n:06d}" for n in range(0, 300, 30)]


def use(monkeypatch: pytest.MonkeyPatch, ray: Any) -> None:
    """In place of Ray, for whoever asks processes and whoever waits for them."""
    monkeypatch.setattr(holding, "ray", ray)
    monkeypatch.setattr(failures, "ray", ray)


class Holding:
    """Three processes on one machine, as an engine has one on each of three."""

    def holds(self, size: int) -> bool:
        return True

    def has_room(self, whole: Whole) -> bool:
        return True

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator[HeldPool]:
        with closing(HeldPool(whole, progress, max_failures=2, per_host=3)) as self.pool:
            yield self.pool


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> str:
    return kept_pass(tmp_path_factory.mktemp("pass"), 300)


class Killing(Progress):
    """Kills a process, and another, whenever so many more picks are made."""

    def __init__(self, engine: Holding, every: int) -> None:
        super().__init__()
        self.engine, self.every, self.killed = engine, every, 0

    def add(self, picks: list[int], **state: Any) -> None:
        super().add(picks, **state)
        if len(self.picks) >= self.every * (self.killed + 1) and self.killed < 2:
            ray.kill(self.engine.pool.seats.processes[self.killed])
            self.killed += 1


def each(first: Strategy, *others: Strategy) -> list[Any]:
    """These strategies, all but the first in the slow lane."""
    marked = [pytest.param(s, id=s.part_name(), marks=pytest.mark.slow) for s in others]
    return [pytest.param(first, id=first.part_name()), *marked]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "strategy",
    each(
        CoreSet(),
        CoreGcn(),
        Badge(),
        ProbCover(radius=1.0, normalise=False),
        Typiclust(clustering="exact", normalise=False),
    ),
)
def test_processes_pick_what_one_picks_though_two_die(
    scores: str, strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process more, or one less, would change what is labeled."""
    monkeypatch.setattr(core_set.farthest_first, "__defaults__", (8,))
    monkeypatch.setattr(badge, "ROUND", 8)
    done, engine = FinishedPass(scores), Holding()
    pool = Whole.of(done.folder, done.result, strategy, strategy.part_name(), LABELED)
    progress = Killing(engine, 15)
    with held(engine, pool, LABELED, progress) as there:
        rng = numpy_generator(0, 0, "select", strategy.part_name())
        picked = list(strategy.select(seen_by(strategy, there), 60, rng))
    (tmp_path / "labeled.txt").write_text("\n".join(LABELED))
    request = Request(strategy=strategy, budget=60, labeled=f"{tmp_path}/labeled.txt")

    assert select(scores, request).ids == picked
    assert 2 == progress.killed == engine.pool.seats.deaths


@pytest.mark.parametrize(
    "error",
    [
        ActorUnschedulableError("gone"),
        ObjectLostError("0" * 56, None, ""),
        OutOfMemoryError("full"),
    ],
)
def test_a_lost_machine_is_a_death(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says it in other words where the machine goes before the process has begun, or with an
    answer that was not fetched."""
    met: list[Actor] = []

    def dies(actor: Actor, method: str) -> Exception | None:
        met.append(actor)
        return error if len(met) == 1 else None

    use(monkeypatch, FakeRay(dies))
    monkeypatch.setattr(holding, "hosts", lambda: machines(9))
    monkeypatch.setattr(holding, "NodeAffinitySchedulingStrategy", lambda *_, **__: None)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    seats = Seats(whole(1, 1).lots(1), 2**30, machines(9), max_failures=1)
    monkeypatch.setattr(holder_process, "read", lambda lot: Read(pa.table({"id": ["a"]}), {}))

    assert [["a"]] == [each["id"].to_pylist() for each in seats.ask("listed", (), {0: ()})]
    assert 1 == seats.deaths and seats.processes == met[1:]


@pytest.mark.parametrize(
    ("strategy", "call"),
    [(ProbCover(radius=1.0, normalise=False), "lose"), (Badge(), "shrink")],
    ids=lambda each: each if isinstance(each, str) else each.part_name(),
)
def test_one_dies_after_its_answer_and_another_before_it(
    scores: str, strategy: Strategy, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is found dead by who takes the other's place; it would lack the pick of the call
    that it had answered, and all picks after it be others."""
    calls: list[Actor] = []

    def dies(actor: Actor, method: str) -> Exception | None:
        calls.extend([actor] if method == call else [])
        return RayActorError() if len(calls) == 3 * 5 + 2 and method == call else None

    def answered(actor: Actor, method: str) -> None:
        if method == call and len(calls) == 3 * 5 + 1:
            actor.dead = True

    use(monkeypatch, FakeRay(dies, answered))
    for module in (holding, hosts):
        monkeypatch.setattr(module, "hosts", lambda: machines(9))
    monkeypatch.setattr(holding, "NodeAffinitySchedulingStrategy", lambda *_, **__: None)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr(badge, "ROUND", 8)
    done = FinishedPass(scores)
    pool = Whole.of(done.folder, done.result, strategy, strategy.part_name(), ())
    engine, rng = Holding(), numpy_generator(0, 0, "select", strategy.part_name())
    with held(engine, pool, (), Progress()) as there:
        picked = list(strategy.select(seen_by(strategy, there), 60, rng))

    assert select(scores, Request(strategy=strategy, budget=60)).ids == picked
    assert 2 == engine.pool.seats.deaths


@pytest.mark.ray
@pytest.mark.slow  # a cluster of two nodes each; processes that die are tried on one above
@pytest.mark.parametrize("lost", ["process", "node", "driver"])
def test_two_nodes_pick_what_one_process_picks(tmp_path: Path, lost: str) -> None:
    """The second machine, the loss of one, or a driver that is killed and started again would
    change what is labeled."""
    scores = kept_pass(tmp_path / "pass", 4000, levels=50)
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.select_on_nodes", scores, tmp_path / "out"]
    ran = subprocess.run(
        [*command, lost], env=environment, capture_output=True, text=True, timeout=280
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads((tmp_path / "out/found.json").read_bytes())

    assert select(scores, Request(strategy=CoreSet(), budget=700)).ids == found["ids"]
    assert (2, True) == (found["nodes"], found["lost"] > 0)
    if lost == "driver":
        assert 256 <= found["lost"] < 700
        assert ["picks.picks.json"] == found["left"]
        assert ["picks.csv", "picks.parquet"] == found["after"]


def whole(units: int, row_bytes: int, labeled: int = 0, shards: int = 40) -> Whole:
    records = tuple(FileRecord(f"shard-{n}", 1000, "") for n in range(shards))
    return Whole(Lot("/pass", records, {}, ""), units, labeled, row_bytes)


def machines(*memory: float) -> list[Host]:
    """The largest first, in GB."""
    return [Host(f"node-{n}", gb * 2**30, 4, gb * 2**30) for n, gb in enumerate(memory)]


def test_as_many_machines_as_have_room() -> None:
    """All of them where they are alike; a small head node would have a large pool refused."""
    pool = whole(10**7, 128)  # 2.46 GB with what is noted of units

    assert 4 == len(shared_out(pool, machines(8, 8, 8, 8)))
    assert 2 == len(shared_out(pool, machines(8, 8, 0.5, 0.1)))
    assert 1 == len(shared_out(pool, machines(8)))
    assert 6 == len(shared_out(pool, machines(8, 8), per_host=3))
    each = [needed(pool, shared_out(pool, machines(*[9] * count))) for count in (1, 2, 4)]
    rest = np.array(each) - hosts.PROCESS_BYTES
    np.testing.assert_allclose(rest, 10**7 * 264 / np.array([1, 2, 4]))


def test_a_pool_that_does_not_fit_is_refused_with_what_it_takes() -> None:
    """Machines would be out of memory after an hour of reading, and take other work with them."""
    with pytest.raises(ClusterError, match="1000000000 units take 1080.33 GB of memory.*2 of the"):
        shared_out(whole(10**9, 1024), machines(64, 64))
    assert 100 == len(shared_out(whole(10**9, 1024, shards=4000), machines(*[16] * 100)))
    assert 50 == len(shared_out(whole(10**9, 1024, shards=4000), machines(*[32] * 50)))
    with pytest.raises(ClusterError, match="select from fewer candidates"):
        shared_out(whole(1000, 8), machines(0.5))  # the process alone
    assert 1 == len(shared_out(whole(1000, 8), machines(0.7)))
    with pytest.raises(ClusterError):  # each has a copy of the labeled ones
        shared_out(whole(1000, 1024, 10**7), machines(8, 8))


def test_memory_that_others_have_is_waited_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two trials of a sweep one would wait for the other, for an hour; or a strategy be refused
    what the one before it has just let go."""
    (host,), pool = machines(8), whole(10**7, 128)
    told = [[host._replace(free=gb * 2**30)] for gb in (1, 1, 1, 8)]
    monkeypatch.setattr(hosts, "SETTLE_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(hosts, "hosts", lambda: told.pop(0))
        lots, there = hosts.room(pool)
    assert (1, 8 * 2**30, []) == (len(lots), there[0].free, told)
    monkeypatch.setattr(hosts, "hosts", lambda: [host._replace(free=2**30)])
    with pytest.raises(ClusterError, match=r"the 1 of the cluster have 1\.00 GB free"):
        hosts.room(pool)


def test_a_machine_that_is_lost_needs_another_with_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process would wait for a place for ever; or two be put where there is room for one."""
    lots = whole(10**7, 128).lots(3)
    monkeypatch.setattr(Seats, "_start", lambda seats, number: None)
    seats = Seats(lots, 2**30, machines(1, 1, 1), max_failures=3)
    monkeypatch.setattr(holding, "hosts", lambda: machines(1.5, 1, 0.5))
    assert ["node-0", "node-1", "node-2"] == seats.nodes
    with pytest.raises(ClusterError, match="no other has 1.00 GB of memory for what it held; add"):
        seats._another_node(2)
    monkeypatch.setattr(holding, "hosts", lambda: machines(1.5, 1, 0.5, 1))
    assert "node-3" == seats._another_node(2)
    monkeypatch.setattr(holding, "hosts", lambda: machines(2, 1))
    assert "node-0" == seats._another_node(2)
    # Ray may take a lost machine for alive for a while: it has none of these processes then
    monkeypatch.setattr(holding, "hosts", lambda: machines(2, 2, 2))
    assert "node-0" == seats._another_node(2)
    busy, *others = machines(2, 2, 2)
    monkeypatch.setattr(holding, "hosts", lambda: [busy._replace(free=0), *others])
    assert "node-1" == seats._another_node(2)
    monkeypatch.setattr(holding, "hosts", lambda: machines(1, 1, 1))
    assert "node-2" == seats._another_node(2)  # its process may have died alone


def test_standing_still_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no place in the cluster would be waited for without a word."""
    asked = SimpleNamespace(remote=lambda *told: object())
    seats = Seats.__new__(Seats)
    seats.processes = [SimpleNamespace(do=asked)]
    nothing = SimpleNamespace(put=list, wait=lambda references, timeout: ([], references))
    use(monkeypatch, nothing)
    with pytest.raises(ClusterError, match="stands still: .* in 60 minutes; see `ray status`"):
        seats.ask("do", (), {0: ()})


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_the_machines_of_a_run_are_for_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    """Who streams training images would have every small pool held; a run with a pool above all
    memory would end."""
    streams = RayEngine(Compute(device="cpu", resident_bytes=0), cores=2)
    assert not streams.holds(4 * 2**30) and streams.holds(4 * 2**30 + 1)
    assert RayEngine(Compute(device="cpu", select_bytes=0), cores=2).holds(1)
    with caplog.at_level("INFO", "rayal"):
        assert streams.has_room(whole(1000, 8)) and not caplog.messages
        assert not streams.has_room(whole(10**13, 1024))
    assert "free; add machines" in caplog.text and "selects from files" in caplog.text


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_what_a_process_raises_is_said_as_here(scores: str) -> None:
    """A shard that is gone would be pages of Ray's frames."""
    done, engine = FinishedPass(scores), Holding()
    pool = Whole.of(done.folder, done.result, CoreSet(), "core_set", ())
    gone = pool.lot.shards[1]._replace(name="shard-99999.parquet")
    pool = pool._replace(lot=pool.lot._replace(shards=(*pool.lot.shards[:1], gone)))
    with pytest.raises(LostError, match="shard-99999"), held(engine, pool, (), Progress()):
        pass
