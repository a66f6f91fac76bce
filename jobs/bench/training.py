"""How fast a training is, against a hand-written loop, and what that makes of the whole protocol.

    python jobs/bench/training.py [--device cuda] [--only supervised,tod] [--compile] [--runs 5]
                                  [--width 64] [--images 5000] [--batch 128] [--epochs 3]
                                  [--small] [--out report]

The protocol is that of TOD and COD on CIFAR-10: ResNet-18, 5,000 to 20,000 labels in 7 cycles of
200 epochs, which is 17.5 million visits of labeled images. Nobody trains that here: epochs on
images of noise are timed, after one that warms up, and the time of all trainings is computed from
their rate; evaluations and scoring passes come on top.
`supervised` is the labeled branch alone, with which COD trains; `tod` has the unlabeled one beside
it. A rate is labeled images per second, the median of `--runs` trainings in turn with those of
PyTorch by hand (plain_training.py), with images on the device on both sides.

Without `--device cuda` all is measured on the CPU, with a narrow network, and says nothing of a
GPU.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark import Row, Rows, median_ratio, parser, run
from plain_training import Data, PlainTraining
from pool_features import SPEC

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, numbered
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.build import build
from rayal.storage.folder import Folder

CYCLES, EPOCHS, FIRST, MORE = 7, 200, 5_000, 2_500
VISITS = EPOCHS * sum(FIRST + MORE * cycle for cycle in range(CYCLES))
AIM = 600.0  # seconds for all trainings of the protocol, on one H100
WIDTH, BATCH = 64, 128  # of the protocol

SIZES = {
    "cpu": {"width": 8, "images": 256, "batch": 64, "epochs": 1},
    "cuda": {"width": WIDTH, "images": FIRST, "batch": BATCH, "epochs": 3},
}
"""Unless given."""
TINY = {"width": 2, "images": 16, "batch": 8, "epochs": 1}


class Noise(Dataset):
    """Images of noise in the shape of CIFAR-10's."""

    images: int

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (2 * self.images + 10, *SPEC.shape), np.uint8)
        labels = np.arange(len(pixels)) % 10
        pool = numbered("pool", labels[:-10], pixels[:-10])
        test = numbered("test", labels[-10:], pixels[-10:])
        return Source([str(number) for number in range(10)], pool, test, "drawn", "none")


class Way(NamedTuple):
    """How rayal trains."""

    precision: str
    compile: bool = False
    overlap: bool = False

    def __str__(self) -> str:
        options = [name for name in ("compile", "overlap") if getattr(self, name)]
        return " + ".join([self.precision, *options])


class Bench:
    """One phase of the protocol, by rayal and by hand: half of the images are labeled."""

    def __init__(self, scratch: Path, phase: str, options: argparse.Namespace) -> None:
        self.scratch, self.phase, self.options = scratch, phase, options
        self.trainings = 0
        store = Noise(images=options.images, store=str(scratch / "stores")).open()
        ids = store.pool.ids()[: options.images]
        labels = store.labels("pool", ids)
        self.store, self.labels = store, {unit: labels[unit] for unit in ids}

    def rayal(self, way: Way) -> float:
        """Labeled images per second of a training."""
        o, self.trainings = self.options, self.trainings + 1
        x = Experiment.model_validate(
            {
                "name": "bench",
                "dataset": Noise(images=o.images),
                "model": {"name": "resnet18", "width": o.width},
                "scheme": self._scheme(way),
                "strategy": "random",
                "budget": {"initial": o.images, "per_cycle": 1, "total": o.images},
                "compute": {
                    "engine": "local",
                    "device": o.device,
                    "compile": way.compile,
                    "overlap": way.overlap,
                },
                "tracking": "none",
            }
        )
        out = (Folder(self.scratch) / f"training-{self.trainings}").url
        ids, labels = tuple(self.labels), tuple(self.labels.values())
        job = TrainJob(x, 0, self.store.url, ids, labels, None, out)
        trained = train(job, Worker(device=o.device))
        assert trained is not None, "the only worker is worker 0"
        lines = Folder(out).read("epochs.jsonl", trained.log).splitlines()
        counted = [json.loads(line)["seconds"] for line in lines[1:]]  # the first one warms up
        return len(counted) * len(ids) / sum(counted)

    def _scheme(self, way: Way) -> dict[str, Any]:
        o = self.options
        unlabeled = {"unlabeled_batch_size": o.batch} if self.phase == "tod" else {}
        return {
            "name": self.phase,
            "epochs": o.epochs + 1,
            "batch_size": o.batch,
            "lr": 0.01,
            "schedule": "constant",
            "augment": {"flip": True, "crop": 4},
            "precision": way.precision,
            **unlabeled,
        }

    def plain(self, precision: str) -> float:
        """The same by hand."""
        o = self.options
        decoded = self.store.pool.decode(self.store.pool.take(self.store.pool.ids()))
        images = torch.from_numpy(decoded.images.copy()).to(o.device)
        truth = torch.tensor(list(self.labels.values()), device=o.device)
        labeled = Data(images[: o.images], truth, SPEC)
        others = Data(images[o.images :], None, SPEC) if self.phase == "tod" else None
        model = build(Resnet18(width=o.width), 10, SPEC, seed=0).to(o.device)
        training = PlainTraining(model, labeled, others, o.batch, bf16=precision == "bf16")
        seconds, seen = training.seconds(o.epochs)
        assert seen == o.epochs * o.images, "both sides see the same number of images"
        return seen / seconds


