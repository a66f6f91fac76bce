"""What rayal adds to a run: five cycles on digits against a hand-written single-process script.

    python jobs/bench_cycle.py [--epochs 60] [--runs 5] [--out report]

The script below does the same steps with nothing but torch: train on the labeled images, test,
score the pool by entropy, take the highest. It stands for what a researcher would write, and it
remembers nothing when it is killed. Start-up of a run and of each cycle is stated apart.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from benchmark import Row, alternate, median_ratio, write
from torch.nn import functional

from rayal import session
from rayal.augment import normalise
from rayal.dataset import Store
from rayal.engine import cluster
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment import Experiment
from rayal.loop import Engine
from rayal.model import build
from rayal.record import Record
from rayal.signals import entropy
from rayal.storage import Folder

CYCLES = 5
LABELS = 100


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options.epochs)
        local = alternate(options.runs, rayal=lambda: bench.rayal("local"), script=bench.script)
        cluster.connect(None)
        on_ray = alternate(options.runs, rayal=lambda: bench.rayal("ray"), script=bench.script)
        spent = bench.overhead()
        cluster.disconnect()
    rows = [
        _row("whole run of 5 cycles, local engine", local, "the ledger, one process"),
        _row("whole run of 5 cycles, Ray engine", on_ray, spent),
    ]
    write("bench_cycle", rows, options.out)


class Bench:
    """The same experiment, by rayal and by hand."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.epochs, self.done = folder, epochs, 0
        self.last = Folder(folder)
        self.store: Store = self.experiment("local").dataset.open()

    def experiment(self, engine: str) -> Experiment:
        return Experiment.model_validate(
            {
                "name": "bench",
                "dataset": {"name": "digits", "store": str(self.folder / "stores")},
                "model": {"name": "small_cnn", "width": 32},
                "scheme": {
                    "name": "supervised",
                    "epochs": self.epochs,
                    "batch_size": 32,
                    "lr": 0.05,
                },
                "strategy": "entropy",
                "budget": {"initial": LABELS, "per_cycle": LABELS, "total": CYCLES * LABELS},
                "compute": {"engine": engine},
                "tracking": "none",
            }
        )

    def rayal(self, engine: str) -> None:
        self.done += 1
        self.last = Folder(self.folder / f"run-{self.done}")
        x = self.experiment(engine)
        placed: Engine = LocalEngine(x.compute) if engine == "local" else RayEngine(x.compute)
        with session.opened(x, self.last.url) as opened:
            opened.run(lambda: nullcontext(placed))

    def script(self) -> float:
        """By hand; returns the last accuracy."""
        x, spec = self.experiment("local"), self.store.card.image
        images = [self._images(split) for split in (self.store.pool, self.store.test)]
        pool, test = (normalise(split, spec) for split in images)
        truth, test_truth = (self._labels(split) for split in ("pool", "test"))
        labeled = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))[:LABELS]
        model = build(x.model, len(self.store.card.classes), spec, seed=0)
        for cycle in range(CYCLES):
            self._train(model, x.scheme, pool[labeled], truth[labeled])
            model.eval()
            with torch.no_grad():
                accuracy = (model(test).logits.argmax(1) == test_truth).float().mean().item()
                if cycle == CYCLES - 1:
                    return accuracy
                scores = torch.cat(
                    [entropy(model(batch).logits.log_softmax(1)) for batch in pool.split(256)]
                )
            scores[labeled] = -1
            labeled = torch.cat([labeled, scores.topk(LABELS).indices])
        raise AssertionError("unreachable")

    def _train(
        self, model: torch.nn.Module, scheme: Any, images: torch.Tensor, labels: torch.Tensor
    ) -> None:
        optimizer = torch.optim.SGD(
            model.parameters(), scheme.lr, scheme.momentum, weight_decay=scheme.weight_decay
        )
        milestone = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(scheme.milestones))
        model.train()
        for _ in range(scheme.epochs):
            for rows in torch.randperm(len(images)).split(scheme.batch_size):
                loss = functional.cross_entropy(model(images[rows]).logits, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            milestone.step()

    def _images(self, split: Any) -> torch.Tensor:
        return torch.from_numpy(split.decode(split.take(split.ids())).images.copy())

    def _labels(self, split: Any) -> torch.Tensor:
        labels, ids = self.store.labels(split), getattr(self.store, split).ids()
        return torch.tensor([labels[unit] for unit in ids])

    def overhead(self) -> str:
        """Seconds of the last run's stages that were not the work itself, in words."""
        fits, passes = [], []
        record = Record(self.last)
        for row in record.cycles():
            trained = record.result(row["cycle"], "train") or {}
            fits.append(row["train_seconds"] - trained["seconds"])
            if row["score_seconds"] is not None:
                passes.append(row["score_seconds"])
        started = time.perf_counter()
        cluster.disconnect()
        cluster.connect(None)
        start = time.perf_counter() - started
        return (
            f"start-up: run {start:.1f} s, per fit {statistics.median(fits):.1f} s, "
            f"per pass {statistics.median(passes):.1f} s; a persistent worker group would save "
            f"{sum(fits[1:]):.1f} s of the fits after the first"
        )


def _row(what: str, seconds: dict[str, list[float]], detail: str) -> Row:
    rayal, script = (statistics.median(seconds[side]) for side in ("rayal", "script"))
    return Row(
        what,
        "hand-written script, same steps",
        median_ratio(seconds["rayal"], seconds["script"]),
        "at most 1.15 x plus start-up",
        f"{rayal:.1f} s against {script:.1f} s; {detail}",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=60, help="of each of the five trainings")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
