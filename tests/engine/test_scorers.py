"""How work is handed to processes that live from pass to pass, and what their deaths cost."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from ray.scripts import scripts as ray_commands

from rayal.blame import users_fault
from rayal.cycle.evaluate import EvaluateJob, evaluate
from rayal.engine import scorers
from rayal.engine.scorers import Call, ScoreProcess, Scorers
from rayal.errors import ClusterError, DataError
from rayal.experiment.compute import Compute
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from tests.support.plain_process import PlainProcess

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorers]:
    monkeypatch.setattr(scorers, "ScoreProcess", PlainProcess)
    with closing(Scorers(Compute(engine="ray", device="cpu", max_failures=2))) as started:
        yield started


def test_processes_stay_and_each_call_is_done_once(two: Scorers) -> None:
    """Every pass would wait seconds for processes of its own, or a shard be lost or done twice."""
    assert [] == list(two.do("the work", 2, []))
    first = dict(two.do("the work", 2, (Call("who", ()) for _ in range(20))))
    second = dict(two.do("the work", 1, [Call("who", ())] * 5))

    assert sorted(first) == list(range(20)) and sorted(second) == list(range(5))
    assert 2 == len(set(first.values())) and set(second.values()) < set(first.values())


def test_what_a_dead_process_had_to_do_is_done_by_another(two: Scorers, tmp_path: Path) -> None:
    """The calls that wait behind the one that kills the process would be lost with it."""
    marker = str(tmp_path / "died")
    calls = [Call("who", ()) for _ in range(12)]
    calls[3] = Call("die", (marker, 2))
    done = dict(two.do("the work", 2, calls))

    assert sorted(done) == list(range(12))
    assert "xx" == Path(marker).read_text()  # as often as max_failures allows
    again = {pid for _, pid in two.do("the work", 2, [Call("who", ())] * 8)}
    assert 2 == len(again)


def test_a_call_that_kills_every_process_ends_the_work(two: Scorers, tmp_path: Path) -> None:
    """Processes would be started for ever, each to die of the same image."""
    calls = [Call("die", (str(tmp_path / "died"), 99)), *[Call("who", ())] * 4]
    with pytest.raises(ClusterError, match=r"the work failed: a process died 3 times .*max_failu"):
        list(two.do("the work", 2, calls))

    assert 3 == len((tmp_path / "died").read_text())
    assert [] == two.seats  # nobody works on for a pass that is over
    assert 3 == len(list(two.do("the work", 1, [Call("who", ())] * 3)))


def test_a_mistake_is_raised_as_it_was_and_not_tried_again(two: Scorers) -> None:
    """A wrong image would look like a fault of the cluster."""
    with pytest.raises(DataError, match="^unit 'u7' cannot be scored$"):
        list(two.do("the work", 1, [Call("fail", ())]))


def test_surplus_processes_end(two: Scorers) -> None:
    """They would hold the cores that decode for a pass."""
    first = {pid for _, pid in two.do("the work", 2, [Call("who", ())] * 8)}
    two.keep(3)
    assert 2 == len(two.seats)
    two.keep(1)
    assert 1 == len(two.seats)
    again = {pid for _, pid in two.do("the work", 1, [Call("who", ())] * 2)}
    assert 1 == len(again) and again < first


def test_a_mistake_is_told_with_its_line_whatever_is_asked(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """Exit 5 and no line: a user's mistake would be searched for in the cluster."""
    x = tiny(model={"name": "faulty.looks_up"})
    store, out = x.dataset.open(), Folder(tmp_path)
    network = build(x.model, len(store.card.classes), store.card.image, seed=1)
    weights = FileLocation(out.url, TrainedModel.of(x.card_for(store.card), network).write(out))
    job = EvaluateJob(x, store.url, weights)
    shard, process = job.shards()[0], ScoreProcess("cpu")

    with pytest.raises(KeyError) as alone:
        evaluate(job, [shard], "cpu")
    expected = str(users_fault(alone.value))
    assert re.match(r"plugin 'faulty.looks_up' raised KeyError: .*looks_up.py:\d+\); me", expected)
    told = process.evaluate("1", [ray.put(job)], shard)
    assert {"error": "UsageError", "message": expected} == told
    nothing: Any = None  # a job of which nobody can say what it will raise
    (scored,) = process.score("2", [ray.put(nothing)], pa.table({"row": [0]}))
    for each in (json.loads(scored), process.fastest_batch(nothing, 1, 1)):
        assert re.match(r"a worker raised AttributeError: .* \(.*scorer.py:\d+\)", each["message"])


def test_standing_still_is_an_end(two: Scorers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs would hold the run for ever."""
    monkeypatch.setattr(scorers, "NO_PROGRESS_SECONDS", 0.0)
    with pytest.raises(ClusterError, match="the work stands still: .* see `ray status`"):
        list(two.do("the work", 1, [Call("who", ())]))
    assert "status" in ray_commands.cli.commands
    assert [] == two.seats
