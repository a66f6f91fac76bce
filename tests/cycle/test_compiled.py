"""Trainings whose networks are compiled, by a compiler that changes nothing and takes no time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rayal.cycle import shared_training
from rayal.cycle.rounds import Worker
from rayal.cycle.train import train
from rayal.storage.folder import Folder
from rayal.testing.trainings import experiment, training
from rayal.training.schemes.tod import Tod

SCHEME = Tod(epochs=2, batch_size=4, unlabeled_batch_size=4, lr=0.01)


def compiling(**compute: Any) -> Any:
    fields = {"engine": "local", "device": "cpu", "checkpoint_seconds": 0, **compute}
    return experiment("classification", SCHEME, compute=fields)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """What is compiled, in order."""
    found: list[nn.Module] = []
    real = nn.Module.compile

    def compile_by_eager(module: nn.Module) -> None:
        found.append(module)
        real(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_by_eager)
    yield found
    torch.compiler.reset()


def test_a_training_compiles_model_and_teacher(compiled: list[nn.Module], tmp_path: Path) -> None:
    """Half of the forward passes of `tod` would not be compiled, weights have other names in their
    file, or another training be the result."""
    ends = {}
    for compile_it in (False, True):
        out = tmp_path / str(compile_it)
        train(training(compiling(compile=compile_it), str(out)), Worker())
        ends[compile_it] = {
            name: Folder(out).read(name) for name in Folder(out).names() if "safetensors" in name
        }

    assert 2 == len(compiled)
    assert ends[True].keys() == ends[False].keys() and 2 == len(ends[True])
    assert ends[True] == ends[False]


def test_nothing_is_compiled_unless_asked(compiled: list[nn.Module], tmp_path: Path) -> None:
    """A small training would take a minute longer."""
    train(training(compiling(), str(tmp_path)), Worker())

    assert [] == compiled


def test_a_compiled_training_is_another(tmp_path: Path) -> None:
    """A sweep would take over a training with other last bits; or, of those that were made before
    there was a choice, none."""
    key = partial(shared_training.key, device="cpu", threads=1)
    jobs = [training(compiling(**f), str(tmp_path)) for f in ({}, {"compile": True})]

    assert key(jobs[0]) != key(jobs[1])


def test_overlap_changes_nothing_on_a_cpu(tmp_path: Path) -> None:
    """A setting for a GPU would choose other units where there is none."""
    ends = []
    for overlap in (False, True):
        out = tmp_path / str(overlap)
        train(training(compiling(overlap=overlap), str(out)), Worker())
        ends.append(Folder(out).read("weights.safetensors"))

    assert ends[0] == ends[1]
