"""Out of what a machine or a cluster cannot give: each message, and then the step that it names."""

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr

from rayal.engine import cluster, local, start
from rayal.engine.described import described
from rayal.engine.failures import ray_errors
from rayal.engine.local import LocalEngine
from rayal.engine.train import packed
from rayal.errors import ClusterError, LockedError, RayalError, UsageError
from rayal.experiment.compute import Compute
from rayal.strategies.entropy import Entropy
from rayal.workflows.run import start_run


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Of a cluster that is asked what it has."""
    there = [{"Resources": {"CPU": 4}, "Alive": True}]
    monkeypatch.setattr(cluster.ray, "nodes", lambda: there)
    return there


@pytest.mark.parametrize(
    ("asked", "said", "steps"),
    [
        ({"scorers": 5}, "compute.scorers is 5, .*; lower it, or add", [{"scorers": 4}]),
        ({"train_workers": 5}, "train_workers is 5, .*; lower it, or add", [{"train_workers": 4}]),
        (
            {"train_workers": 3, "cpus_per_worker": 2},
            "lower it or compute.cpus_per_worker, or add nodes",
            [{"train_workers": 2}, {"cpus_per_worker": 1}],
        ),
        (
            {"device": "cuda"},
            "use compute.device cpu or auto",
            [{"device": "cpu"}, {"device": "auto"}],
        ),
    ],
)
def test_what_a_cluster_lacks(
    nodes: list[Any], asked: dict[str, Any], said: str, steps: list[dict[str, Any]]
) -> None:
    """One worker of eight cores would be told to become fewer."""

    def check(**fields: Any) -> None:
        cluster.placement(Compute(device="cpu").model_copy(update=fields), 4, 1, 0)

    with pytest.raises(ClusterError, match=said):
        check(**asked)
    for step in steps:
        check(**asked | step)
    nodes.append({"Resources": {"CPU": 4, "GPU": 2}, "Alive": True})
    check(**asked)


def test_a_trial_that_has_no_room(nodes: list[Any]) -> None:
    """Trials would wait for ever."""
    compute = Compute(engine="local")
    with pytest.raises(ClusterError, match="a trial takes 5 cores .*; lower them, or add nodes"):
        cluster.placement(compute, 8, 5, 0)
    assert 1 == cluster.placement(compute, 8, 4, 0).concurrent
    nodes.append({"Resources": {"CPU": 4}, "Alive": True})
    assert 1 == cluster.placement(compute, 8, 5, 0).concurrent


def test_what_one_process_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would train with fewer workers than asked, or on another device."""
    with pytest.raises(ClusterError, match="is one process; use compute.engine: ray"):
        LocalEngine(Compute(train_workers=2))
    assert "ray" == Compute(train_workers=2, engine="ray").engine
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ClusterError, match="this machine has no GPU; use cpu or auto"):
        local.local_device(Compute(device="cuda"))
    for device in ("cpu", "auto"):
        assert "cpu" == local.local_device(Compute(device=device))


def out_of_memory() -> Iterator[RayalError]:
    """All that is said of memory that is full, where a worker lacks it and where a node does."""
    for error in (torch.OutOfMemoryError("full"), MemoryError("8 EiB")):
        yield ClusterError(described(error)["message"])
    for kind in (cluster.ray.exceptions.OutOfMemoryError, cluster.ray.exceptions.OutOfDiskError):
        with pytest.raises(ClusterError) as told, ray_errors("the pass"):
            raise kind("full")
        yield told.value


def test_what_decides_memory_is_lowered_in_another_folder(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """The folder of the run that ran out of it keeps its settings, and refuses others."""
    with start_run(tiny(), str(tmp_path / "run")):
        pass
    settings = {"score_batch", "shard_rows", "batch_size"}
    for told in out_of_memory():
        named = {*re.findall(r"(?:compute|scheme)\.(\w+)", str(told))}
        assert named and named <= settings and "another --out" in str(told)
    for key in settings:
        group = "scheme" if key == "batch_size" else "compute"
        fields = tiny().model_dump(mode="json")[group] | {key: 8}
        with (
            pytest.raises(LockedError, match=f"{key}: .* -> 8; use another --out"),
            start_run(tiny(**{group: fields}), str(tmp_path / "run")),
        ):
            pass
        with start_run(tiny(**{group: fields}), str(tmp_path / key)):
            pass


class Keeps(Entropy):
    """A user's strategy that holds what no other process can have."""

    _guard: Any = PrivateAttr(default_factory=threading.Lock)


class Makes(Entropy):
    """The same, which makes it where it is used."""

    def score(self, s: Any) -> Any:
        with threading.Lock():
            return super().score(s)


def test_what_cannot_travel(tiny: Callable[..., Any]) -> None:
    """A traceback from pickle names no part."""
    with pytest.raises(
        UsageError, match="Keeps._guard|test_engine._guard.* make it where it is us"
    ):
        packed(SimpleNamespace(experiment=tiny(strategy=Keeps())))  # type: ignore[arg-type]
    assert packed(SimpleNamespace(experiment=tiny(strategy=Makes())))  # type: ignore[arg-type]


@pytest.fixture
def ray_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port where something answers like Ray; joining and starting do no more than to be noted."""
    monkeypatch.setattr(start.ray, "init", lambda *_, **__: None)
    monkeypatch.setattr(start, "guard_token", lambda: None)
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 3})
    with answering(b"\0\0\0\4\0\0\0\0\0") as port:
        yield port


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A port where everybody is told the same."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(said)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:8265", "give host:port of .*, or `--address local` to run here"),
        ("nowhere", "is not the address of a Ray cluster; give host:port"),
        ("127.0.0.1:99999", "is not the address of a Ray cluster; give host:port"),
        ("127.0.0.1:9", "start a cluster with .*, or give `--address local`"),
        ("web", "is not Ray; give the port of `ray start --head --port`"),
    ],
)
def test_an_address_that_is_none(ray_port: int, address: str, said: str) -> None:
    """Ray would try for minutes, and the next address as long."""
    with answering(b"HTTP/1.1 400") as web, pytest.raises(ClusterError, match=said):
        start.connect(f"127.0.0.1:{web}" if address == "web" else address)

    assert 3 == start.connect(f"127.0.0.1:{ray_port}")
    assert 2 == start.connect("local", cores=2)
