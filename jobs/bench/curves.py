"""Many cheap learning curves, as run folders: what forecasts are tried on.

    python jobs/bench/curves.py OUT --data FOLDER [--seeds 5] [--only digits_cnn,...]

FOLDER holds `fashion_mnist_*.parquet` and `cifar10_*.parquet` (columns `image`, encoded, and
`label`). A network that was never trained looks at these (random patches, pooled); the digits are
their 64 pixels. What is there already is not run again. `jobs/analyse/forecast.py OUT` then tells
how well the last cycles are foretold by those before.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional

import rayal

STRATEGIES = ("random", "margin", "entropy", "badge")
PATCHES, PATCH, DRAWN = 96, 6, 8000
"""Filters of the untrained network, their width in pixels, and images it looks at."""

Arrays = NDArray[Any]


class Kind(NamedTuple):
    """Runs that differ by strategy and seed."""

    dataset: str
    model: dict[str, Any] | str
    budget: tuple[int, int, int]
    epochs: int
    lr: float
    start: str = "cold"


KINDS = {
    "digits_cnn": Kind("digits", {"name": "small_cnn", "width": 8}, (20, 20, 300), 25, 0.02),
    "digits_linear": Kind("digits_pixels", "linear_head", (20, 20, 300), 40, 0.05),
    "digits_mlp": Kind("digits_pixels", "mlp_head", (15, 30, 495), 40, 0.05, "warm"),
    "fashion_linear": Kind("fashion", "linear_head", (40, 40, 640), 30, 0.05),
    "fashion_mlp": Kind("fashion", "mlp_head", (50, 100, 1650), 20, 0.01),
    "cifar_linear": Kind("cifar", "linear_head", (100, 100, 1500), 20, 0.02),
    "cifar_mlp": Kind("cifar", "mlp_head", (200, 200, 3000), 15, 0.01, "warm"),
}


def main(
    out: Path,
    data: Annotated[Path, typer.Option(help="Folder of the images.")],
    seeds: int = 5,
    only: Annotated[str, typer.Option(help="Kinds, by commas; all by default.")] = "",
) -> None:
    """Runs what is not there yet."""
    torch.set_num_threads(1)
    for seed in range(seeds):
        for name in only.split(",") if only else KINDS:
            kind = KINDS[name]
            dataset = _dataset(kind.dataset, out / "features", data)
            for strategy in STRATEGIES:
                x = _experiment(name, kind, dataset, strategy, seed)
                run = rayal.run(x, out / "runs" / name / f"{strategy}-seed{seed}")
                print(run)


def _experiment(
    name: str, kind: Kind, dataset: dict[str, Any], strategy: str, seed: int
) -> rayal.Experiment:
    initial, per_cycle, total = kind.budget
    return rayal.Experiment(
        name=name,
        seed=seed,
        dataset=dataset,
        model=kind.model,
        scheme={"name": "supervised", "epochs": kind.epochs, "lr": kind.lr, "batch_size": 32},
        strategy=strategy,
        start=kind.start,  # type: ignore[arg-type]
        budget=rayal.Budget(initial=initial, per_cycle=per_cycle, total=total),
        compute={"engine": "local", "device": "cpu"},
        tracking="none",
        keep={"weights": "last", "shards": "none"},
    )


def _dataset(name: str, kept: Path, data: Path) -> dict[str, Any]:
    """The dataset, whose vectors are written once."""
    if name == "digits":
        return {"name": "digits"}
    folder = kept / name
    if not (folder / "test.npz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for split, (vectors, labels) in _vectors(name, data):
            ids = np.array([f"{split}-{number:06d}" for number in range(len(labels))])
            np.savez(folder / f"{split}.npz", id=ids, features=vectors, label=labels)
    return {"name": "features", "root": str(folder), "pool": "pool.npz", "test": "test.npz"}


def _vectors(name: str, data: Path) -> Iterator[tuple[str, tuple[Arrays, Arrays]]]:
    """Vectors and labels of the pool, then of the test split."""
    if name == "digits_pixels":
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        for split, rows in (("pool", order[:1300]), ("test", order[1300:])):
            yield split, (digits.data[rows].astype(np.float16), digits.target[rows])
        return
    files = {
        "fashion": ("fashion_mnist_20k_train.parquet", "fashion_mnist_4k_test.parquet"),
        "cifar": ("cifar10_train.parquet", "cifar10_test.parquet"),
    }[name]
    look = partial(_looked_at, filters=None)
    for split, file in zip(("pool", "test"), files, strict=True):
        table = pq.read_table(data / file, columns=["image", "label"])
        count = min(DRAWN if split == "pool" else DRAWN // 3, table.num_rows)
        rows = np.random.default_rng(0).permutation(table.num_rows)[:count]
        table = table.take(rows)
        images = np.stack([_pixels(each) for each in table["image"].to_pylist()])
        if look.keywords["filters"] is None:
            look = partial(_looked_at, filters=_filters(images))
        yield split, (look(images), table["label"].to_numpy())


def _pixels(encoded: bytes) -> Arrays:
    with Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image, np.float32) / 255
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _filters(images: Arrays) -> torch.Tensor:
    """Patches of the pool, each with mean 0 and length 1."""
    draw = np.random.default_rng(1)
    edge = images.shape[-1] - PATCH
    rows, ys, xs = (draw.integers(0, high, PATCHES) for high in (len(images), edge, edge))
    cut = [images[r, :, y : y + PATCH, x : x + PATCH] for r, y, x in zip(rows, ys, xs, strict=True)]
    patches = torch.from_numpy(np.stack(cut)) + 1e-3 * torch.randn(
        PATCHES, *cut[0].shape, generator=torch.Generator().manual_seed(0)
    )
    patches = patches - patches.mean((1, 2, 3), keepdim=True)
    return patches / patches.flatten(1).norm(dim=1)[:, None, None, None]


def _looked_at(images: Arrays, filters: torch.Tensor) -> Arrays:
    """Responses of the filters, rectified and pooled to 2 x 2: N x 4 PATCHES."""
    found = []
    for start in range(0, len(images), 256):
        batch = torch.from_numpy(images[start : start + 256])
        responses = functional.relu(functional.conv2d(batch, filters).abs() - 0.25)
        found.append(functional.adaptive_avg_pool2d(responses, 2).flatten(1))
    return torch.cat(found).numpy().astype(np.float16)


if __name__ == "__main__":
    typer.run(main)
