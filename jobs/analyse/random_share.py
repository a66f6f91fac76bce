"""How near the estimates of `explore` come to the truth, and how far off the picks of a strategy.

    python jobs/analyse/random_share.py [--features DIR] [--seeds 10] [--share 0.1] [--out DIR]

Runs without test images, as those of people are: frozen features under a linear head, chosen by
margin, a share of each purchase at random. Of each model there is then an estimate with its
interval (`Run.explored`), and the share of all that was bought after it that it predicts right
(`new_accuracy`). Beside both stands what nobody knows in practice: how much the model predicts
right of all that had no label then, and of the test vectors that the run never saw.

Without `--features` the pixels of scikit-learn's digits; else a folder with `pool.npz` and
`test.npz`, each with id, features and label. Runs that are there already are not made again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray

import rayal
from jobs.analyse.error_rates import write_features
from rayal.training.augment import normalise


class Compared(NamedTuple):
    """One model, all in [0, 1]."""

    labels: int
    """That it was trained on."""
    estimate: float
    low: float
    high: float
    picked: float
    """Of all labels bought next."""
    rest: float
    """Of all that had no label."""
    test: float


class Vectors(NamedTuple):
    """A split."""

    ids: list[str]
    features: NDArray[np.float32]  # N D
    labels: NDArray[np.int64]

    @classmethod
    def read(cls, file: Path) -> "Vectors":
        with np.load(file) as found:
            return cls(found["id"].tolist(), found["features"], found["label"])


def make_run(features: Path, out: Path, seed: int, share: float, batch: int) -> rayal.Run:
    """Ten cycles of `batch` labels; a complete run stays."""
    x = rayal.Experiment(
        name="random_share",
        seed=seed,
        dataset={"name": "features", "root": str(features), "pool": "pool.npz", "test": None},
        model="linear_head",
        scheme={"name": "supervised", "epochs": 20, "batch_size": 32, "lr": 0.02},
        strategy="margin",
        explore=share,
        budget={"initial": batch, "per_cycle": batch, "total": 10 * batch},
        compute={"engine": "local", "cpus_per_worker": 1},
        tracking="none",
    )
    return rayal.run(x, out / f"share-{share:g}-seed-{seed}")


def compared(run: rayal.Run, pool: Vectors, test: Vectors) -> Iterator[Compared]:
    """Of every model that has an estimate, what is estimated and what is true."""
    labels, curve = run.labels(), run.curve()
    for row in run.explored().itertuples():
        known = {*labels["id"][labels["cycle"] < row.cycle]}
        free = np.array([unit not in known for unit in pool.ids])
        right = predicted(run, row.cycle, pool.features) == pool.labels
        on_test = predicted(run, row.cycle, test.features) == test.labels
        yield Compared(
            row.labels,
            row.value,
            row.low,
            row.high,
            float(curve["new_accuracy"][row.cycle + 1]),
            float(right[free].mean()),
            float(on_test.mean()),
        )


def predicted(run: rayal.Run, cycle: int, features: NDArray[np.float32]) -> NDArray[np.int64]:
    """N classes, by the model of a cycle."""
    store = run.experiment.dataset.open()
    like = store.pool.decode(store.pool.take(store.pool.ids()[:1])).images
    vectors = torch.from_numpy(features.astype(like.dtype).reshape(-1, *like.shape[1:]))
    with torch.no_grad():
        logits = run.model(cycle)(normalise(vectors, store.card.image)).logits
    numbers = np.array([int(name) for name in store.card.classes])
    found: NDArray[np.int64] = numbers[logits.argmax(dim=1).numpy()]
    return found


def told(found: list[Compared]) -> Iterator[str]:
    """By label count, means over seeds in percent; then how often intervals hold the truth."""
    yield "labels  estimate  picked    rest    test   (%, means over seeds)"
    for labels in sorted({each.labels for each in found}):
        rows = [each for each in found if each.labels == labels]
        values = np.array([(r.estimate, r.picked, r.rest, r.test) for r in rows]).mean(axis=0)
        yield f"{labels:6,}" + "".join(f"{100 * value:9.2f}" for value in values)
    for name in ("estimate", "picked"):
        for truth in ("rest", "test"):
            off = np.array([getattr(r, name) - getattr(r, truth) for r in found])
            yield (
                f"{name} - {truth}: mean {100 * off.mean():+.2f} points, standard deviation"
                f" {100 * off.std():.2f}"
            )
    for truth in ("rest", "test"):
        held = sum(r.low <= getattr(r, truth) <= r.high for r in found)
        yield f"intervals that hold {truth}: {held} of {len(found)}, {held / len(found):.1%}"
    width = np.mean([r.high - r.low for r in found])
    yield f"mean width of intervals: {100 * width:.1f} points"


def main(
    features: Annotated[Path | None, typer.Option(help="With pool.npz and test.npz.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs.")] = 10,
    share: Annotated[float, typer.Option(min=0.01, max=0.99, help="explore.")] = 0.1,
    batch: Annotated[int, typer.Option(min=2, help="Labels of a cycle.")] = 50,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs/random_share"),
) -> None:
    """The estimates of explore beside the truth."""
    if features is None:
        features = out / "features"
        if not (features / "test.npz").exists():
            write_features(features)
    pool, test = (Vectors.read(features / f"{name}.npz") for name in ("pool", "test"))
    found = list[Compared]()
    for seed in range(seeds):
        found += compared(make_run(features, out / "runs", seed, share, batch), pool, test)
    for line in told(found):
        print(line)


if __name__ == "__main__":
    typer.run(main)
