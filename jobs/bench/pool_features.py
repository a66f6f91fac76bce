"""Pools for benchmarks of selection: features of CIFAR-10 where it is at hand, else drawn.

N units, C classes, D features.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from rayal.data.card import ImageSpec
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.build import build
from rayal.selection.candidates import Candidates
from rayal.selection.distances import Rows
from rayal.signals.networks import forward
from rayal.storage.ids import Ids
from rayal.training.augment import normalise

FILE = "cifar10_train.parquet"
"""Columns `image`, encoded, and `label`."""

SPEC = ImageSpec(
    channels=3, height=32, width=32, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)
)
TRAINED_ON, EPOCHS, BATCH = 5_000, 3, 128


def pool_features(folder: Path, units: int) -> tuple[NDArray[np.float16], str]:
    """N 512, in float16 as a scoring pass keeps them, and in words what they are."""
    if not (folder / FILE).exists():
        return mixture(units, 512), f"Gaussian mixture, as {folder / FILE} is not there"
    table = pq.read_table(folder / FILE, columns=["image", "label"]).slice(0, units)
    pictures = [np.asarray(Image.open(io.BytesIO(data.as_py()))) for data in table["image"]]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    model = build(Resnet18(width=16), 10, SPEC, seed=0)
    _train(model, images[:TRAINED_ON], labels[:TRAINED_ON])
    parts = [_features(model, batch) for batch in images.split(500)]
    said = f"CIFAR-10 in a ResNet-18 of width 16 after {EPOCHS} epochs, last block pooled to 2 x 2"
    return torch.cat(parts).half().numpy(), said


def mixture(units: int, width: int, clusters: int = 100) -> NDArray[np.float16]:
    """N D: Gaussian clusters whose centres are three times as far apart as they are wide."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((clusters, width), dtype=np.float32)
    rows = rng.standard_normal((units, width), dtype=np.float32)
    return (centres[rng.integers(0, clusters, units)] + rows).astype(np.float16)


def drawn(units: int, classes: int, width: int) -> Candidates:
    """Random probabilities and features, of the form that a network's have."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((units, classes), dtype=np.float32)
    probs = torch.from_numpy(logits).softmax(dim=1).half().numpy()
    features = np.abs(rng.standard_normal((units, width), dtype=np.float32)).astype(np.float16)
    return unscored({"probs": probs, "features": features})


def unscored(kept: Mapping[str, Rows], labeled: Mapping[str, Rows] | None = None) -> Candidates:
    """A pool as a strategy's `select` gets it; every unit costs 1."""
    units, of_labeled = (len(next(iter(rows.values()), ())) for rows in (kept, labeled or {}))
    ids, labeled_ids = (
        Ids([f"{name}-{unit:06d}" for unit in range(number)])
        for name, number in (("unit", units), ("labeled", of_labeled))
    )
    return Candidates(ids, None, kept=kept, labeled_ids=labeled_ids, labeled=labeled or {})


def _train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    shuffled = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=shuffled).split(BATCH):
            outputs = model(normalise(images[rows], SPEC))
            optimizer.zero_grad()
            functional.cross_entropy(outputs.logits, labels[rows]).backward()
            optimizer.step()
    model.eval()


def _features(model: nn.Module, images: Tensor) -> Tensor:
    last = forward(model, normalise(images, SPEC)).layers[-1]
    return functional.adaptive_avg_pool2d(last, 2).flatten(1)
