"""The k nearest of what is remembered, by hand, written out, and beside scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from rayal.errors import UsageError
from rayal.models import memory, weights
from rayal.models.memory import Memory, largest

CLASSES, WIDTH = 4, 8


def filled(rows: int = 60, k: int = 5, seed: int = 0, temperature: float = 0.5) -> Memory:
    generator = torch.Generator().manual_seed(seed)
    made = Memory(WIDTH, CLASSES, k=k, temperature=temperature, smoothing=0.01)
    made.remember(
        torch.randn(rows, WIDTH, generator=generator),
        torch.randint(CLASSES, (rows,), generator=generator),
    )
    return made


def queries(count: int = 40) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(9))


def test_two_neighbours_by_hand() -> None:
    """Similarities, their temperature or the smoothing would be other numbers."""
    made = Memory(2, 3, k=2, temperature=0.5, smoothing=0.3)
    made.remember(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([0, 1, 1]))
    a, b = math.exp(0.6 / 0.5), math.exp(0.8 / 0.5)  # of (3, 4) to the first two
    expected = torch.tensor([[0.7 * a / (a + b) + 0.1, 0.7 * b / (a + b) + 0.1, 0.1]])

    torch.testing.assert_close(made(torch.tensor([[3.0, 4.0]])).exp(), expected)


def test_agrees_with_a_loop() -> None:
    """Vectors would be compared with others, or labels belong to others."""
    made, smoothing = filled(), 0.01
    for query, logits in zip(queries(), made(queries()), strict=True):
        cosines = [
            (float(query @ row / query.norm()), int(label))
            for row, label in zip(made.vectors, made.labels, strict=True)
        ]
        nearest = sorted(cosines, reverse=True)[:5]
        total = sum(math.exp(near / 0.5) for near, _ in nearest)
        shares = [0.0] * CLASSES
        for near, label in nearest:
            shares[label] += math.exp(near / 0.5) / total
        expected = [math.log((1 - smoothing) * p + smoothing / CLASSES) for p in shares]
        assert expected == pytest.approx(logits.tolist(), rel=1e-4)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_agrees_with_scikit_learn(k: int) -> None:
    """It would be no k-nearest-neighbour classifier with the cosine."""
    made, weigh = filled(k=k), lambda distances: np.exp((1 - distances) / 0.5)
    theirs = KNeighborsClassifier(k, weights=weigh, metric="cosine", algorithm="brute")
    theirs.fit(made.vectors.numpy(), made.labels.numpy())
    shares = (made(queries()).exp().numpy() - 0.01 / CLASSES) / 0.99

    np.testing.assert_allclose(shares, theirs.predict_proba(queries().numpy()), atol=1e-5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large labeled set would answer otherwise than a small one."""
    whole = filled()(queries())
    monkeypatch.setattr(memory, "BLOCK", 7)

    torch.testing.assert_close(whole, filled()(queries()), rtol=1e-5, atol=1e-5)


def test_of_equals_the_first_count() -> None:
    """Which of equally near neighbours are asked would be left to a sort."""
    generator = np.random.default_rng(0)
    values = generator.integers(0, 4, (200, 50)).astype(np.float32)
    best, places = largest(torch.from_numpy(values), 7)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :7]

    assert np.array_equal(expected, places.numpy())
    assert np.array_equal(np.take_along_axis(values, expected, 1), best.numpy())
    assert (200, 50) == tuple(largest(torch.from_numpy(values), 99)[0].shape)


def test_the_order_of_showing_is_forgotten() -> None:
    """Cold and warm starts, or more workers, would answer otherwise."""
    made, other = filled(), filled()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    other.vectors, other.labels = other.vectors[order], other.labels[order]
    made.settle()
    other.settle()

    assert made.vectors.equal(other.vectors) and made.labels.equal(other.labels)
    assert made.labels.equal(made.labels.sort().values)


def test_nothing_remembered_tells_nothing() -> None:
    """A run's first model, never shown anything, would favour a class, or fail."""
    made = filled()
    made.forget()

    torch.testing.assert_close(made(queries()), torch.full((40, CLASSES), -math.log(CLASSES)))


def test_what_is_remembered_comes_back_from_a_file() -> None:
    """A scorer would ask an empty memory, or refuse a full one."""
    made, other = torch.nn.Sequential(filled()), torch.nn.Sequential(filled(3))
    weights.load_weights(other, weights.save_weights(made))
    assert made(queries()).equal(other(queries()))

    narrow = torch.nn.Sequential(Memory(WIDTH - 1, CLASSES, 5, 0.5, 0.01))
    with pytest.raises(UsageError, match=r"0.vectors \(0x7 in the network, 60x8 in the file\)"):
        weights.load_weights(narrow, weights.save_weights(made))
