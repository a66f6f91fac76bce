"""ADS: which images come first, whose heads are asked, and a run of both parts together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.cycle.loop import run
from rayal.data.card import ImageSpec
from rayal.engine.local import LocalEngine
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.companions.base import Companions
from rayal.models.companions.head_pair import HeadPair, HeadPairSpec
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.strategies.ads import Ads
from rayal.training.augment import normalise
from tests.support.doubles import Silent

N, CLASSES = 6, 4
SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.4,), std=(0.2,))
MODEL = build(SmallCnn(width=4), CLASSES, SPEC, seed=1).eval()
IMAGES = 3 * torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))
KINDS = pytest.mark.parametrize("prototypes", [0, 3], ids=["linear", "prototypes"])


def score(spec: HeadPairSpec, pair: HeadPair) -> Tensor:
    strategy = Ads(heads=spec)
    networks = Networks(MODEL, companions=Companions([(spec, pair)]))
    signals = Signals([f"unit-{i}" for i in range(N)], IMAGES, networks)
    return strategy.score(signals.declared_by("ads", strategy.needs, None))


@KINDS
def test_is_the_mean_entropy_of_both_heads(prototypes: int) -> None:
    """One head would decide, or the model's own prediction."""
    torch.manual_seed(2)
    spec = HeadPairSpec(prototypes=prototypes)
    pair = spec.build(MODEL, CLASSES, lambda: nn.Identity()).eval()
    with torch.no_grad():
        logits = pair(MODEL(IMAGES)).double().numpy()
    expected = []
    for n in range(N):
        total = 0.0
        for head in logits[:, n]:
            p = 1 / (1 + np.exp(-head)) if prototypes else np.exp(head)
            p = p / p.sum()
            total -= (p * np.log(p)).sum()
        expected.append(total / 2)
    scores = score(spec, pair)

    assert expected == pytest.approx(scores.tolist(), rel=1e-4)
    assert not scores.requires_grad and scores.std() > 0


def test_the_least_sure_come_first() -> None:
    """The direction would be the reverse: images that both heads know already."""

    class Says(HeadPair):
        def forward(self, outputs: Outputs) -> Tensor:
            sure = torch.tensor([0.0, 30.0, 1.0, 9.0, 2.0, 4.0])[:, None]
            return (sure * torch.eye(CLASSES)[0]).expand(2, N, CLASSES)

        def log_probs(self, logits: Tensor) -> Tensor:
            return logits.log_softmax(dim=2)

        losses = confidences = log_probs  # type: ignore[assignment]

    scores = score(HeadPairSpec(), Says())

    assert [0, 2, 4, 5, 3, 1] == scores.argsort(descending=True).tolist()
    assert np.log(CLASSES) == pytest.approx(scores[0].item())


# Around a run


def scheme(**fields: Any) -> dict[str, Any]:
    sizes = {"unlabeled_batch_size": 32, "unlabeled_subset": 64}
    return {"name": "ads", "epochs": 3, "batch_size": 16, "lr": 0.02, **sizes, **fields}


@KINDS
def test_a_run_asks_the_heads_that_its_training_left(
    tiny: Any, tmp_path: Path, prototypes: int
) -> None:
    """The pass would ask heads that have learned nothing, or the last cycle's."""
    heads = {"prototypes": prototypes}
    x = tiny(scheme=scheme(heads=heads), strategy={"name": "ads", "heads": heads}, candidates=200)
    store = x.dataset.open()
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        pool = run(x, store, ledger, LocalEngine(x.compute), Silent())
        picks = [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]

    assert 2 == len(picks)
    for cycle, chosen in enumerate(picks):
        folder = tmp_path / f"cycle-{cycle:03d}"
        tables = [pq.read_table(file) for file in (folder / "score").glob("*.parquet")]
        table = pa.concat_tables(tables).to_pydict()
        actual = dict(zip(table["id"], table["score.ads"], strict=True))
        expected = by_hand(store, folder / "train", HeadPairSpec(**heads))
        assert 200 == len(actual)
        assert actual == pytest.approx({unit: expected[unit] for unit in actual}, rel=1e-4)
        assert set(sorted(actual, key=lambda unit: -actual[unit])[:20]) == set(chosen)
        lines = (folder / "train" / "epochs.jsonl").read_text().splitlines()
        assert "discrepancy_disagreement" in json.loads(lines[-1])


def by_hand(store: Any, folder: Path, spec: HeadPairSpec) -> dict[str, float]:
    """Scores of the pool, from the files that a training left."""
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))
    images = normalise(torch.from_numpy(decoded.images), store.card.image)
    weights = (folder / "weights.safetensors").read_bytes()
    model = TrainedModel.parse(weights, str(folder)).network().eval()
    pair = spec.build(model, 10, lambda: model).eval()
    load_weights(pair, (folder / "companion-head_pair.safetensors").read_bytes())
    with torch.no_grad():
        scores = pair.entropy(pair(model(images)))
    return dict(zip(decoded.ids, scores.tolist(), strict=True))


def test_a_scheme_without_heads_is_refused(tiny: Any) -> None:
    """A run of hours would rank by random weights."""
    with pytest.raises(ValidationError, match="'ads' wants a head_pair that scheme 'supervised'"):
        tiny(strategy="ads")


def test_other_heads_are_refused(tiny: Any) -> None:
    """Their weights would not fit, after a training."""
    with pytest.raises(ValidationError, match="'ads' wants a head_pair with .* give both the same"):
        tiny(scheme=scheme(heads={"prototypes": 3}), strategy="ads")


def test_watches_a_run_of_the_scheme(tiny: Any) -> None:
    """It could be compared with random images only in a run of its own."""
    x = tiny(scheme=scheme(), strategy="random", observers=["ads"])

    assert (HeadPairSpec(),) == x.companions()
