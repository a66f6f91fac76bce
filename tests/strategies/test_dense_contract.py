"""What every strategy promises of a dense task; runs over each file in rayal/strategies that is for
segmentation. What does not depend on the task is in test_contract.py."""

import copy
import itertools
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from rayal.cycle import shard_file
from rayal.cycle.checked import chosen as units_of
from rayal.cycle.checked import seen_by
from rayal.cycle.score import ScoreJob, divide, summary
from rayal.cycle.scorer import Scorer
from rayal.data import prepare
from rayal.data.card import ImageSpec
from rayal.data.datasets.camvid import Camvid
from rayal.data.pool import Decoded
from rayal.data.store import LABEL_FILES, Store
from rayal.data.tasks.base import TaskName
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Compute
from rayal.labeling.clicks import Region
from rayal.labeling.oracles.clicks import Clicks
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.network import DenseNetwork
from rayal.models.weights import save_weights
from rayal.parts import build as build_part
from rayal.parts import find
from rayal.selection.candidates import one_each
from rayal.signals.batch import Networks, Signals
from rayal.storage.folder import FileLocation, Folder, Json
from rayal.strategies.base import RegionStrategy, Strategy
from tests.support import scenes
from tests.support.doubles import card_of, strategies_for

STRATEGIES = strategies_for("segmentation")
KINDS = {name: find("strategies", name) for name in STRATEGIES}
SCORED = [n for n, k in KINDS.items() if k.score not in (Strategy.score, RegionStrategy.score)]
OF_IMAGES = [name for name, kind in KINDS.items() if not issubclass(kind, RegionStrategy)]
UNITS, LABELED, CLASSES = 24, 4, 11


class Pixelwise(Model):
    """A network that sees one pixel at a time, so that nothing beside an image can reach it."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        block = nn.Sequential(nn.Conv2d(image.channels, 8, 1), nn.ReLU())
        return DenseNetwork(
            blocks=[block], layer_channels=[8], classifier=nn.Conv2d(8, num_classes, 1)
        )


class Bench(NamedTuple):
    """A store of scenes, and what a pass over it needs."""

    store: Store
    folder: Folder

    def job(self, model: Model, out: str, *, cycle: int = 1, batch: int = 8) -> ScoreJob:
        """A pass of all strategies with three networks, the first of which is asked; whoever wants
        the last cycle's gets the second."""
        card = self.store.card
        shape = len(card.classes), card.image
        strategies = {name: build_part("strategies", name) for name in STRATEGIES}
        networks = [trained(build(model, *shape, seed), card.image) for seed in range(3)]
        specs = {spec.name: spec for each in strategies.values() for spec in each.companions()}
        first, second, third = (self._written(save_weights(network)) for network in networks)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            companions = {
                name: spec.build(networks[2], shape[0], lambda: networks[2])
                for name, spec in specs.items()
            }
        images = torch.randn(8, *card.image.shape, generator=torch.Generator().manual_seed(1))
        classes = torch.arange(8 * math.prod(card.image.shape[1:])) % shape[0]
        for companion in companions.values():
            companion.observe(networks[0](images), classes.view(8, *card.image.shape[1:]))
        return ScoreJob(
            strategies=strategies,
            card=card_of(model, *shape),
            model=model,
            images=self.store.pool,
            data=card.fingerprint,
            weights=first,
            out=(self.folder / out).url,
            cycle=cycle,
            batch=batch,
            previous=second,
            members=(second, third),
            companions={name: self._written(save_weights(c)) for name, c in companions.items()},
        )

    def _written(self, data: bytes) -> FileLocation:
        name = f"{len(self.folder.names())}.safetensors"
        return FileLocation(self.folder.url, self.folder.write(name, data))

    def decoded(self) -> Decoded:
        return self.store.pool.decode(self.store.pool.read(self.store.pool.shards(1000)[0]))


