"""A graph network over a whole pool, whose every node is asked by its own features alone.

Source: Caramalau, Bhattarai and Kim, "Sequential Graph Convolutional Network for Active Learning"
(CVPR 2021), Sec. 3.2; official code razvancaramalau/Sequential-GCN-for-Active-Learning, bbc43db:
`aff_to_adj`, and the two layers of its `GCN` that are used (it declares two more).

N nodes with D features, x scaled to length 1, X of them; h hidden units of H. S = X X^T with a
diagonal of zeros is how similar two nodes are, and A = S W + I the graph: W divides each column by
its sum. The network is

    h = relu(A X W1 + b1),  z = A h W2 + b2,  s = sigmoid(z): the probability to be labeled.

A has N x N numbers and is never there: A v = X (X^T W v) - q W v + v, q = |x|^2, are two products
with thin matrices, equal to the dense one up to rounding. A node's row of it needs only x and sums
over all nodes, so once the weights are final, `remember` keeps these sums (D x D and D x H
numbers), and a scoring pass asks for one image after the other, without the graph. An image that
was no node gets what a node of the same features has.

Differences:
- S may have negative numbers where features do, of networks that do not end in ReLU; a column can
  then have a sum near 0, and dividing by it, as the official code does, makes numbers without end.
  Here a column is divided by its sum or its Euclidean length, whichever is larger: without negative
  numbers that is always the sum.
- A node that is like no other, such as one whose features are all zero, is left alone: its column
  of S W is zero. The official code divides by zero.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from rayal.models.companions.base import EmbeddingCompanion

ALONE = 1e-3
"""A node whose similarities to all others together are less has none."""
BLOCK = 2**14
"""Nodes that are looked at in float64 at a time."""


def points(features: Tensor) -> Tensor:
    """N D -> N D: scaled to length 1; a row of zeros stays as it is."""
    return normalize(features, dim=1)


class Sums(nn.Module):
    """What a node has to know of all others to find how similar they are to it."""

    total: Tensor  # D: the sum of all x
    products: Tensor  # D D: X^T X

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(features, features, dtype=torch.float64))

    @torch.no_grad()
    def remember(self, x: Tensor) -> None:
        """`x`, N D, are all nodes."""
        self.total.copy_(x.sum(dim=0, dtype=torch.float64))
        self.products.zero_()
        for part in x.split(BLOCK):  # type: ignore[no-untyped-call]
            wide = part.double()
            self.products.addmm_(wide.T, wide)

    def weights(self, x: Tensor) -> Tensor:
        """n 1, the numbers of W that belong to these nodes, n D; computed in float64, where what
        is subtracted leaves enough."""
        wide = x.double()
        own = wide.square().sum(dim=1)
        sums = wide @ self.total.double() - own
        lengths = (
            ((wide @ self.products.double() * wide).sum(dim=1) - own.square()).clamp(min=0).sqrt()
        )
        largest = torch.maximum(sums, lengths)
        inverse = largest.clamp(min=ALONE).reciprocal()
        return torch.where(largest < ALONE, 0.0, inverse)[:, None].to(x.dtype)


class Graph:
    """The nodes of a pool, and its A as a product."""

    def __init__(self, x: Tensor) -> None:
        """`x`: N D, as `points` gives them."""
        self.x, self.own = x, x.square().sum(dim=1, keepdim=True)
        self.sums = Sums(x.shape[1]).to(x.device)
        self.sums.remember(x)
        parts = x.split(BLOCK)  # type: ignore[no-untyped-call]
        self.weights = torch.cat([self.sums.weights(part) for part in parts])

    def linked(self, values: Tensor) -> Tensor:
        """A v, for v of N k."""
        weighed = self.weights * values
        return self.x @ (self.x.T @ weighed) - self.own * weighed + values


class Convolution(nn.Module):
    """A v weight + bias, of a graph's A."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Drawn evenly from -1 / sqrt(outputs) to 1 / sqrt(outputs)."""
        super().__init__()
        reach = 1 / math.sqrt(outputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-reach, reach))

    def forward(self, linked: Tensor) -> Tensor:
        """`linked`: A v, or a part of its rows."""
        return torch.addmm(self.bias, linked, self.weight)


class GraphNetwork(EmbeddingCompanion):
    """Which units are labeled, as a graph over all of them tells it; 65,793 weights at 512 features
    and 128 hidden units."""

    first_links: Tensor  # D H: X^T W X W1
    last_links: Tensor  # D 1: X^T W h W2

    def __init__(self, features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.first, self.last = Convolution(features, hidden), Convolution(hidden, 1)
        self.dropout = dropout
        self.sums = Sums(features)
        self.register_buffer("first_links", torch.zeros(features, hidden))
        self.register_buffer("last_links", torch.zeros(features, 1))

    def learn(self, graph: Graph, linked: Tensor) -> Tensor:
        """N, the logits z of all nodes; `linked` is A X, which no step changes."""
        hidden = self.hidden(linked)
        hidden = dropout(hidden, self.dropout, self.training)
        # A (h W2) in place of (A h) W2: one column to link in place of H
        return (graph.linked(hidden @ self.last.weight) + self.last.bias)[:, 0]

    def hidden(self, linked: Tensor) -> Tensor:
        """N H, h before dropout, from rows of A X."""
        hidden: Tensor = self.first(linked).relu()
        return hidden

    @torch.no_grad()
    def remember(self, graph: Graph) -> None:
        """Keeps what `embed` and `forward` need of this graph, for weights that are final."""
        weighed = graph.weights * graph.x
        self.sums.load_state_dict(graph.sums.state_dict())
        self.first_links.copy_(graph.x.T @ (weighed @ self.first.weight))
        inner = self.hidden(graph.linked(graph.x)) @ self.last.weight
        self.last_links.copy_(graph.x.T @ (graph.weights * inner))

    @torch.no_grad()
    def embed(self, features: Tensor) -> Tensor:
        """N D -> N H: h of these units, without dropout; at least 0."""
        return self._embedded(points(features))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """N D -> N: the probability of each of these units to be labeled."""
        x = points(features)
        inner = self._embedded(x) @ self.last.weight
        logits = x @ self.last_links + self._own(x) * inner + self.last.bias
        return logits[:, 0].sigmoid()

    def _embedded(self, x: Tensor) -> Tensor:
        linked = x @ self.first_links + self._own(x) * (x @ self.first.weight)
        return (linked + self.first.bias).relu()

    def _own(self, x: Tensor) -> Tensor:
        """N 1: what a node is to itself in A, less than its part of the sums over all nodes."""
        return 1 - x.square().sum(dim=1, keepdim=True) * self.sums.weights(x)
