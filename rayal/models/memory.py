"""The last layer of a model that memorises: labeled vectors, and how it answers by the nearest.

N units of a batch, M remembered ones, C classes, D features, k neighbours.
"""

import math
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

BLOCK = 4096
"""Remembered vectors that a batch is compared with at a time."""


class Memory(nn.Module):
    """Logits by the k nearest of M remembered vectors, whose number is what was shown so far.

    A neighbour of cosine similarity s counts exp(s / temperature); p is a class's share of the k,
    evened by `smoothing` e: (1 - e) p + e / C, and its logarithm is the logit. Of equally near
    vectors those come first that are stored first. Where nothing is remembered all classes are
    alike.
    """

    vectors: Tensor  # M D float32, of length 1
    labels: Tensor  # M int64

    def __init__(
        self, width: int, num_classes: int, k: int, temperature: float, smoothing: float
    ) -> None:
        super().__init__()
        self.num_classes, self.k = num_classes, k
        self.temperature, self.smoothing = temperature, smoothing
        self.register_buffer("vectors", torch.empty(0, width))
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64))

    def forget(self) -> None:
        """Nothing is remembered."""
        self._resize(0)

    def remember(self, vectors: Tensor, labels: Tensor) -> None:
        """Some more, N D and N."""
        self.vectors = torch.cat([self.vectors, normalize(vectors.to(self.vectors.dtype))])
        self.labels = torch.cat([self.labels, labels])

    def settle(self) -> None:
        """Stores by class, and in a class by a digest of the vector: the order in which they were
        shown no longer counts."""
        rows, labels = self.vectors.cpu().numpy(), self.labels.cpu().numpy()
        digests = [blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
        order = np.lexsort((np.frombuffer(b"".join(digests), ">u8"), labels))
        places = torch.from_numpy(order).to(self.labels.device)
        self.vectors, self.labels = self.vectors[places], self.labels[places]

    def forward(self, features: Tensor) -> Tensor:
        """N D -> N C, finite: log probabilities."""
        if not len(self.labels):
            return features.new_full((len(features), self.num_classes), -math.log(self.num_classes))
        similar, labels = self._neighbours(normalize(features.to(self.vectors.dtype)))
        weights = (similar / self.temperature).softmax(dim=1)
        of_class = one_hot(labels, self.num_classes).to(weights.dtype)  # N k C
        shares = (weights[:, None] @ of_class)[:, 0]
        return ((1 - self.smoothing) * shares + self.smoothing / self.num_classes).log()

    def _neighbours(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities and classes of the k nearest, N k, the nearest first."""
        found: tuple[Tensor, Tensor] | None = None
        for vectors, labels in self._blocks():
            similar, places = largest(features @ vectors.T, self.k)
            here = similar, labels[places]
            if found is not None:
                similar, near = (torch.cat(pair, dim=1) for pair in zip(found, here, strict=True))
                similar, places = largest(similar, self.k)
                here = similar, near.gather(1, places)
            found = here
        assert found is not None, "something is remembered"
        return found

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.vectors.split(BLOCK), self.labels.split(BLOCK), strict=True)  # type: ignore[no-untyped-call]

    def _resize(self, rows: int) -> None:
        self.vectors = self.vectors.new_empty(rows, self.vectors.shape[1])
        self.labels = self.labels.new_empty(rows)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """As torch's, with room for what was remembered."""
        self._resize(len(state[f"{prefix}labels"]))
        super()._load_from_state_dict(state, prefix, *args)


def free_rows(module: nn.Module) -> set[str]:
    """The names of weights whose number of rows is how much is remembered."""
    memories = [path for path, each in module.named_modules() if isinstance(each, Memory)]
    return {f"{path}.{name}" for path in memories for name in ("vectors", "labels")}


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, all where there are fewer, and their places; the largest first,
    and of equal ones those in front."""
    k = min(k, values.shape[1])
    last = values.topk(k)
    places = last.indices
    crowded = (values >= last.values[:, -1:]).sum(dim=1) > k  # which of equals were taken is chance
    places[crowded] = values[crowded].sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = places.sort(dim=1).values
    best, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return best, places.gather(1, order)
