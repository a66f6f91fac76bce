"""`fine_tune` of an experiment, as files and people write it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.fine_tune import FineTune

FILE = """
name: frozen
dataset: {name: features, root: F}
model: linear_head
strategy: margin
budget: {initial: 10, per_cycle: 10, total: 20}
"""


def load(tmp_path: Path, more: str = "", *overrides: str) -> Experiment:
    (tmp_path / "x.yaml").write_text(FILE + more)
    return config.load(tmp_path / "x.yaml", overrides)


def test_a_scheme_needs_no_name(tmp_path: Path) -> None:
    """Every file would repeat what goes without saying, and `--set` be of no use."""
    x = load(tmp_path, "fine_tune: {scheme: {epochs: 7}}\n", "fine_tune.scheme.lr=0.5")
    assert x.fine_tune is not None
    alone = load(tmp_path, "", "fine_tune.scheme.epochs=3").fine_tune

    assert (7, 0.5) == (x.fine_tune.scheme.epochs, x.fine_tune.scheme.lr)
    assert ("supervised", 3) == (alone.scheme.part_name(), alone.scheme.epochs)  # type: ignore[union-attr]
    assert load(tmp_path).fine_tune is None
    assert x == config.parsed(Experiment, config.dump(x), "again")
    assert "fine_tune={'scheme': {'name': 'supervised'" in repr(x)


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    """The images would be looked for in the folder that a command is given in."""
    images = "fine_tune: {dataset: {name: image_folder, root: photos}, model: small_cnn}\n"
    tuned = load(tmp_path, images).fine_tune

    assert tuned is not None and tuned.dataset is not None
    assert str(tmp_path / "photos") == tuned.dataset.root


@pytest.mark.parametrize(
    ("written", "key", "why"),
    [
        ("{scheme: {epoch: 7}}", "fine_tune.scheme.epoch", "did you mean 'epochs'"),
        ("{schem: supervised}", "fine_tune.schem", "did you mean 'scheme'"),
        ("{scheme: s4gan}", "fine_tune.scheme", "supports segmentation"),
        ("{model: deeplabv3}", "fine_tune.model", ""),
        ("{scheme: cyclic_od}", "fine_tune.scheme", "continues from the weights of a last"),
        ("{scheme: uda}", "", ""),
    ],
)
def test_what_is_wrong_is_told_by_its_key(written: str, key: str, why: str, tmp_path: Path) -> None:
    """A mistake would be shown at another key, or as a traceback."""
    if not key:
        assert load(tmp_path, f"fine_tune: {written}\n").fine_tune is not None
        return
    with pytest.raises(UsageError) as error:
        load(tmp_path, f"fine_tune: {written}\n")
    assert key in str(error.value) and why in str(error.value)


def test_it_is_part_of_what_a_run_is(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """A run would go on with another network half trained; or be another for a moved folder."""
    images = {"name": "digits", "root": "/a"}
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1")
    model = {"name": "small_cnn", "pretrained": str(weights)}
    x = tiny(fine_tune={"dataset": images, "model": model})
    moved = tiny(fine_tune={"dataset": {**images, "root": "/b"}, "model": model})
    before = x.identity()
    assert before == moved.identity()
    weights.write_bytes(b"2")

    assert before != x.identity()
    assert "fine_tune" not in tiny().identity()
    assert FineTune() == FineTune(scheme="supervised")
