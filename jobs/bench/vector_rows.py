"""Row of the speed table about features: a scoring pass over vectors, and the product by hand."""

import argparse
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark import Row, median_ratio
from racing import race
from statistics_pass import column

from rayal.cycle.score import ScoreJob, divide, pass_rows
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.signals.batch import entropy
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation

BATCH = 256


def vectors(
    options: argparse.Namespace, units: int = 50_000, width: int = 768, classes: int = 100
) -> list[Row]:
    """Entropy of a linear head: read, score, write shards, against a loop over an array in memory.

    In seconds of processors, which other work on the machine leaves alone; so is the rate.
    """
    with tempfile.TemporaryDirectory() as scratch:
        ours = _Pass(Path(scratch), units, width, classes)
        used: dict[str, list[float]] = {"rayal": [], "loop": []}

        def timed(name: str, side: Callable[[], Any]) -> Callable[[], Any]:
            def run() -> Any:
                before = _processor_seconds()
                result = side()
                used[name].append(_processor_seconds() - before)
                return result

            return run

        ran = race(
            "vectors",
            options.runs,
            rayal=timed("rayal", ours.scored),
            loop=timed("loop", ours.by_hand),
        )
        written = column(ran.results["rayal"], "entropy")
        assert written["id"].to_pylist() == ours.ids
        expected = ran.results["loop"].double().numpy()
        np.testing.assert_allclose(written["score.entropy"].to_numpy(), expected, atol=1e-4)
    ours_alone, loop = (seconds[1:] for seconds in used.values())  # the first warmed up
    rate = units / sorted(ours_alone)[len(ours_alone) // 2]
    what = f"entropy of {units:,} vectors of {width}, {classes} classes"
    detail = f"{rate:,.0f} units per second of a processor, reading and writing too"
    return [Row(what, "loop in memory", median_ratio(loop, ours_alone), "at least 0.3 x", detail)]


class _Pass:
    """Vectors of noise on disk, and a linear head of random weights."""

    def __init__(self, folder: Path, units: int, width: int, classes: int) -> None:
        rng, self.folder, self.passes = np.random.default_rng(0), folder, 0
        for name, count in (("pool", units), ("test", classes)):
            ids = np.array([f"{name}-{row:07d}" for row in range(count)])
            features = rng.standard_normal((count, width), np.float32).astype(np.float16)
            np.savez(
                folder / f"{name}.npz", id=ids, features=features, label=np.arange(count) % classes
            )
        self.x = Experiment.model_validate(
            {
                "name": "vectors",
                "dataset": {
                    "name": "features",
                    "root": str(folder),
                    "store": str(folder / "stores"),
                    "pool": "pool.npz",
                    "test": "test.npz",
                },
                "model": "linear_head",
                "strategy": "entropy",
                "budget": {"initial": 10, "per_cycle": 10, "total": 20},
                "compute": {"engine": "local", "device": "cpu", "score_batch": BATCH},
                "tracking": "none",
            }
        )
        self.store = self.x.dataset.open()
        card = self.store.card
        self.ids = self.store.pool.ids()
        self.features = torch.from_numpy(np.load(folder / "pool.npz")["features"])
        self.network = build(self.x.model, len(card.classes), card.image, 0).eval()
        out = Folder(str(folder / "weights"))
        model = TrainedModel.of(self.x.card_for(card), self.network)
        self.weights = FileLocation(out.url, model.write(out))
        self.engine = LocalEngine(self.x.compute)

    def scored(self) -> str:
        """A pass over all; returns the folder of its shards."""
        out = str(self.folder / f"pass-{self.passes}")
        self.passes += 1
        job = ScoreJob.of(self.x, self.store, 0, self.weights, out)
        tasks = divide(self.store.pool, self.ids, pass_rows(self.x.compute, self.store.card))
        assert len(self.ids) == sum(done.rows for done in self.engine.score(job, tasks))
        return out

    @torch.no_grad()
    def by_hand(self) -> torch.Tensor:
        """N: what one would write where all is in memory."""
        image, last = self.store.card.image, self.network.classifier
        assert isinstance(last, torch.nn.Linear)
        mean, std = torch.tensor(image.mean), torch.tensor(image.std)
        scores = []
        for part in self.features.split(BATCH):  # type: ignore[no-untyped-call]
            scores.append(entropy(last((part.float() - mean) / std).log_softmax(dim=1)))
        return torch.cat(scores)


def _processor_seconds() -> float:
    """Of all threads of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
