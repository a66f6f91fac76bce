"""Class statistics, ISDA and EPMCM of dense networks, against loops over the places of the grid."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.masks import IGNORE
from rayal.data.pixels import valid_pixels
from rayal.errors import UsageError
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.companions.class_statistics import (
    ClassStatistics,
    ClassStatisticsSpec,
    epmcm_log_scores,
    isda_logits,
    linear_weight,
    positions,
    quadratic_terms,
)
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.strategies.epmcm import Epmcm

C, D, GRID, SIZE = 4, 5, (3, 4), (7, 10)
ROWS, COLUMNS = (1, 3, 5), (1, 3, 6, 8)
"""The pixels in the middle of the places of the grid."""
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])


def maps(images: int, seed: int = 0) -> Outputs:
    """What a dense network might return, float64: features away from 0, and logits of them."""
    generator = torch.Generator().manual_seed(seed)
    last = torch.randn(images, D, *GRID, generator=generator, dtype=torch.float64) + 2
    weight = torch.randn(C, D, generator=generator, dtype=torch.float64)
    return Outputs(torch.einsum("cd,ndhw->nchw", weight, last), last.mean((2, 3)), (last,))


def masks(images: int, seed: int = 1) -> Tensor:
    """Masks of all classes but the last, a third of them without a class."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, C - 1, (images, *SIZE), generator=generator, dtype=torch.uint8)
    return drawn.masked_fill(torch.rand(drawn.shape, generator=generator) < 0.3, IGNORE)


def by_place(outputs: Outputs, labels: Tensor) -> list[tuple[Tensor, int]]:
    """Feature and class of every place that has one, one after the other."""
    return [
        (outputs.layers[-1][n, :, i, j], int(labels[n, y, x]))
        for n in range(len(labels))
        for i, y in enumerate(ROWS)
        for j, x in enumerate(COLUMNS)
        if labels[n, y, x] != IGNORE
    ]


def test_positions_agree_with_a_loop():
    """A feature would be counted for the class of its neighbour, or ignored pixels for class
    255."""
    outputs, labels = maps(3), masks(3)
    features, classes = positions(outputs, labels)
    expected = by_place(outputs, labels)

    assert [label for _, label in expected] == classes.tolist()
    assert torch.equal(torch.stack([feature for feature, _ in expected]), features)
    assert 0 < len(classes) < 3 * math.prod(GRID)
    assert not positions(outputs._replace(layers=(outputs.layers[0].requires_grad_(),)), labels)[
        0
    ].requires_grad


def test_positions_of_images_are_what_they_were():
    """Classification goes through the same door."""
    outputs = Outputs(torch.randn(3, C), torch.randn(3, D), ())
    labels = torch.tensor([0, 2, 1])
    features, same = positions(outputs, labels)

    assert torch.equal(outputs.features, features) and labels is same


@both
@pytest.mark.parametrize("size", [1, 2, 5])
def test_statistics_agree_with_torch_whatever_the_batches(covariance, size):
    """Covariances of places would depend on how images came, or hold those without a class."""
    statistics = ClassStatistics(C, D, covariance, reset=True).double()
    outputs, labels = maps(5), masks(5)
    for rows in torch.arange(5).split(size):
        part = Outputs(outputs.logits[rows], outputs.features[rows], (outputs.layers[0][rows],))
        statistics.observe(part, labels[rows])
    places = by_place(outputs, labels)

    assert 0 == statistics.counts[C - 1] == statistics.covariances[C - 1].abs().sum()
    for number in range(C - 1):
        own = torch.stack([feature for feature, label in places if label == number])
        expected = torch.cov(own.T, correction=0)
        expected = expected.diagonal() if covariance == "diagonal" else expected
        assert len(own) == statistics.counts[number]
        torch.testing.assert_close(statistics.means[number], own.mean(0))
        torch.testing.assert_close(statistics.covariances[number], expected)


def test_a_batch_without_a_label_changes_nothing():
    """A window of nothing but void would turn means into NaN."""
    statistics = ClassStatistics(C, D, "full", reset=True).double()
    statistics.observe(maps(3), masks(3))
    before = {name: value.clone() for name, value in statistics.state_dict().items()}
    statistics.observe(maps(2, seed=5), torch.full((2, *SIZE), IGNORE, dtype=torch.uint8))

    assert all(torch.equal(before[name], now) for name, now in statistics.state_dict().items())


@both
def test_augmented_logits_agree_with_a_loop(covariance):
    """The bound would be that of another class, or of another place."""
    generator = torch.Generator().manual_seed(2)
    outputs = maps(2)
    statistics = ClassStatistics(C, D, covariance, reset=True).double()
    statistics.observe(outputs, masks(2))
    weight = torch.randn(C, D, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, C, (2, *GRID), generator=generator, dtype=torch.uint8)
    labels[0, 1, 2] = labels[1, 0, 0] = IGNORE
    found = isda_logits(outputs.logits, labels, quadratic_terms(weight, statistics), 0.7)

    expected = outputs.logits.clone()
    for n, i, j in np.ndindex(2, *GRID):
        label = int(labels[n, i, j])
        if label == IGNORE:
            continue
        spread = statistics.covariances[label]
        spread = spread.diag() if covariance == "diagonal" else spread
        for c in range(C):
            apart = weight[c] - weight[label]
            expected[n, c, i, j] += 0.35 * (apart @ spread @ apart)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[0, :, 1, 2], outputs.logits[0, :, 1, 2])
    assert torch.equal(found[1, :, 0, 0], outputs.logits[1, :, 0, 0])


