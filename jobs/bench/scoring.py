"""How fast the scoring pass is: against a plain loop, with many strategies, and for COD.

    python jobs/bench/scoring.py [--units 4096] [--runs 5] [--out report]

The pool is generated (32 x 32 images), the model a ResNet-18 of width 32. Three questions:
- the pass per image, start-up apart, against a plain PyTorch loop over images in memory, both on
  all cores. Start-up is the intercept of the pass's time over two sizes of the pool;
- six strategies in one pass against the dearest of them alone;
- COD from its second cycle on (whole pool) against entropy.
The last two run in this process, where nothing but the work is timed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmark import Row, alternate, median_ratio, write

from rayal.cycle.loop import Engine
from rayal.cycle.score import ScoreJob, divide
from rayal.engine import cluster
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.base import build, save_weights
from rayal.signals.batch import entropy, forward
from rayal.storage.folder import FileLocation, Folder
from rayal.training.augment import normalise

SIX = ["entropy", "margin", "least_confidence", "most_confident", "random", "cod"]
SIZE = 32


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options.units)
        rows = [bench.one_pass_serves_six(options.runs), bench.cod(options.runs)]
        rows.insert(0, bench.pass_against_loop(options.runs))
    write("bench_scoring", rows, options.out)


class Bench:
    """A generated pool and two models on disk, as a run leaves them."""

    def __init__(self, folder: Path, units: int) -> None:
        self.folder, self.units, self.passes = folder, units, 0
        self.kept: str | None = None
        """Folder of a pass that kept its predictions, once there is one."""
        _write_pool(folder / "images", 4 * units)
        self.store = self.experiment("entropy").dataset.open()
        self.weights = [self._save(seed) for seed in (1, 2)]
        table = self.store.pool.take(self.store.pool.ids())
        self.images = torch.from_numpy(self.store.pool.decode(table).images.copy())
        self.model = self._network(1)

    def experiment(self, *strategies: str, limit: int | None = None) -> Experiment:
        first, *observers = strategies
        return Experiment.model_validate(
            {
                "name": "bench",
                "dataset": {
                    "name": "parquet",
                    "root": str(self.folder / "images"),
                    "store": str(self.folder / "stores"),
                    "pool": ["pool.parquet"],
                    "test": ["test.parquet"],
                    "limit_pool": limit,
                },
                "model": {"name": "resnet18", "width": 32},
                "strategy": first,
                "observers": observers,
                "budget": {"initial": 1, "per_cycle": 1, "total": 2},
                "compute": {"shard_rows": 512, "device": "cpu"},
                "tracking": "none",
            }
        )

    def score(self, engine: Engine, units: int, *strategies: str, cycle: int = 0) -> str:
        """One pass over the first `units` images; returns the folder of its shards."""
        x = self.experiment(*strategies, limit=units)
        store = x.dataset.open()
        out = self.folder / f"pass-{self.passes}"
        self.passes += 1
        job = ScoreJob.of(
            x,
            store,
            cycle,
            self.weights[0],
            str(out),
            previous=self.weights[1],
            previous_scores=self.kept if cycle else None,
        )
        tasks = divide(store.pool, store.pool.ids(), x.compute.shard_rows)
        done = sum(result["rows"] for result in engine.score(job, tasks))
        assert done == units, f"scored {done} of {units}"
        return str(out)

    def pass_against_loop(self, runs: int) -> Row:
        cores = cluster.connect(None)
        engine = cluster.RayEngine(self.experiment("entropy").compute, cores)
        small, large = self.units, 4 * self.units
        seconds = alternate(
            runs,
            small=lambda: self.score(engine, small, "entropy"),
            large=lambda: self.score(engine, large, "entropy"),
            loop=lambda: self._plain_loop(large),
        )
        cluster.disconnect()
        per_image = [
            (b - a) / (large - small)
            for a, b in zip(seconds["small"], seconds["large"], strict=True)
        ]
        loop = [t / large for t in seconds["loop"]]
        start_up = statistics.median(
            t - small * each for t, each in zip(seconds["small"], per_image, strict=True)
        )
        return Row(
            "scoring pass, images per second, start-up apart",
            "plain PyTorch loop, same cores",
            median_ratio(loop, per_image),
            "at least 0.9 x",
            f"{1 / statistics.median(per_image):.0f} against {1 / statistics.median(loop):.0f}"
            f" images/s; start-up of a pass {start_up:.1f} s",
        )

    def one_pass_serves_six(self, runs: int) -> Row:
        engine = self._local()
        self.kept = self.score(engine, self.units, "cod")
        seconds = alternate(
            runs,
            six=lambda: self.score(engine, self.units, *SIX, cycle=1),
            **{name: self._alone(engine, name) for name in SIX},
        )
        dearest = max(SIX, key=lambda name: statistics.median(seconds[name]))
        return Row(
            "six strategies in one pass",
            f"the dearest alone ({dearest})",
            median_ratio(seconds["six"], seconds[dearest]),
            "at most 1.3 x",
            f"{statistics.median(seconds['six']):.2f} s against"
            f" {sum(statistics.median(seconds[name]) for name in SIX):.2f} s in six passes",
        )

    def cod(self, runs: int) -> Row:
        engine = self._local()
        seconds = alternate(
            runs,
            cod=self._alone(engine, "cod"),
            entropy=self._alone(engine, "entropy"),
        )
        return Row(
            "COD from the second cycle on, whole pool",
            "entropy",
            median_ratio(seconds["cod"], seconds["entropy"]),
            "at most 1.15 x",
            "one forward: the last pass kept its predictions",
        )

    def _alone(self, engine: Engine, name: str) -> Callable[[], str]:
        return lambda: self.score(engine, self.units, name, cycle=1)

    def _local(self) -> LocalEngine:
        return LocalEngine(self.experiment("entropy").compute)

    def _plain_loop(self, units: int) -> torch.Tensor:
        """What one would write by hand: all images in memory, batch after batch."""
        scores = [
            entropy(forward(self.model, self._normalised(start)).logits.log_softmax(1))
            for start in range(0, units, 256)
        ]
        return torch.cat(scores)

    def _normalised(self, start: int) -> torch.Tensor:
        return normalise(self.images[start : start + 256], self.store.card.image)

    def _network(self, seed: int) -> torch.nn.Module:
        x, card = self.experiment("entropy"), self.store.card
        return build(x.model, len(card.classes), card.image, seed).eval()

    def _save(self, seed: int) -> FileLocation:
        out = Folder(self.folder / f"weights-{seed}")
        return FileLocation(
            out.url, out.write("weights.safetensors", save_weights(self._network(seed)))
        )


def _write_pool(folder: Path, units: int) -> None:
    folder.mkdir()
    _write_images(folder / "pool.parquet", units)
    _write_images(folder / "test.parquet", 16)


def _write_images(path: Path, units: int) -> None:
    rng = np.random.default_rng(units)
    images = rng.integers(0, 256, (units, 3, SIZE, SIZE), np.uint8)
    columns = {
        "id": pa.array([f"{path.stem}-{i:06d}" for i in range(units)]),
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        "label": pa.array(np.arange(units) % 10),
    }
    pq.write_table(pa.table(columns), path)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--units", type=int, default=4096, help="images of the smaller pool")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
