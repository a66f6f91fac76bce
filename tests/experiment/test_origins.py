"""Where every value of an experiment comes from."""

from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.origins import Setting, origins
from rayal.parts import written_out
from rayal.plugins import Plugins

BASE = """\
name: mine
dataset: digits
model: {name: small_cnn, width: 8}
strategy: cod
budget:
  initial: 10
  per_cycle: 10
  total: 50
"""
ABOVE = """\
extends: base.yaml
strategy: {name: bald, passes: 3}
observers: [random, {name: cod, pixels: max}]
scheme:
  epochs: 4
  augment: {window: [4, 4]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "above.yaml").write_text(ABOVE)
    return tmp_path / "above.yaml"


def by_key(found: list[Setting]) -> dict[str, tuple[object, str]]:
    assert len({each.key for each in found}) == len(found)
    return {each.key: (each.value, each.origin) for each in found}


def test_by_hand(file: Path) -> None:
    """Somebody who asks why a value is what it is would be sent to the wrong line."""
    found = by_key(origins(file, ["scheme.lr=0.5", "model.width=4"], fields={"seed": 7}))
    base = file.with_name("base.yaml")
    expected = {
        "name": ("mine", f"{base}:1"),
        "seed": (7, "keywords"),
        "dataset": ("digits", f"{base}:2"),
        "dataset.root": (None, "default"),
        "model": ("small_cnn", f"{base}:3"),
        "model.width": (4, "--set model.width=4"),
        "strategy": ("bald", f"{file}:2"),
        "strategy.passes": (3, f"{file}:2"),
        "strategy.pixels": ("mean", "default"),
        "observers.0": ("random", f"{file}:3"),
        "observers.1": ("cod", f"{file}:3"),
        "observers.1.pixels": ("max", f"{file}:3"),
        "scheme": ("supervised", "default"),
        "scheme.epochs": (4, f"{file}:5"),
        "scheme.lr": (0.5, "--set scheme.lr=0.5"),
        "scheme.milestones": ([3], "default"),
        "scheme.augment.window": ([4, 4], f"{file}:6"),
        "scheme.augment.flip": (False, "default"),
        "budget.total": (50, f"{base}:8"),
        "tracking": ("mlflow", "default"),
    }

    assert expected == {key: found[key] for key in expected}


def test_every_field_is_there(file: Path) -> None:
    """A value that decides a run would be hidden, since a dump leaves out what is as usual."""
    found = by_key(origins(file))
    written = written_out(config.load(file))

    assert {key.partition(".")[0] for key in found} == Experiment.model_fields.keys()
    assert {f"dataset.{key}" for key in written["dataset"] if key != "name"} <= found.keys()
    assert {f"compute.{key}" for key in written["compute"]} <= found.keys()


def test_it_is_what_runs(file: Path) -> None:
    """What is shown, put together again, is the experiment."""
    fields: dict[str, object] = {}
    for each in origins(file):
        if each.key.startswith("observers."):
            continue
        *parents, last = each.key.split(".")
        inner = fields
        for parent in parents:
            held = inner.get(parent)
            inner[parent] = held if isinstance(held, dict) else {"name": held} if held else {}
            inner = inner[parent]  # type: ignore[assignment]
        inner[last] = each.value
    x = config.load(file)

    assert x.model_copy(update={"observers": ()}) == config.resolved(fields)


def test_sweeps(tmp_path: Path) -> None:
    """What is varied, function by function."""
    file = tmp_path / "sweep.yaml"
    space = "{strategy: {grid_search: [random, cod]}, scheme: {lr: {uniform: [0.1, 1]}}}"
    file.write_text(f"{BASE}sweep:\n  seeds: [0]\n  space: {space}\n")
    found = by_key(origins(file))

    assert (["random", "cod"], f"{file}:11") == found["sweep.space.strategy.grid_search"]
    assert ([0.1, 1], f"{file}:11") == found["sweep.space.scheme.lr.uniform"]
    assert ([0], f"{file}:10") == found["sweep.seeds"]
    assert ("random", "default") == found["sweep.search"]


def test_secrets_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of somebody's own part would be on the screen, and in its origin."""
    (tmp_path / "own_oracle").mkdir()
    (tmp_path / "own_oracle" / "__init__.py").touch()
    (tmp_path / "own_oracle" / "asks.py").write_text(
        "from rayal.labeling.oracles.base import Oracle\n\n\n"
        "class Asks(Oracle):\n    api_token: str\n    server: str\n\n"
        "    def answer(self, store, ids, out):\n        return {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "mine.yaml"
    server = "https://me:s3cret@host/x"
    file.write_text(f"{BASE}oracle: {{name: own_oracle.asks, server: '{server}'}}\n")
    found = origins(file, ["oracle.api_token=s3cret"], Plugins(["own_oracle"]))
    told = by_key(found)

    assert "s3cret" not in str(found)
    assert ("***", "--set oracle.api_token=***") == told["oracle.api_token"]
    assert "https://***@host/x" == told["oracle.server"][0]


def test_mistakes_are_those_of_load(file: Path) -> None:
    """Nothing is shown of what cannot run."""
    with pytest.raises(UsageError, match="did you mean 'scheme'"):
        origins(file, ["schem.epochs=5"])
