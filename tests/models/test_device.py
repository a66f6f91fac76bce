"""Copies to a device, and the order of work in two streams, as calls: there is no GPU here."""

from contextlib import contextmanager
from typing import Any

import pytest
import torch

from rayal.models.device import Beside, sent
from tests.support.fake_gpu import fake_gpu


def test_a_cpu_is_sent_nothing() -> None:
    """Every batch of a training on a CPU would be copied once more."""
    tensor = torch.arange(3)

    assert sent(tensor, torch.device("cpu")) is tensor


def test_what_is_on_a_gpu_stays() -> None:
    """Only memory of the CPU can be pinned: a user's tensor on the GPU would be an error."""
    with fake_gpu() as gpu:
        there = sent(torch.arange(3), torch.device("cuda"))

        assert there.is_cuda and sent(there, torch.device("cuda")) is there
        assert 0 == gpu.reads


class Stream:
    """Writes down who waits for whom."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls, self.device = name, calls, torch.device("cuda")

    def wait_stream(self, other: "Stream") -> None:
        self.calls.append(f"{self.name} waits for {other.name}")


class Result:
    """Writes down who uses it."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def record_stream(self, stream: Stream) -> None:
        self.calls.append(f"kept for {stream.name}")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What two streams are told, in order."""
    told: list[str] = []
    own = Stream("own", told)

    @contextmanager
    def inside(stream: Stream) -> Any:
        told.append(f"{stream.name} begins")
        yield
        told.append(f"{stream.name} ends")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side", told))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: own)
    monkeypatch.setattr(torch.cuda, "stream", inside)
    return told


def test_work_beside_begins_after_what_it_needs_and_is_waited_for(calls: list[str]) -> None:
    """A teacher would answer with weights that are half updated, or be read before it answers."""
    beside = Beside(torch.device("cuda"), wanted=True)
    calls.append("the step's own work")
    with beside.work():
        calls.append("work")
    beside.joined(Result(calls))  # type: ignore[arg-type]

    assert calls == [
        "side waits for own",
        "the step's own work",
        "side begins",
        "work",
        "side ends",
        "own waits for side",
        "kept for own",
    ]


@pytest.mark.parametrize(("device", "wanted"), [("cpu", True), ("cuda", False)])
def test_else_it_is_done_in_its_turn(calls: list[str], device: str, wanted: bool) -> None:
    """A CPU has no streams, and a GPU would overlap what was not asked to."""
    beside = Beside(torch.device(device), wanted=wanted)
    beside.follow()
    with beside.work():
        calls.append("work")
    result = torch.ones(1)

    assert beside.joined(result) is result
    assert ["work"] == calls
