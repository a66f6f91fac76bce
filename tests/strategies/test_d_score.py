"""D-score: which images come first, what of them counts, and whose discriminator it asks."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.cycle.loop import run
from rayal.data.card import ImageSpec
from rayal.data.pixels import upsampled, valid_pixels
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.companions.base import Companions
from rayal.models.companions.discriminator import Discriminator, DiscriminatorSpec, Judged
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.strategies.d_score import DScore
from rayal.training.augment import normalise
from tests.support.doubles import Silent

UNITS, CLASSES, SIZE = 6, 4, (32, 48)
SPEC = ImageSpec(channels=3, height=32, width=48, mean=(0.4,) * 3, std=(0.2,) * 3)
MODEL = build(SmallSegmenter(width=4), CLASSES, SPEC, seed=1).eval()
IMAGES = torch.randn(UNITS, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def discriminator() -> Discriminator:
    """One with something to say: its weights are large."""
    torch.manual_seed(2)
    made = DiscriminatorSpec(width=4).build(MODEL, CLASSES, lambda: nn.Identity())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made.eval()


def score(
    made: Discriminator, images: Tensor = IMAGES, valid: Tensor | None = None, model: Any = MODEL
) -> Tensor:
    strategy = DScore(discriminator=DiscriminatorSpec(width=4))
    networks = Networks(model, companions=Companions([(DiscriminatorSpec(), made)]))
    signals = Signals([f"unit-{i}" for i in range(len(images))], images, networks, valid=valid)
    return strategy.score(signals.declared_by("d_score", strategy.needs, None))


class Says(Discriminator):
    """Of the image numbered by its brightest value, these logits."""

    logits = (-1.0, 3.0, -4.0, 0.0)

    def forward(self, masks: Tensor, images: Tensor) -> Judged:
        numbers = images.amax(dim=(1, 2, 3)).long()
        return Judged(torch.tensor(self.logits)[numbers], masks.mean(dim=(2, 3)))


def test_the_least_convincing_prediction_comes_first() -> None:
    """The direction would be the reverse: images that are predicted well already."""
    images = torch.zeros(4, 3, *SIZE)
    images[:, 0, 0, 0] = torch.arange(4.0)
    scores = score(Says(7, 4, 0.5).eval(), images)

    assert [2, 0, 3, 1] == scores.argsort(descending=True).tolist()
    assert (-1 / (1 + torch.tensor([1.0, -3.0, 4.0, 0.0]).exp())).tolist() == pytest.approx(
        scores.tolist()
    )


def test_is_the_discriminators_answer() -> None:
    """It would be asked about logits, or about the images of another unit."""
    made = discriminator()
    with torch.no_grad():
        probs = upsampled(MODEL(IMAGES).logits, SIZE).softmax(1)
        expected = torch.cat([made(probs[i : i + 1], IMAGES[i : i + 1]).logits for i in range(6)])
    scores = score(made)

    torch.testing.assert_close(-1 / (1 + (-expected).exp()), scores)
    assert scores.std() > 1e-3


def test_says_the_same_twice_and_leaves_nothing() -> None:
    """Dropped channels would choose by chance; gradients would keep every batch in memory."""
    made = discriminator()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    first, second = score(made), score(made)

    assert torch.equal(first, second) and not first.requires_grad
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


@pytest.mark.parametrize("filled", [False, True])
def test_does_not_depend_on_the_batch(filled: bool) -> None:
    """Another batch size or shard would select other units."""
    made, valid = discriminator(), None
    if filled:
        sizes = torch.tensor([[32, 48], [20, 48], [32, 17], [31, 47], [16, 16], [25, 30]])
        valid = valid_pixels(sizes, *SIZE)
    together = score(made, valid=valid)
    rows = [slice(i, i + 1) for i in range(UNITS)]
    alone = [score(made, IMAGES[r], None if valid is None else valid[r]) for r in rows]

    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)


class Brightness(nn.Module):
    """Logits of a pixel are of this pixel alone, so that filling changes no other's."""

    def forward(self, images: Tensor) -> Outputs:
        logits = torch.cat([images, -images[:, :1]], dim=1)
        return Outputs(logits, logits.mean(dim=(2, 3)), ())


@pytest.mark.parametrize("size", [(20, 48), (32, 17), (16, 16), (25, 30), (32, 48)])
def test_filling_counts_nowhere(size: tuple[int, int]) -> None:
    """An image would rank by how much of the canvas it leaves free."""
    made, model = discriminator(), Brightness().eval()
    height, width = size
    image = IMAGES[:1, :, :height, :width]
    valid = valid_pixels(torch.tensor([size]), *SIZE)
    canvas = torch.full((1, 3, *SIZE), 50.0)
    canvas[:, :, :height, :width] = image

    assert torch.equal(score(made, image, model=model), score(made, canvas, valid, model=model))