def test_threads_do_not_decide_the_gradient() -> None:
    """A training on maps would end with other weights each time, and choose other images."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, C, 80, 80, generator=generator)
    labels = torch.randint(0, C, (4, 80, 80), generator=generator, dtype=torch.uint8)
    quadratic = torch.rand(C, C, generator=generator, requires_grad=True)
    weights = torch.randn(logits.shape, generator=generator)
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for _ in range(20):
            loss = (isda_logits(logits, labels, quadratic, 1.0) * weights).sum()
            found += torch.autograd.grad(loss, quadratic)
    finally:
        torch.set_num_threads(threads)

    assert all(torch.equal(found[0], each) for each in found)


def test_no_strength_changes_no_bit():
    """ISDA's first epoch is plain training."""
    logits, labels = maps(2).logits, masks(2)[:, :3, :4]

    assert torch.equal(logits, isda_logits(logits, labels, torch.rand(C, C).double(), 0.0))


def epmcm(outputs: Outputs, quadratic: Tensor, valid: Tensor | None = None) -> Tensor:
    """The strategy's score of what a network says, the quadratic terms being given."""

    class Network(nn.Module):
        def forward(self, images: Tensor) -> Outputs:
            return outputs

    networks = Networks(Network().eval(), cycle=1)
    networks.constants["epmcm", "quadratic_terms"] = quadratic
    ids = [f"unit-{i}" for i in range(len(outputs.logits))]
    signals = Signals(ids, torch.zeros(len(ids), 3, *SIZE), networks, valid=valid)
    strategy = Epmcm()
    score = strategy.score(signals.declared_by("epmcm", strategy.needs, None))
    assert score is not None
    return score


@pytest.mark.parametrize("sizes", [None, [[7, 10], [4, 7], [7, 2]]])
def test_epmcm_is_the_log_of_the_mean_over_the_grid(sizes):
    """A mean of logarithms would rank images otherwise than the paper's mean of e^s - 1."""
    outputs, quadratic = maps(3), 2 * torch.rand(C, C, generator=torch.Generator().manual_seed(3))
    quadratic.fill_diagonal_(0)
    valid = None if sizes is None else valid_pixels(torch.tensor(sizes), *SIZE)
    found = epmcm(outputs, quadratic, valid)

    for n in range(3):
        papers = []
        for i, j in np.ndindex(*GRID):
            if valid is not None and not valid[n, ROWS[i], COLUMNS[j]]:
                continue
            z = outputs.logits[n, :, i, j].float().tolist()
            y = int(np.argmax(z))
            papers.append(sum(math.exp(z[c] - z[y] + quadratic[y, c] / 2) for c in range(C)) - 1)
        assert math.log(np.mean(papers) + 1) == pytest.approx(found[n].item(), rel=1e-5)
    assert sizes is None or found.tolist() != epmcm(outputs, quadratic).tolist()


def test_epmcm_of_maps_is_epmcm_of_places():
    """One image of one place is a unit of classification."""
    logits = 3 * torch.randn(6, C, generator=torch.Generator().manual_seed(4))
    quadratic = torch.rand(C, C)
    of_units = epmcm_log_scores(logits, quadratic)

    of_places = epmcm_log_scores(logits[..., None, None], quadratic)[:, 0, 0]
    torch.testing.assert_close(of_places, of_units)
    outputs = Outputs(logits[..., None, None], logits, ())
    torch.testing.assert_close(epmcm(outputs, quadratic), of_units)


def test_epmcm_does_not_leave_the_numbers():
    """e^s leaves float32 at 88: all such images would be equal, or NaN."""
    logits = torch.zeros(2, C, *GRID)
    quadratic = torch.full((C, C), 400.0)
    quadratic[0, 1] = 600.0
    found = epmcm(Outputs(logits, logits, ()), quadratic)

    expected = torch.tensor([300.0, 200.0, 200.0, 0.0]).logsumexp(0)
    torch.testing.assert_close(found, expected.expand(2))


def test_the_last_layer_of_a_dense_network_is_found():
    """Statistics would be of other features than those that the weights multiply."""
    spec = ImageSpec(channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = build(SmallSegmenter(width=2), C, spec, seed=0).eval()
    outputs = network(torch.randn(2, 3, 16, 16))
    weight = linear_weight(network)
    statistics = ClassStatisticsSpec().build(network, C, lambda: network)

    assert (C, 8) == weight.shape == statistics.means.shape
    bias = network.classifier.bias[:, None, None]
    logits = torch.einsum("cd,ndhw->nchw", weight, outputs.layers[-1]) + bias
    torch.testing.assert_close(logits, outputs.logits)
    network.classifier = nn.Conv2d(8, C, 3, padding=1)
    with pytest.raises(UsageError, match="last layer of DenseNetwork sees neighbours .* is a 1x1"):
        linear_weight(network)
    network.classifier = nn.Conv2d(8, C, 1)
    linear_weight(network)
