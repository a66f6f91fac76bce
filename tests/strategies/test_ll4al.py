"""LL4AL around a run: whose head it asks, whether it knows anything, and who may ask for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from scipy.stats import spearmanr
from torch.nn.functional import cross_entropy

import rayal
from rayal.experiment.experiment import Experiment
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.strategies.ll4al import Ll4al
from rayal.testing.bench import Bench
from rayal.training.augment import normalise
from tests.support.whole_runs import go, short


def test_is_what_the_head_says_of_the_maps() -> None:
    """The direction would be the reverse, or the maps those of another layer."""
    strategy = Ll4al(loss_head=LossHeadSpec(width=8))
    bench = Bench(strategy.companions())
    head = bench.signals([0], cycle=1).declared_by("ll4al", strategy.needs, None)
    with torch.no_grad():
        layers = bench.networks[0](bench.images).layers
        expected = head.companion(LossHeadSpec).predict(layers)
    scores = bench.score(strategy)
    assert scores is not None

    assert not scores.requires_grad and scores.std() > 1e-3
    torch.testing.assert_close(scores, expected)


class Losses:
    """Of the pool's units, by id, from the files that a cycle left."""

    def __init__(self, x: Experiment, folder: Path) -> None:
        store = x.dataset.open()
        decoded = store.pool.decode(store.pool.take(store.pool.ids()))
        images, labels = (
            normalise(torch.from_numpy(decoded.images), store.card.image),
            store.labels("pool"),
        )
        model = TrainedModel.parse((folder / "weights.safetensors").read_bytes(), str(folder))
        network = model.network().eval()
        (spec,) = x.companions()
        head: Any = spec.build(network, 10, lambda: network)
        load_weights(head, (folder / "companion-loss_head.safetensors").read_bytes())
        with torch.no_grad():
            outputs = network(images)
            predicted = head.eval().predict(outputs.layers)
        truth = torch.tensor([labels[unit] for unit in decoded.ids])
        true = cross_entropy(outputs.logits, truth, reduction="none")
        self.predicted = dict(zip(decoded.ids, predicted.tolist(), strict=True))
        self.true = dict(zip(decoded.ids, true.tolist(), strict=True))


def test_a_run_asks_the_head_that_its_training_left(tiny: Any, tmp_path: Path) -> None:
    """The pass would ask one that has learned nothing, or the last cycle's."""
    x = short(tiny, strategy={"name": "ll4al", "loss_head": {"width": 16}})
    go(x, tmp_path)
    done = rayal.open_run(tmp_path)
    for cycle in (0, 1):
        expected = Losses(x, tmp_path / f"cycle-{cycle:03d}/train").predicted
        actual = done.scores(cycle)["ll4al"].to_dict()

        assert actual == pytest.approx({unit: expected[unit] for unit in actual}, abs=1e-5)
        assert set(sorted(actual, key=lambda unit: -actual[unit])[:20]) == set(done.chosen(cycle))


@pytest.mark.parametrize(("objective", "after"), [("hinge", 0.6), ("logistic", 0.0)])
def test_knows_where_the_model_errs(
    tiny: Any, tmp_path: Path, objective: str, after: float
) -> None:
    """It would choose by chance: no head, sign or order of pairs can be wrong where units that were
    never trained on are ranked much like their true losses."""
    head = {"objective": objective, "detach_after": after}
    x = tiny(
        strategy={"name": "ll4al", "loss_head": head},
        scheme={"name": "supervised", "epochs": 20, "batch_size": 32, "lr": 0.05},
        budget={"initial": 150, "per_cycle": 10, "total": 160},
    )
    go(x, tmp_path)
    losses = Losses(x, tmp_path / "cycle-000/train")
    unseen = list(rayal.open_run(tmp_path).scores(0).index)
    assert 450 == len(unseen)
    rank = spearmanr([losses.predicted[u] for u in unseen], [losses.true[u] for u in unseen])

    assert rank.statistic > 0.4


def test_observes_only_where_it_only_reads(tiny: Any) -> None:
    """The strategy that selects would be compared on a model that another one trained."""
    with pytest.raises(ValidationError, match="'ll4al' trains a loss_head with the model, which"):
        short(tiny, observers=["ll4al"])
    short(tiny, strategy="ll4al")  # a run of its own
    short(tiny, observers=[{"name": "ll4al", "loss_head": {"detach_after": 0}}])
