"""Scores that are no numbers, are equal, or differ in the last digit (G)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rayal.cycle import shard_file
from rayal.cycle.first_units import first_units
from rayal.data import prepare as preparing
from rayal.data.tasks.base import TaskName
from rayal.errors import DataError, LockedError
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Model, Outputs
from rayal.runs.results import Chosen, Evaluated, Scored
from rayal.signals.batch import Signals
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from tests.support import scenes
from tests.support.doubles import models_for, scheme_for, small_strategy, strategies_for
from tests.support.whole_runs import (
    BRIEF,
    ONE_THREAD,
    chosen,
    go,
    passed,
    result,
    sixty,
    stopped_at,
)


class Sick(Model):
    """In evaluation its outputs are `VALUE` for images whose first pixel is bright."""

    VALUE: ClassVar[float] = math.nan
    """No option: the same trained model may fall ill in another way."""

    def network(self, num_classes: int, image: Any) -> nn.Module:
        network = SmallCnn(width=8, dropout=0.5).network(num_classes, image)
        forward_in_health, value = network.forward, Sick.VALUE

        def forward(images: Tensor) -> Outputs:
            outputs = forward_in_health(images)
            if not network.training:
                sickness = torch.where(images[:, 0, 0, 0, None] > 0.5, value, 0.0)
                logits, features = (healthy + sickness for healthy in outputs[:2])
                layers = tuple(layer + sickness[..., None, None] for layer in outputs.layers)
                return Outputs(logits, features, layers)
            return outputs

        network.forward = forward  # type: ignore[method-assign]
        return network


@pytest.fixture(scope="module")
def sick_pool(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """Datasets of 100 digits, by how many of the last have a bright first pixel."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * 15).astype(np.uint8)[:, None]
    pixels[:, 0, 0, 0] = 0

    def build(count: int) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("sick")
        for name, rows in (("pool", range(100)), ("test", range(100, 150))):
            images = pixels[list(rows)].copy()
            images[len(images) - count :, 0, 0, 0] = 255 if name == "pool" else 0
            columns = {
                "id": [f"{name}-{row:03d}" for row in rows],
                "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
                "label": digits.target[list(rows)],
            }
            pq.write_table(pa.table(columns), root / f"{name}.parquet")
        names = {"pool": ["pool.parquet"], "test": ["test.parquet"]}
        return {"name": "parquet", "root": str(root), **names}

    return {count: build(count) for count in (1, 30, 100)}


