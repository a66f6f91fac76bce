"""What jobs/bench/strategies.py measures rayal against: the same work as it is usually written, and
other libraries where they are installed.

N units, C classes, D features, K picks, L labeled units, S predictions, T parameter tensors.
"""

import time
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from rayal.cycle import shard_file
from rayal.selection.distances import BLOCK, Rows
from rayal.signals.batch import entropy
from rayal.storage.folder import Folder


def norms_one_by_one(model: nn.Module, images: Tensor) -> Tensor:
    """N T, squared: a forward and a backward per image, as the official code has it."""
    parameters = list(model.parameters())
    norms = []
    for image in images:
        gradients = torch.autograd.grad(summed_entropy(model, image[None]), parameters)
        norms.append(torch.stack([gradient.square().sum() for gradient in gradients]))
    return torch.stack(norms)


def backward(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """One forward and one backward for all images: what a training step costs, no norms."""
    return torch.autograd.grad(summed_entropy(model, images), list(model.parameters()))


def summed_entropy(model: nn.Module, images: Tensor) -> Tensor:
    """The sum over images of the entropy of the prediction."""
    return entropy(model(images).logits.log_softmax(dim=1)).sum()


def plain_greedy(points: Rows, centres: Rows, picks: int) -> list[int]:
    """k-center greedy in float32: after each pick one matrix-vector product over all units."""
    x, y = (torch.from_numpy(rows).float() for rows in (points, centres))
    norms = x.square().sum(dim=1)
    far = torch.cat(
        [
            torch.addmm(y.square().sum(dim=1), rows, y.T, alpha=-2).amin(dim=1)
            for rows in x.split(BLOCK)
        ]
    )
    far = (far + norms).clamp_(min=0)
    taken: list[int] = []
    for _ in range(picks):
        pick = int(far.argmax())
        taken.append(pick)
        to_pick = torch.addmv(norms, x, x[pick], alpha=-2).add_(norms[pick]).clamp_(min=0)
        far = torch.minimum(far, to_pick)
        far[pick] = -1
    return taken


class Dense(NamedTuple):
    """What dense k-means++ picked, and in what time."""

    picks: list[int]
    build_seconds: float
    pick_seconds: float


def dense_badge(probs: Rows, features: Rows, picks: int) -> Dense:
    """BADGE on the built outer products, N C*D in float32: one matrix-vector product a pick."""
    started = time.perf_counter()
    gradients = outer_products(probs, features)
    norms = torch.cat([rows.square().sum(dim=1) for rows in gradients.split(64)])
    built = time.perf_counter()
    rng = np.random.default_rng(0)
    far = torch.full((len(norms),), torch.inf)
    taken = [int(norms.argmax())]
    while True:
        pick = taken[-1]
        to_pick = torch.addmv(norms, gradients, gradients[pick], alpha=-2).add_(norms[pick])
        far = torch.minimum(far, to_pick.clamp_(min=0))
        far[pick] = 0
        if len(taken) == picks:
            break
        until = np.cumsum(far.double().numpy())
        taken.append(int(np.searchsorted(until, rng.random() * until[-1], side="right")))
    each = (time.perf_counter() - built) / picks
    return Dense(taken, built - started, each)


def left_by(probs: Rows, features: Rows, picks: Sequence[int]) -> float:
    """The sum over units of D^2, the squared distance to the nearest pick."""
    picked = outer_products(probs[list(picks)], features[list(picks)]).double()
    left = 0.0
    for start in range(0, len(probs), 64):
        part = slice(start, start + 64)
        gradients = outer_products(probs[part], features[part]).double()
        left += float(torch.cdist(gradients, picked).amin(dim=1).square().sum())
    return left


def outer_products(probs: Rows, features: Rows) -> Tensor:
    """(p - e_y) (x) a of the predicted class y, N C*D."""
    errors, a = (torch.from_numpy(rows).float() for rows in (probs, features))
    errors[torch.arange(len(errors)), errors.argmax(dim=1)] -= 1
    return torch.bmm(errors[:, :, None], a[:, None, :]).flatten(1)


def sorted_in_memory(folder: Folder, names: Sequence[str], picks: int) -> list[str]:
    """The ids of the highest scores of all shards: everything loaded, then one argsort."""
    table = pa.concat_tables([shard_file.read_shard(folder, name) for name in names])
    best = np.argsort(-table["score.entropy"].to_numpy())[:picks]
    ids: list[str] = pc.take(table["id"], pa.array(best)).to_pylist()
    return ids


def installed(name: str) -> ModuleType | None:
    """A module that rayal does not depend on, or None."""
    try:
        return import_module(name)
    except ImportError:
        return None


def mundig(points: Rows, centres: Rows, picks: int) -> list[int]:
    """k-center greedy by lightly-mundig; positions in `points`."""
    selection = import_module("lightly_mundig").Selection()
    together = np.vstack([centres, points]).astype(np.float32)
    selection.add_diversifying_strategy(embeddings=together, strength=1.0)
    start = len(centres)
    taken = selection.run_selection(
        preselected_indices=list(range(start)),
        n_total_samples=len(together),
        n_samples_to_select=start + picks,
    )
    return [pick - start for pick in taken[start:]]
