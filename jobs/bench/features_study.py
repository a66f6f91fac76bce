"""What rayal adds to a trial on frozen features, against a script that does the same steps by hand.

    python jobs/bench/features_study.py [--units 50000] [--width 512] [--cycles 20] [--runs 3]

Both sides see the same clustered vectors, train a linear head with AdamW in every cycle, evaluate
it, score the pool and buy what the strategy says, in one process with one thread. Counted is the
time of the processor (user and system), which says the same on a busy machine; what a trial's
process imports is not in it, since trials share processes. The script writes nothing and can
continue nothing: what is above 1 is what being able to costs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from benchmark import Row, conditions, write
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import rayal
from rayal.engine.local import LocalEngine
from rayal.workflows.run import start_run

CLASSES, CLUSTERS, TEST = 10, 6, 10_000
STEP, EPOCHS, BATCH = 100, 50, 128  # labels of a cycle, and of its training
STRATEGIES = ("random", "margin", "core_set")

Split = tuple[Tensor, Tensor]
"""Vectors N x D, float32, and classes N."""


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pool, test = _made(folder, options.units, options.width)
        for strategy in options.only:
            ours, theirs = [], []
            for number in range(options.runs + 1):  # the first warms up
                out = folder / f"{strategy}-{number}"
                trial = partial(_trial, folder, strategy, options.cycles, out)
                script = partial(_by_hand, pool, test, strategy, options.cycles)
                ours.append(_seconds(trial))
                theirs.append(_seconds(script))
            rows.append(_row(strategy, options, ours[1:], theirs[1:]))
    write("bench_features_study", rows, options.out)


def _row(strategy: str, options: argparse.Namespace, ours: list[float], theirs: list[float]) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(
        f"a trial of {strategy} on {options.units:,} x {options.width} features, "
        f"{options.cycles} cycles",
        "the same steps by hand, nothing written",
        ratio,
        "at most 2 x",
        f"{median(ours):.1f} s of one core against {median(theirs):.1f} s; {conditions()}",
    )


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--units", type=int, default=50_000, help="of the pool")
    made.add_argument("--width", type=int, default=512, help="numbers of a vector")
    made.add_argument("--cycles", type=int, default=20, help="of a trial")
    made.add_argument("--runs", type=int, default=3, help="counted runs of each side")
    made.add_argument("--only", type=lambda text: text.split(","), default=list(STRATEGIES))
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return made.parse_args()


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _made(folder: Path, units: int, width: int) -> tuple[Split, Split]:
    """Clustered vectors, in files for rayal, and normalised for the script."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, CLUSTERS, width)) * 0.35
    parts: list[tuple[NDArray[np.float16], NDArray[np.int64]]] = []
    for name, count in (("pool", units), ("test", TEST)):
        classes = rng.integers(0, CLASSES, count)
        means = centres[classes, rng.integers(0, CLUSTERS, count)]
        vectors = (means + rng.normal(size=means.shape) * 0.9).astype(np.float16)
        ids = np.array([f"{name}{number:07d}" for number in range(count)])
        np.savez(folder / f"{name}.npz", id=ids, features=vectors, label=classes)
        parts.append((vectors, classes))
    pool = torch.from_numpy(parts[0][0]).float()
    mean, std = pool.mean(dim=0), pool.std(dim=0)
    first, second = (
        ((torch.from_numpy(vectors).float() - mean) / std, torch.from_numpy(classes))
        for vectors, classes in parts
    )
    return first, second


def _trial(folder: Path, strategy: str, cycles: int, out: Path) -> None:
    x = rayal.Experiment(
        name="study",
        dataset={
            "name": "features",
            "root": str(folder),
            "store": str(folder / "stores"),
            "pool": "pool.npz",
            "test": "test.npz",
        },
        model="linear_head",
        scheme={"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adamw", "lr": 0.001},
        strategy=strategy,
        budget={"initial": STEP, "per_cycle": STEP, "total": STEP * (cycles + 1)},
        compute={"engine": "local", "cpus_per_worker": 1, "device": "cpu"},
        tracking="none",
        keep={"weights": "last", "shards": "last"},
    )
    with start_run(x, str(out)) as run:
        run.run(lambda: nullcontext(LocalEngine(x.compute)))


def _by_hand(pool: Split, test: Split, strategy: str, cycles: int) -> None:
    vectors, classes = pool
    torch.manual_seed(0)
    head = nn.Linear(vectors.shape[1], CLASSES)
    labeled = torch.randperm(len(vectors))[:STEP]
    for cycle in range(cycles + 1):
        _train(head, vectors[labeled], classes[labeled])
        with torch.no_grad():
            (head(test[0]).argmax(dim=1) == test[1]).float().mean().item()
        if cycle < cycles:
            labeled = torch.cat([labeled, _picks(head, vectors, labeled, strategy)])


def _train(head: nn.Linear, vectors: Tensor, classes: Tensor) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.001, weight_decay=5e-4)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(vectors)).split(BATCH):
            loss = cross_entropy(head(vectors.index_select(0, batch)), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def _picks(head: nn.Linear, vectors: Tensor, labeled: Tensor, strategy: str) -> Tensor:
    if strategy == "core_set":
        return _farthest(vectors, labeled)
    if strategy == "random":
        scores = torch.rand(len(vectors))
    else:
        top = head(vectors).softmax(dim=1).topk(2, dim=1).values
        scores = top[:, 1] - top[:, 0]
    scores[labeled] = -torch.inf
    return scores.topk(STEP).indices


def _farthest(vectors: Tensor, labeled: Tensor) -> Tensor:
    """k-center greedy as it is mostly written: all units against all centres, in float32."""
    norms, far = vectors.square().sum(dim=1), torch.full((len(vectors),), torch.inf)
    for part in labeled.split(256):
        products = torch.addmm(norms[part], vectors, vectors[part].T, alpha=-2)
        far = torch.minimum(far, products.amin(dim=1) + norms)
    picks = []
    for _ in range(STEP):
        pick = far.argmax()
        picks.append(pick)
        far = torch.minimum(far, norms + norms[pick] - 2 * (vectors @ vectors[pick]))
    return torch.stack(picks)


if __name__ == "__main__":
    main()
