"""The graph network against the N x N matrix that it never builds."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.models.companions.graph_network import Graph, GraphNetwork, points
from rayal.models.weights import load_weights, save_weights

N, D, H = 40, 12, 6


def nodes(seed: int = 0, signed: bool = False) -> Tensor:
    """N D, float64, of length 1."""
    features = torch.randn(N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return points(features if signed else features.relu())


def matrix(x: Tensor) -> Tensor:
    """A as published: similarities without their diagonal, columns divided by their sums, and 1."""
    similar = x @ x.T - torch.eye(len(x), dtype=x.dtype)
    return similar / similar.sum(dim=0) + torch.eye(len(x), dtype=x.dtype)


def network(seed: int = 1) -> GraphNetwork:
    torch.manual_seed(seed)
    made = GraphNetwork(D, H, 0.3).double().eval()
    with torch.no_grad():
        made.first.weight.mul_(5)  # so that hidden units differ from node to node
    return made


def dense(made: GraphNetwork, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """h and z of all nodes."""
    hidden = (a @ (x @ made.first.weight) + made.first.bias).relu()
    return hidden, (a @ (hidden @ made.last.weight) + made.last.bias)[:, 0]


def test_hand_case():
    """Nodes at 0, 90 and about 53 degrees: the third is like both others, which are unlike."""
    x = torch.tensor([[1, 0], [0, 1], [0.6, 0.8]], dtype=torch.float64)
    a = Graph(x).linked(torch.eye(3, dtype=torch.float64))

    expected = [[1, 0, 0.6 / 1.4], [0, 1, 0.8 / 1.4], [1, 1, 1]]
    torch.testing.assert_close(a, torch.tensor(expected, dtype=torch.float64))


def test_the_product_is_that_of_the_matrix():
    """Every number that the network learns from would be of another graph."""
    x, values = nodes(), torch.randn(N, 5, dtype=torch.float64)
    a = matrix(x)

    torch.testing.assert_close(Graph(x).linked(values), a @ values, rtol=1e-12, atol=1e-12)
    linked = Graph(x).linked(torch.eye(N, dtype=torch.float64))
    sums = linked.sum(dim=0) - 1  # of the columns of A - I
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-12, atol=1e-12)


def test_many_nodes_are_looked_at_in_blocks(monkeypatch):
    """The last block of a large pool would be left out, or all of it copied to float64."""
    whole = Graph(nodes())
    monkeypatch.setattr("rayal.models.companions.graph_network.BLOCK", 7)
    parts = Graph(nodes())

    torch.testing.assert_close(whole.weights, parts.weights, rtol=1e-12, atol=0)


def test_negative_similarities_do_not_blow_up_a_column():
    """A sum near 0 would make one node a million times as loud as all others; a negative one would
    turn likeness into its opposite."""
    x = nodes(signed=True)
    similar = x @ x.T - torch.eye(N, dtype=x.dtype)
    sums, lengths = similar.sum(dim=0), similar.norm(dim=0)
    columns = Graph(x).linked(torch.eye(N, dtype=x.dtype)) - torch.eye(N, dtype=x.dtype)

    assert 0 < (sums < lengths).sum() < N  # both cases are there
    torch.testing.assert_close(columns, similar / torch.maximum(sums, lengths))
    assert columns.norm(dim=0).max() <= 1 + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_node_without_likes_is_alone(dtype):
    """A dead unit, or one unlike all others, would be divided by zero, or by its rounding."""
    x = torch.zeros(5, 4, dtype=dtype)
    x[0, 0] = x[1, 0] = 1
    x[2, 1:3] = 0.5**0.5  # of length 1 but for rounding
    a = Graph(x).linked(torch.eye(5, dtype=dtype))

    expected = torch.eye(5, dtype=dtype)
    expected[0, 1] = expected[1, 0] = 1
    torch.testing.assert_close(a, expected, rtol=0, atol=1e-6)


def test_gradients_are_those_of_the_matrix():
    """The network would learn something else, slowly enough that its loss still falls."""
    x, made = nodes(), network()
    graph = Graph(x)
    _, expected = dense(made, matrix(x), x)
    logits = made.learn(graph, graph.linked(x))
    goal = torch.randn(N, dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad((z * goal).sum(), [*made.parameters()]) for z in (logits, expected)
    )

    torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-11)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("signed", [False, True], ids=["of a ReLU", "signed"])
def test_a_node_is_asked_by_its_features_alone(signed):
    """A pass in shards would score units by another network than the one that was fitted."""
    x, made = nodes(signed=signed), network()
    graph = Graph(x)
    made.remember(graph)
    a = graph.linked(torch.eye(N, dtype=x.dtype))
    hidden, logits = dense(made, a, x)
    lengths = torch.rand(N, 1, dtype=x.dtype) + 0.5  # which features have, and nodes have not
    some = torch.tensor([3, 0, 17])

    torch.testing.assert_close(made.embed(x * lengths), hidden, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(made(x * lengths), logits.sigmoid(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(made(x[some]), logits[some].sigmoid(), rtol=1e-11, atol=1e-11)
    assert ((made(x) > 0) & (made(x) < 1)).all() and len(made(x).unique()) == N


def test_what_it_remembers_is_saved():
    """Workers that score would ask a network that has seen no graph."""
    x, made, other = nodes().float(), network().float(), network(seed=2).float()
    made.remember(Graph(x))
    load_weights(other, save_weights(made))

    assert torch.equal(made(x), other(x)) and torch.equal(made.embed(x), other.embed(x))


def test_the_order_of_the_nodes_does_not_matter():
    """Units would be told apart by their place in the pool."""
    x, made, order = nodes(), network(), torch.randperm(N)
    one, other = Graph(x), Graph(x[order])
    logits = made.learn(one, one.linked(x))

    shuffled = made.learn(other, other.linked(other.x))
    torch.testing.assert_close(logits[order], shuffled, rtol=1e-11, atol=1e-11)


def test_the_published_network():
    """Another size, or another beginning, would be another method."""
    torch.manual_seed(0)
    made = GraphNetwork(512, 128, 0.3)
    reach = {n: p.abs().max().item() * p.shape[-1] ** 0.5 for n, p in made.named_parameters()}

    assert 65_793 == sum(p.numel() for p in made.parameters())
    assert all(0.85 < each <= 1 for name, each in reach.items() if name != "last.bias")
    assert reach["last.bias"] <= 1


def test_dropout_is_for_learning_alone():
    """Scores would be drawn anew at every pass; or the network learn its nodes by heart."""
    x, made = nodes(), network()
    graph = Graph(x)
    linked = graph.linked(x)
    calm = [made.learn(graph, linked) for _ in range(2)]
    torch.manual_seed(0)
    noisy = [made.train().learn(graph, linked) for _ in range(2000)]

    assert torch.equal(*calm) and not torch.equal(*noisy[:2])
    mean = torch.stack(noisy).mean(dim=0)  # dropout leaves the expectation of z as it is
    np.testing.assert_allclose(mean.detach(), calm[0].detach(), atol=0.5)