def trained(network: nn.Module, image: ImageSpec) -> nn.Module:
    """With running statistics as a training leaves them, and predictions that differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.train()(torch.randn(8, *image.shape, generator=generator))
        network.get_submodule("classifier").get_parameter("weight").mul_(4)
    return network.eval()


@pytest.fixture(scope="module")
def bench(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("scenes")
    dataset = Camvid(root=str(scenes.write(root, pool=UNITS, test=1)), store=str(root / "stores"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "GROUP_ROWS", 4)  # a shard is whole row groups
        return Bench(dataset.open(), Folder(tmp_path_factory.mktemp("jobs")))


MODEL = SmallSegmenter(width=4, dropout=0.3)
Columns = dict[str, np.ndarray]


class Passes(NamedTuple):
    """The columns of passes that differ in what must not matter, in the order of the pool."""

    found: dict[str, Columns]
    changed: list[str]
    """What is another in the networks than before."""


@pytest.fixture(scope="module", params=[0, 1], ids=["cycle 0", "cycle 1"])
def passes(bench: Bench, request: pytest.FixtureRequest) -> Passes:
    job = bench.job(MODEL, "unused", cycle=request.param)
    decoded, scorer = bench.decoded(), Scorer(job, "cpu")
    before = copy.deepcopy(states(scorer))
    reverse = scorer.columns(part(decoded, range(UNITS)[::-1]))
    alone = [scorer.columns(part(decoded, [row])) for row in range(UNITS)]
    found = {
        "whole": scorer.columns(decoded),
        "backwards": {name: values[::-1] for name, values in reverse.items()},
        "alone": {name: np.concatenate([each[name] for each in alone]) for name in alone[0]},
        "batches of 5": Scorer(job.with_batch(5), "cpu").columns(decoded),
        "batches of 1": Scorer(job.with_batch(1), "cpu").columns(decoded),
    }
    after = states(scorer)
    assert before.keys() == after.keys() and len(before) > 100
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    return Passes(found, changed)


def states(scorer: Scorer) -> dict[str, torch.Tensor]:
    """All numbers that a pass predicts with; what is in train mode has another name."""
    x = scorer.networks
    networks = [x.model, *x.members, *x.references.values(), *x.companions]
    return {
        f"{number} {name} {network.training}": value
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


def part(decoded: Decoded, rows: Sequence[int]) -> Decoded:
    return Decoded([decoded.ids[row] for row in rows], decoded.images[list(rows)], {})


@pytest.fixture(params=SCORED)
def column(request: pytest.FixtureRequest) -> str:
    return f"score.{request.param}"


def test_every_strategy_that_scores_has_a_column(passes):
    """All tests of scores would pass for none."""
    there = {name for name in passes.found["whole"] if name.startswith("score.")}

    assert {f"score.{name}" for name in SCORED} == there and len(there) > 10


def test_scores_are_finite_one_per_image(passes, column):
    """One score that is not a number would stop every run that uses the strategy."""
    values = passes.found["whole"][column]

    assert (UNITS,) == values.shape and np.float64 == values.dtype
    assert np.isfinite(values).all() and len(np.unique(values)) > UNITS // 2


def test_scores_are_different(passes):
    """A wrong signal or direction would make two strategies one, or one the reverse of another."""
    ranks = {name: tuple(values.argsort()) for name, values in passes.found["whole"].items()}
    ranks = {name: rank for name, rank in ranks.items() if name.startswith("score.")}
    same = {
        frozenset({a, b})
        for a, b in itertools.combinations(ranks, 2)
        if ranks[b] in (ranks[a], ranks[a][::-1])
    }

    assert {frozenset({"score.entropy_gradnorm", "score.expected_gradnorm"})} == same


@pytest.mark.parametrize("other", ["backwards", "alone", "batches of 5", "batches of 1"])
def test_scores_do_not_depend_on_the_batch(passes, column, other):
    """Another batch size, order or shard would select other images."""
    np.testing.assert_allclose(
        passes.found[other][column], passes.found["whole"][column], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("other", ["backwards", "alone"])
def test_a_pass_gives_the_same_bits_in_any_order(passes, column, other):
    """Batches are filled up, so that an image has the same score in every shard."""
    np.testing.assert_array_equal(passes.found[other][column], passes.found["whole"][column])


def test_the_models_are_left_alone(passes):
    """Scoring would change what the next cycle trains, or what another strategy sees."""
    assert [] == passes.changed


def on_canvas(decoded: Decoded, height: int, width: int) -> Decoded:
    """The same images at the top left of a larger area, in noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (len(decoded.ids), 3, height, width), np.uint8)
    images[:, :, : scenes.SHAPE[0], : scenes.SHAPE[1]] = decoded.images
    sizes = np.array([scenes.SHAPE] * len(decoded.ids), np.int32)
    return Decoded(decoded.ids, images, {}, sizes)


def canvas_pair(bench: Bench, model: Model, height: int, width: int) -> tuple[Columns, Columns]:
    """The columns of images as they are, and on a canvas."""
    job, decoded = bench.job(model, "unused"), bench.decoded()
    spec = job.card.image.model_copy(update={"height": height, "width": width})
    card = job.card.model_copy(update={"image": spec})
    padded = Scorer(replace(job, card=card), "cpu").columns(on_canvas(decoded, height, width))
    return Scorer(job, "cpu").columns(decoded), padded


