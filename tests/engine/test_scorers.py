"""How work is handed to processes that live from pass to pass, and what their deaths cost."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ray.scripts import scripts as ray_commands

from rayal.engine import scorers
from rayal.engine.scorers import Call, Scorers
from rayal.errors import ClusterError, DataError
from rayal.experiment.experiment import Compute
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


def test_standing_still_is_an_end(two: Scorers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs would hold the run for ever."""
    monkeypatch.setattr(scorers, "NO_PROGRESS_SECONDS", 0.0)
    with pytest.raises(ClusterError, match="the work stands still: .* see `ray status`"):
        list(two.do("the work", 1, [Call("who", ())]))
    assert "status" in ray_commands.cli.commands
    assert [] == two.seats
