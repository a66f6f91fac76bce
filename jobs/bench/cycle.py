"""What rayal adds to a run: five cycles on digits against a hand-written single-process script.

    python jobs/bench/cycle.py [--epochs 60] [--runs 5] [--engine local] [--out report]

The script below does the same steps with nothing but torch: train on the labeled images, test,
score the pool by entropy, take the highest. It stands for what a researcher would write, and it
remembers nothing when it is killed. Nothing is tracked on either side. Start-up of a run and of
each cycle is stated apart.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from benchmark import Row, alternate, median_ratio, write
from torch.nn import functional

from rayal.data.store import Store
from rayal.engine import start
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.runs.record import Record
from rayal.runs.results import Trained
from rayal.signals.batch import entropy
from rayal.training.augment import normalise
from rayal.workflows.run import start_run

CYCLES = 5
LABELS = 100


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options.epochs)
        rows = [_local(bench, options.runs)]
        if options.engine == "ray":
            rows.append(_on_ray(bench, options.runs))
    write("bench_cycle", rows, options.out)


class Bench:
    """The same experiment, by rayal and by hand."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.epochs, self.done = folder, epochs, 0
        self.last: dict[str, Record] = {}
        """Engine -> its last run."""
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
        x = self.experiment(engine)
        on_ray = engine == "ray"
        with start_run(x, str(self.folder / f"run-{self.done}")) as opened:
            opened.run(self._ray if on_ray else lambda: nullcontext(LocalEngine(x.compute)))
            self.last[engine] = opened.record

    def _ray(self) -> AbstractContextManager[RayEngine]:
        """As `rayal run` does it, but for the start of the cluster."""
        return closing(RayEngine(self.experiment("ray").compute, self.cores))

    def start_ray(self) -> None:
        """Starts the cluster that all runs share, and remembers how long that took."""
        started = time.perf_counter()
        self.cores = start.connect(None)
        self.connecting = time.perf_counter() - started

    def stop_ray(self) -> None:
        """Stops it again."""
        start.disconnect()

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

    def start_up(self) -> dict[str, float]:
        """Seconds of the last run on Ray that were not the work itself: the training workers'
        start, and what passes and evaluations took longer than in one process."""
        here, there = self.last["local"].cycles(), self.last["ray"].cycles()
        trained = [self.last["ray"].result(row["cycle"], Trained) for row in there]
        fits = [row["train_seconds"] - t.seconds for row, t in zip(there, trained, strict=True)]
        later = {
            stage: sum(
                slow[f"{stage}_seconds"] - fast[f"{stage}_seconds"]
                for slow, fast in zip(there, here, strict=True)
                if slow[f"{stage}_seconds"] is not None
            )
            for stage in ("evaluate", "score")
        }
        return {"first fit": fits[0], "later fits": sum(fits[1:]), **later}


def _local(bench: Bench, runs: int) -> Row:
    seconds = alternate(runs, rayal=lambda: bench.rayal("local"), script=bench.script)
    return _row("whole run of 5 cycles, local engine", seconds, 0.0, "one process")


def _on_ray(bench: Bench, runs: int) -> Row:
    """After `_local`, whose last run says what passes cost without a start-up."""
    bench.start_ray()
    seconds = alternate(runs, rayal=lambda: bench.rayal("ray"), script=bench.script)
    start_up = bench.start_up()
    bench.stop_ray()
    apart = sum(start_up.values())
    start_up["cluster (once a run, not in the times)"] = bench.connecting
    return _row("whole run of 5 cycles, Ray engine", seconds, apart, _said(start_up))


def _said(start_up: dict[str, float]) -> str:
    parts = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in start_up.items())
    return (
        f"start-up: {parts}; without kept workers each of the {CYCLES - 1} later fits would cost "
        "about as much as the first"
    )


def _row(what: str, seconds: dict[str, list[float]], start_up: float, detail: str) -> Row:
    rayal, script = (statistics.median(seconds[side]) for side in ("rayal", "script"))
    return Row(
        f"{what}, start-up of {start_up:.1f} s apart",
        "hand-written script, same steps",
        median_ratio([t - start_up for t in seconds["rayal"]], seconds["script"]),
        "at most 1.15 x",
        f"{rayal:.1f} s, start-up included, against {script:.1f} s; {detail}",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=60, help="of each of the five trainings")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="ray", help="local: without the row on Ray"
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