@pytest.fixture(scope="module")
def pixelwise(bench: Bench) -> tuple[Columns, Columns]:
    return canvas_pair(bench, Pixelwise(), 29, 37)


def test_what_is_beside_an_image_is_not_scored(pixelwise, column):
    """Images would be chosen for their shape. Where the network does not see the filling the score
    is that without, but for the order of sums."""
    alone, padded = (each[column] for each in pixelwise)

    np.testing.assert_allclose(padded, alone, rtol=2e-5, atol=1e-7)


def test_what_is_beside_an_image_is_not_of_its_features(pixelwise):
    """Small images would lie together in the feature space, for what is beside them."""
    alone, padded = (each["keep.features"].astype(float) for each in pixelwise)

    np.testing.assert_allclose(padded, alone, rtol=5e-3, atol=1e-3)


def test_a_network_sees_the_filling_near_the_edge_only(bench):
    """At the edge of an image most networks see the filling where they would see the zeros that
    convolutions pad with, this one up to 20 pixels inside: scores differ by that, and no more."""
    image = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    canvas = torch.full((1, 3, 80, 104), 0.3)
    canvas[:, :, :64, :80] = image
    spec = bench.store.card.image
    networks = Networks(trained(build(MODEL, CLASSES, spec, 0), spec))
    alone, padded = (
        Signals(["a"], images, networks).log_probs[0, :, :64, :80] for images in (image, canvas)
    )

    inside = slice(None), slice(64 - 24), slice(80 - 24)
    torch.testing.assert_close(padded[inside], alone[inside])
    assert (padded - alone).abs().max() > 0.1


def test_no_label_is_read(bench, tmp_path, monkeypatch):
    """A strategy that sees labels is better than any that does not."""
    shutil.copytree(bench.store.url.removeprefix("file://"), tmp_path / "store")
    for file in LABEL_FILES.values():
        (tmp_path / "store" / file).unlink()
    blind = bench._replace(store=Store(str(tmp_path / "store")))

    passed(blind, blind.job(MODEL, "blind"), rows=1000)


def passed(bench: Bench, job: ScoreJob, rows: int) -> Json:
    """The result of a whole pass, in shards of so many images."""
    tasks = divide(bench.store.pool, bench.store.pool.ids(), rows)
    engine = LocalEngine(Compute(engine="local", cpus_per_worker=1))
    return summary(job, tasks, list(engine.score(job, tasks)))


def picks(bench: Bench, rows: int, seed: int = 0) -> dict[str, list[str]]:
    """What every strategy chooses after a pass in shards of so many images."""
    job, oracle, store = bench.job(MODEL, f"shards of {rows}"), Clicks(tolerance=3), bench.store
    result = passed(bench, job, rows)
    assert -(-UNITS // rows) == len(result.shards)
    kept = {signal for strategy in job.strategies.values() for signal in strategy.kept()}
    labeled = store.pool.ids()[:LABELED]
    pools = shard_file.load(Folder(job.out), result, kept, labeled)

    def regions(image: str) -> dict[int, Region]:
        return dict(enumerate(oracle.regions(store, [image])[image]))

    chosen = {}
    for name, strategy in job.strategies.items():
        pool = seen_by(strategy, replace(pools[name], regions=regions))
        rng = np.random.default_rng(seed)
        price = partial(oracle.costs, store) if isinstance(strategy, RegionStrategy) else one_each
        budget = 60 if isinstance(strategy, RegionStrategy) else 7
        offered = replace(pool, price=price)
        chosen[name], _ = units_of(strategy, strategy.select, name, offered, budget, rng)
    return chosen


@pytest.fixture(scope="module")
def layouts(bench: Bench) -> list[dict[str, list[str]]]:
    """The picks of passes in 1, 2 and 3 shards."""
    return [picks(bench, rows) for rows in (1000, 12, 8)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shards_do_not_choose(layouts, strategy):
    """Another machine would label other images."""
    one, two, three = (layout[strategy] for layout in layouts)

    assert one == two == three
    assert len(set(one)) == len(one) >= 7


@pytest.mark.parametrize("strategy", OF_IMAGES)
def test_labeled_images_are_not_chosen(bench, layouts, strategy):
    """A label would be paid for twice. (Regions of images: see test_offer.py.)"""
    assert not set(layouts[0][strategy]) & set(bench.store.pool.ids()[:LABELED])