# Around a run


def scene(seed: int) -> tuple[bytes, bytes]:
    """A dark image with a bright rectangle of another class."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 100, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    top, left = rng.integers(2, 10, 2)
    mask[top : top + 10, left : left + 16] = 1 + seed % 2
    image[mask > 0] += np.array([100, 150, 50 * (seed % 2)], np.uint8)
    files = io.BytesIO(), io.BytesIO()
    for values, file in zip((image, mask), files, strict=True):
        Image.fromarray(values).save(file, "PNG")
    return files[0].getvalue(), files[1].getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenes to choose from, four to test."""
    folder = tmp_path_factory.mktemp("scenes")
    images, masks = zip(*(scene(seed) for seed in range(44)), strict=True)
    table = {
        "id": [f"scene-{i:02d}" for i in range(44)],
        "split": ["train"] * 40 + ["test"] * 4,
        "image": pa.array(images, pa.binary()),
        "mask": pa.array(masks, pa.binary()),
    }
    pq.write_table(pa.table(table), folder / "camvid.parquet")
    return folder


def experiment(root: Path, **fields: Any) -> Experiment:
    spec = {"width": 4}
    return Experiment.model_validate(
        {
            "name": "test",
            "dataset": {"name": "camvid", "root": str(root), "store": str(root / "store")},
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4},
            "scheme": {
                "name": "s4gan",
                **{"steps": 12, "batch_size": 4, "unlabeled_batch_size": 4, "lr": 0.05},
                **{"discriminator": spec, "discriminator_lr": 1e-3},
            },
            "strategy": {"name": "d_score", "discriminator": spec},
            "observers": ["random"],
            "budget": {"initial": 8, "per_cycle": 8, "total": 24},
            "compute": {"engine": "local", "cpus_per_worker": 1, "score_batch": 16},
            "tracking": "none",
            **fields,
        }
    )


def go(x: Experiment, folder: Path) -> list[list[str]]:
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        return [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]


def test_a_run_asks_the_discriminator_that_its_training_left(
    root: Path, tmp_path: Path, undrawn: None
) -> None:
    """The pass would ask one that has learned nothing, or the last cycle's."""
    x = experiment(root)
    picks = go(x, tmp_path)
    for cycle in (0, 1):
        folder = tmp_path / f"cycle-{cycle:03d}"
        tables = [pq.read_table(file) for file in (folder / "score").glob("*.parquet")]
        table = pa.concat_tables(tables).to_pydict()
        actual = dict(zip(table["id"], table["score.d_score"], strict=True))
        expected = by_hand(x, folder / "train")
        assert actual == pytest.approx({unit: expected[unit] for unit in actual}, abs=1e-6)
        assert set(sorted(actual, key=lambda unit: -actual[unit])[:8]) == set(picks[cycle])


def by_hand(x: Experiment, folder: Path) -> dict[str, float]:
    """Scores of the pool, from the files that a training left."""
    store = x.dataset.open()
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))
    images = normalise(torch.from_numpy(decoded.images), store.card.image)
    weights = (folder / "weights.safetensors").read_bytes()
    model = TrainedModel.parse(weights, str(folder)).network().eval()
    made = DiscriminatorSpec(width=4).build(model, 11, lambda: model).eval()
    load_weights(made, (folder / "companion-discriminator.safetensors").read_bytes())
    with torch.no_grad():
        probs = upsampled(model(images).logits, images.shape[2:]).softmax(1)
        scores = -made(probs, images).probability
    return dict(zip(decoded.ids, scores.tolist(), strict=True))


def test_a_scheme_without_discriminator_is_refused(root: Path) -> None:
    """A run of hours would rank by random weights."""
    with pytest.raises(ValidationError, match="'d_score' wants a discriminator that scheme 'sup"):
        experiment(root, scheme={"name": "supervised", "steps": 5, "batch_size": 4})


def test_another_discriminator_is_refused(root: Path) -> None:
    """Its weights would not fit, after a training."""
    with pytest.raises(ValidationError, match="'d_score' wants a discriminator with .* give both"):
        experiment(root, strategy="d_score")


def test_watches_a_run_of_the_scheme(root: Path) -> None:
    """It could be compared with random images only in a run of its own."""
    x = experiment(root, strategy="random", observers=[experiment(root).strategy])

    assert (DiscriminatorSpec(width=4),) == x.companions()


def test_is_for_maps_alone(tiny: Any) -> None:
    """A classification run would fail on its first batch."""
    with pytest.raises(ValidationError, match="'d_score' supports segmentation"):
        tiny(strategy="d_score")