def supervised(options: argparse.Namespace, **sizes: int) -> list[Row]:
    return _rows("supervised", options, sizes)


def tod(options: argparse.Namespace, **sizes: int) -> list[Row]:
    return _rows("tod", options, sizes)


def _rows(phase: str, options: argparse.Namespace, sizes: Mapping[str, int]) -> list[Row]:
    chosen = {name: getattr(options, name) for name in TINY}
    given = {name: value for name, value in chosen.items() if value is not None}
    options = argparse.Namespace(**{**vars(options), **SIZES[options.device], **sizes, **given})
    ways = [Way("fp32"), Way("bf16")]
    if options.compile:
        ways += [Way("bf16", compile=True)]
    if options.device == "cuda":
        ways += [Way("bf16", overlap=True)] if phase == "tod" else []
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), phase, options)
        sides: dict[str, Callable[[], float]] = {
            str(way): partial(bench.rayal, way) for way in ways
        }
        for precision in ("fp32", "bf16"):
            sides[f"plain {precision}"] = partial(bench.plain, precision)
        rates = _in_turn(phase, options.runs, sides)
    return _compared(phase, ways, rates, options)


def _in_turn(
    phase: str, runs: int, sides: Mapping[str, Callable[[], float]]
) -> dict[str, list[float]]:
    """What each side returns, run in turn: drift of the machine hits all."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            rates[name].append(side())
            print(f"{phase}, {name}: {rates[name][-1]:.0f} labeled images/s", flush=True)
    return rates


def _compared(
    phase: str, ways: Sequence[Way], rates: Mapping[str, list[float]], o: argparse.Namespace
) -> list[Row]:
    where = torch.cuda.get_device_name() if o.device == "cuda" else "CPU, no GPU measured"
    work = f"{phase}, ResNet-18 of width {o.width}, {o.images} images, batches of {o.batch}"
    middle = {side: statistics.median(rate) for side, rate in rates.items()}

    def row(side: str, other: str, against: str) -> Row:
        detail = f"{middle[side]:.0f} against {middle[other]:.0f} labeled images/s; {where}"
        ratio = median_ratio(rates[side], rates[other])
        return Row(f"{work}: rate, {side}", against, ratio, "none", detail)

    rows = []
    for way in ways:
        plain = f"plain {way.precision}"
        rows.append(row(str(way), plain, f"hand-written loop, {way.precision}"))
    rows += [row(str(way), "fp32", "rayal, fp32") for way in ways if way == Way("bf16")]
    rows += [row(str(way), "bf16", "rayal, bf16") for way in ways if way.compile or way.overlap]
    if (o.width, o.batch, o.images >= FIRST) == (WIDTH, BATCH, True):
        rows += [_protocol(phase, way, middle[str(way)], where) for way in ways]
    return rows


def _protocol(phase: str, way: Way, rate: float, where: str) -> Row:
    seconds = VISITS / rate
    what = f"trainings of the CIFAR-10 protocol, {phase}, {way}: computed from the rate, not run"
    detail = f"{VISITS / 1e6:.1f} million visits at {rate:.0f}/s: {seconds / 60:.1f} min; {where}"
    target = "at most 1 x on an H100" if phase == "supervised" else "none"
    return Row(what, f"{AIM / 60:.0f} minutes", seconds / AIM, target, detail)


ROWS: Rows = {row.__name__: row for row in (supervised, tod)}
SMALL: Mapping[str, Mapping[str, Any]] = {name: TINY for name in ROWS}


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    options = _options(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here: nothing was measured; try it with --device cpu")
    return run("bench_training", ROWS, SMALL, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, ROWS)
    options.add_argument("--device", choices=list(SIZES), default="cpu", help="what trains")
    options.add_argument("--compile", action="store_true", help="measure torch.compile too")
    options.add_argument("--width", type=int, help="channels of the first block")
    options.add_argument("--images", type=int, help="labeled ones, and as many unlabeled")
    options.add_argument("--batch", type=int, help="images of a step, labeled and unlabeled each")
    options.add_argument("--epochs", type=int, help="counted ones of each training")
    return options.parse_args(arguments)


if __name__ == "__main__":
    main()