@pytest.mark.parametrize("strategy", strategies_for("classification"))
def test_no_strategy_chooses_by_what_is_no_number(
    tiny: Callable[..., Experiment],
    sick_pool: dict[int, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
) -> None:
    """A diverged model would choose, since NaN sorts first, the images that it fails on (G01).

    One training, whose model then says NaN, infinity and minus infinity.
    """
    asks = small_strategy(strategy)
    x = tiny(
        dataset=sick_pool[1],
        model=Sick(),
        scheme={"name": scheme_for(strategy), "epochs": 1, "batch_size": 16, "lr": 0.05},
        strategy=asks,
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        compute={**ONE_THREAD, "score_batch": 32},
        ensemble=models_for(asks),
    )
    assert "pool-099" not in first_units(x, x.dataset.open())
    message = "'pool-099'.* lower (scheme.lr|learning rate)"
    if x.fits():  # they learn from all candidates, before any is scored
        message = "the loss of .* became "
    for value in (math.nan, math.inf, -math.inf):
        monkeypatch.setattr(Sick, "VALUE", value)
        if strategy in ("random", "vaal"):  # which ask no model
            assert 20 == len(chosen(stopped_at(x, tmp_path / str(value), 1, "train"))[0])
            continue
        with pytest.raises(DataError, match=message) as stopped:
            go(x, tmp_path)

        assert 3 == stopped.value.exit_code
        assert result(tmp_path, 0, Scored) is None is result(tmp_path, 0, Chosen)
        assert not list(tmp_path.glob("cycle-000/score/*.parquet"))


class SickInAPlace(Model):
    """In evaluation its logits at one place are `value` for images whose first pixel is bright."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    value: Literal["nan", "inf", "-inf"]

    def network(self, num_classes: int, image: Any) -> nn.Module:
        network = SmallSegmenter(width=4).network(num_classes, image)
        forward_in_health = network.forward

        def forward(images: Tensor) -> Outputs:
            outputs = forward_in_health(images)
            if network.training:
                return outputs
            logits = outputs.logits.clone()
            logits[images[:, 0, 0, 0] > 0.5, :, 1, 2] = float(self.value)
            return outputs._replace(logits=logits)

        network.forward = forward  # type: ignore[method-assign]
        return network


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of an experiment on scenes of which the last has a bright first pixel."""
    root = scenes.write(tmp_path_factory.mktemp("scenes"), pool=12, test=2)
    for file in [*root.glob("train/*.png"), *root.glob("test/*.png")]:
        pixels = np.array(Image.open(file))
        pixels[0, 0] = 255 if file.stem == "train-011" else 0
        Image.fromarray(pixels).save(file)
    return {
        "dataset": {"name": "camvid", "root": str(root)},
        "task": "segmentation",
        "model": {"name": "small_segmenter", "width": 4},
        "scheme": {"name": "supervised", "steps": 4, "batch_size": 4, "lr": 0.01},
        "budget": {"initial": 4, "per_cycle": 4, "total": 8},
        "compute": ONE_THREAD,
    }


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("pixels", ["mean", "max", "above"])
@pytest.mark.parametrize("strategy", ["entropy", "margin", "least_confidence"])
def test_no_image_is_chosen_whatever_its_other_pixels(
    tiny: Callable[..., Experiment],
    street: dict[str, Any],
    tmp_path: Path,
    strategy: str,
    pixels: str,
    value: Any,
) -> None:
    """Of a map a few places may be no numbers: counted as certain they would go unseen (G01)."""
    threshold = {"threshold": 0.1} if pixels == "above" else {}
    chooses = {"name": strategy, "pixels": pixels, **threshold}
    x = tiny(**street | {"model": SickInAPlace(value=value), "strategy": chooses})
    assert "train-011" not in first_units(x, x.dataset.open())
    with pytest.raises(DataError, match="'train-011'.* lower (scheme.lr|learning rate)"):
        go(x, tmp_path)

    assert result(tmp_path, 0, Scored) is None is result(tmp_path, 0, Chosen)


@pytest.mark.parametrize("count", [30, 100])
def test_many_outputs_that_are_no_numbers(
    tiny: Callable[..., Experiment],
    sick_pool: dict[int, dict[str, Any]],
    tmp_path: Path,
    count: int,
) -> None:
    """The same, where some or all of the pool is affected."""
    x = tiny(
        dataset=sick_pool[count],
        model=Sick(),
        scheme=BRIEF,
        strategy="entropy",
        compute=ONE_THREAD,
    )
    with pytest.raises(DataError, match="'pool-0.* is .*nan"):
        go(x, tmp_path)

    assert result(tmp_path, 0, Scored) is None


def test_a_test_set_without_numbers(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """An accuracy would be computed from outputs that are none (G01)."""

    class Lost(Sick):
        def network(self, num_classes: int, image: Any) -> nn.Module:
            network = super().network(num_classes, image)
            forward = network.forward
            network.forward = lambda images: forward(  # type: ignore
                torch.ones_like(images) if len(images) > 2 else images  # two are only asked for
            )
            return network

    with pytest.raises(DataError, match="outputs are not finite"):
        go(tiny(model=Lost(), compute=ONE_THREAD), tmp_path)

    assert result(tmp_path, 0, Evaluated) is None


class Constant(Strategy):
    """No unit is better than another."""

    def score(self, s: Signals) -> Tensor:
        return torch.zeros(len(s.ids))


def test_equal_scores_are_a_seeded_choice(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first images of the pool, or of a shard, would be favoured (G02)."""
    found = []
    for group in (9, 20, 256):
        monkeypatch.setattr(preparing, "GROUP_ROWS", group)
        out, dataset = tmp_path / str(group), {"store": str(tmp_path / f"stores-{group}")}
        go(sixty(tiny, group, dataset=dataset, strategy=Constant()), out)
        found.append(chosen(out))
    go(sixty(tiny, 256, strategy=Constant(), seed=1), tmp_path / "other")

    assert found[0] == found[1] == found[2]
    assert found[0] != [sorted(ids) for ids in found[0]]
    assert set(found[0][0]) != set(chosen(tmp_path / "other")[0])


@pytest.mark.parametrize("strategy", ["cod", "entropy", "margin", "least_confidence"])
def test_the_batch_size_moves_near_ties_only(
    tiny: Callable[..., Experiment], tmp_path: Path, strategy: str
) -> None:
    """Scores differ by 1e-7 with the batch; more would make the batch size a hyperparameter of
    the selection (G03). A run continues only with the one that it began with."""
    found = {}
    for batch in (1, 8, 32):
        compute = {**ONE_THREAD, "score_batch": batch}
        out = tmp_path / str(batch)
        stopped_at(tiny(scheme=BRIEF, strategy=strategy, compute=compute), out, 1, "train")
        folder, done = Folder(out / "cycle-000/score"), passed(out, 0)
        tables = [shard_file.read_shard(folder, file.name) for file in done.shards]
        column = pa.concat_tables(tables).sort_by("id")[f"score.{strategy}"].to_numpy()
        found[batch] = column, set(chosen(out)[0])
    column, picks = found[32]
    threshold = np.sort(column)[-20]

    for other, picked in (found[1], found[8]):
        np.testing.assert_allclose(column, other, rtol=0, atol=2e-6)
        assert len(picks ^ picked) <= 2 * (np.abs(column - threshold) < 4e-6).sum() - 2


def test_another_batch_size_is_another_run(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A resumed run would choose near ties otherwise than the one that was killed (G03)."""
    stopped_at(tiny(compute={**ONE_THREAD, "score_batch": 32}), tmp_path, 0, "score")
    with pytest.raises(LockedError, match=r"compute.score_batch: 32 -> 8"):
        go(tiny(compute={**ONE_THREAD, "score_batch": 8}), tmp_path)


def test_scoring_twice_is_the_same(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Dropout, batch norm or augmentation would be on while scoring (G12, L09)."""
    augment = {"flip": True, "crop": 2, "cutout": 3}
    x = tiny(
        model={"name": "small_cnn", "width": 8, "dropout": 0.5},
        scheme={**BRIEF, "augment": augment},
        observers=["entropy"],
        compute=ONE_THREAD,
    )
    out = stopped_at(x, tmp_path, 0, "select")
    shards = sorted(out.glob("cycle-000/score/shard-*.parquet"))
    first = [shard.read_bytes() for shard in shards]
    for path in (*shards, out / "cycle-000/score/done.json"):
        path.unlink()
    stopped_at(x, tmp_path, 0, "select")

    assert first == [shard.read_bytes() for shard in shards]
