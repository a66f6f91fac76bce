"""Class statistics against torch.cov, the quadratic terms and bounds against their definitions."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rayal.models.base import Outputs
from rayal.models.companions import class_statistics
from rayal.models.companions.class_statistics import (
    ClassStatistics,
    ClassStatisticsSpec,
    epmcm_log_scores,
    isda_logits,
    quadratic_terms,
)
from rayal.models.network import computing
from rayal.models.weights import load_weights, save_weights
from tests.support.forks import as_two

C, D = 7, 5
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])


def outputs(features: Tensor) -> Outputs:
    return Outputs(features, features, ())


def labeled(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Correlated features (n D) away from 0, and labels of all classes but the last."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, C - 1, (n,), generator=g)
    mixed = torch.randn(n, D, generator=g, dtype=dtype) @ torch.randn(D, D, generator=g).to(dtype)
    return mixed + 3 + labels[:, None], labels


def observed(covariance: str, parts: Sequence[tuple[Tensor, Tensor]]) -> ClassStatistics:
    """Statistics of these batches, kept in the type of the features."""
    statistics = ClassStatistics(C, D, covariance, reset=True)
    if parts[0][0].dtype == torch.float64:
        statistics.double()
    for features, labels in parts:
        statistics.observe(outputs(features), labels)
    return statistics


def split(features: Tensor, labels: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(features.split(size), labels.split(size), strict=True))


def reference(covariance: str, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Means and covariances in one pass and in float64; 0 for a class without features."""
    means, covariances = torch.zeros(C, D).double(), torch.zeros(C, D, D).double()
    for c in labels.unique():
        own = features[labels == c].double()
        means[c], covariances[c] = own.mean(0), torch.cov(own.T, correction=0)
    if covariance == "diagonal":
        covariances = covariances.diagonal(dim1=1, dim2=2)
    return means, covariances


def buffers(statistics: ClassStatistics) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in statistics.named_buffers()}


def assert_near(actual: Tensor, expected: Tensor, error: float) -> None:
    """Equal up to a share of the largest expected number."""
    assert (actual.double() - expected).abs().max() <= error * expected.abs().max()


@both
def test_hand_values(covariance: str) -> None:
    """(0, 0), (2, 2), then (4, -2): mean (2, 0), variances 8/3, covariance -4/3."""
    statistics = ClassStatistics(2, 2, covariance, reset=True)
    statistics.observe(outputs(torch.tensor([[0.0, 0.0], [2.0, 2.0]])), torch.tensor([1, 1]))
    statistics.observe(outputs(torch.tensor([[4.0, -2.0]])), torch.tensor([1]))

    whole = torch.tensor([[8 / 3, -4 / 3], [-4 / 3, 8 / 3]])
    expected = whole if covariance == "full" else whole.diagonal()
    assert [0, 3] == statistics.counts.tolist()
    torch.testing.assert_close(statistics.means[1], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(statistics.covariances[1], expected)
    assert not statistics.covariances[0].any()


@both
@pytest.mark.parametrize("size", [1, 3, 64, 500])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_any_batches_give_the_statistics_of_one_pass(
    covariance: str, size: int, dtype: torch.dtype, error: float
) -> None:
    """The covariance would depend on the batch size; batches of 1 and 3 lack most classes."""
    features, labels = labeled(500, dtype=dtype)
    statistics = observed(covariance, split(features, labels, size))
    means, covariances = reference(covariance, features, labels)

    assert torch.equal(statistics.counts, torch.bincount(labels, minlength=C).double())
    assert dtype == statistics.means.dtype == statistics.covariances.dtype
    assert_near(statistics.means, means, error)
    assert_near(statistics.covariances, covariances, error)


@pytest.mark.parametrize("size", [3, 64])
def test_blocks_of_any_size_give_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many classes or wide features, taken in blocks, would leave some classes behind."""
    parts = split(*labeled(200), size)
    whole = observed("full", parts)
    monkeypatch.setattr(class_statistics, "BLOCK", 2 * D * max(D, size))  # two classes at a time
    blocked = observed("full", parts)

    torch.testing.assert_close(blocked.covariances, whole.covariances, rtol=1e-6, atol=1e-6)


@both
def test_an_absent_class_keeps_its_bits(covariance: str) -> None:
    """A batch without a class would forget it, or make it NaN (0 / 0), as would one of no images;
    labels that are no class (ignored pixels) would count for some class."""
    features, labels = labeled(100)
    statistics = observed(covariance, [(features, labels)])
    before = buffers(statistics)
    statistics.observe(outputs(features[:4] + 9), torch.tensor([2, 2, 255, -1]))
    after = buffers(statistics)
    statistics.observe(outputs(features[:0]), labels[:0])

    others = torch.arange(C) != 2
    assert after["counts"][2] == before["counts"][2] + 2
    assert not torch.equal(after["means"][2], before["means"][2])
    for name, value in statistics.named_buffers():
        assert torch.equal(value, after[name])
        assert torch.equal(value[others], before[name][others])
        assert not value[C - 1].any(), "a class that was never seen"


@both
def test_begin_forgets_only_if_it_is_to_reset(covariance: str) -> None:
    """The official estimator lives through all cycles; the default must not."""
    for reset in (True, False):
        statistics = observed(covariance, [labeled(100)])
        statistics.reset = reset
        before = buffers(statistics)
        statistics.begin(nn.Identity())

        for name, value in statistics.named_buffers():
            expected = torch.zeros_like(value) if reset else before[name]
            assert torch.equal(expected, value)


@both
def test_continues_from_a_file(covariance: str) -> None:
    """A warm start or a killed training would go on with other statistics."""
    first, second = labeled(60, seed=1), labeled(60, seed=2)
    straight = observed(covariance, [first, second])
    continued = ClassStatistics(C, D, covariance, reset=True)
    load_weights(continued, save_weights(observed(covariance, [first])))
    continued.observe(outputs(second[0]), second[1])

    for name, value in continued.named_buffers():
        assert torch.equal(value, straight.get_buffer(name))


@both
def test_spec_builds_for_the_last_layer(covariance: str) -> None:
    """A run would keep statistics of another width or kind than it says, or, as an observer's,
    change what it observes."""
    spec = ClassStatisticsSpec(covariance=covariance, reset=False)
    network = nn.Module()
    network.classifier = nn.Linear(D, 3)
    state = torch.get_rng_state()
    statistics = spec.build(network, C, nn.Identity)

    assert "class_statistics" == spec.name and not spec.changes_training and not statistics.reset
    assert statistics.covariances.shape == ((C, D, D) if covariance == "full" else (C, D))
    assert not list(statistics.parameters()) and torch.equal(state, torch.get_rng_state())


@both
def test_statistics_are_constants_in_full_precision(covariance: str) -> None:
    """Features would get a gradient through the covariance, or bfloat16 eat the digits of both."""
    features, labels = labeled(100)
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1))
    plain = observed(covariance, [(features, labels)])
    with computing(torch.device("cpu"), "bf16"):
        statistics = observed(covariance, [(features.clone().requires_grad_(), labels)])
        terms = quadratic_terms(weight, statistics)

    assert not any(value.requires_grad for value in statistics.buffers())
    assert torch.equal(plain.covariances, statistics.covariances)
    assert torch.equal(quadratic_terms(weight, plain), terms)


# Two workers. Each batch is cut at a place: the first part is worker 0's.

CUTS = (5, 13, 20, 3)
"""Of batches of 20: uneven parts, a worker without images, the usual two."""


def batches() -> list[tuple[Tensor, Tensor]]:
    features, labels = labeled(80, seed=3)
    labels[20:40] = labels[20:40].sort().values  # worker 1 alone has the last classes
    return split(features, labels, 20)


def _work(rank: int, folder: Path) -> None:
    for covariance in ("diagonal", "full"):
        parts = [
            (x.tensor_split([cut])[rank], y.tensor_split([cut])[rank])
            for (x, y), cut in zip(batches(), CUTS, strict=True)
        ]
        torch.save(observed(covariance, parts).state_dict(), folder / f"{covariance}-{rank}")


def test_two_workers_have_the_statistics_of_the_whole_batch(tmp_path: Path) -> None:
    """Workers would compute their losses from different covariances and the models part ways, or
    a class that is on one worker only would be lost."""
    as_two(_work, tmp_path)

    for covariance in ("diagonal", "full"):
        whole = observed(covariance, batches())
        mine, its = (torch.load(tmp_path / f"{covariance}-{rank}") for rank in range(2))
        for name, value in whole.named_buffers():
            assert torch.equal(mine[name], its[name])
            assert_near(mine[name], value, 1e-6)


def naive_terms(weight: Tensor, covariances: Tensor) -> Tensor:
    """Q by its definition."""
    if covariances.dim() == 2:
        covariances = covariances.diag_embed()
    apart = weight - weight[:, None]  # C C D: w_j - w_c
    return torch.einsum("cja,cab,cjb->cj", apart, covariances, apart)


@both
def test_terms_agree_with_the_definition(covariance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another matrix, or the covariance of the wrong class: Q is not symmetric."""
    statistics = observed(covariance, [labeled(100, dtype=torch.float64)])
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1)).double()
    expected = naive_terms(weight, statistics.covariances)
    monkeypatch.setattr(class_statistics, "BLOCK", 3 * D * C)  # three classes at a time
    terms = quadratic_terms(weight, statistics)

    torch.testing.assert_close(terms, expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(terms, terms.T)
    assert not terms.diagonal().any() and not terms[C - 1].any()
    assert terms.min() >= 0


@both
def test_terms_keep_their_digits(covariance: str) -> None:
    """What all rows of a weight have in common would drown what they differ by, in float32."""
    statistics = observed(covariance, [labeled(100)])
    weight = 50 + 0.1 * torch.randn(C, D, generator=torch.Generator().manual_seed(2))
    expected = naive_terms(weight.double(), statistics.covariances.double())
    terms = quadratic_terms(weight, statistics)

    assert_near(terms, expected, 1e-5)
    assert terms.min() >= 0 and not terms.diagonal().any()


@both
def test_rounding_makes_no_term_negative(covariance: str) -> None:
    """Classes whose rows nearly agree would get a variance below 0, and ISDA a loss below the
    plain one."""
    statistics = observed(covariance, [labeled(100)])
    weight = 30 * torch.randn(C, D, generator=torch.Generator().manual_seed(8))
    weight[1:4] = weight[0] * (1 + torch.tensor([[1e-6], [1e-7], [-1e-6]]))

    assert quadratic_terms(weight, statistics).min() >= 0


@both
def test_gradient_reaches_the_weight(covariance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ISDA would not press the rows of the classifier together where a class varies."""
    monkeypatch.setattr(class_statistics, "BLOCK", 3 * D * C)
    statistics = observed(covariance, [labeled(100, dtype=torch.float64)])
    g = torch.Generator().manual_seed(3)
    weight = torch.randn(C, D, generator=g).double().requires_grad_()
    incoming = torch.randn(C, C, generator=g).double()
    (expected,) = torch.autograd.grad(naive_terms(weight, statistics.covariances), weight, incoming)
    (actual,) = torch.autograd.grad(quadratic_terms(weight, statistics), weight, incoming)

    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    assert torch.autograd.gradcheck(lambda w: quadratic_terms(w, statistics).square(), weight)


@both
def test_a_late_observation_is_an_error(covariance: str) -> None:
    """A gradient of one covariance for the loss of another, and nothing would tell."""
    statistics = observed(covariance, [labeled(100)])
    terms = quadratic_terms(torch.randn(C, D).requires_grad_(), statistics)
    statistics.observe(outputs(labeled(10)[0]), labeled(10)[1])

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        terms.sum().backward()


# The bounds. A linear last layer, features a (N D) and one covariance per class.

HAND = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
"""W = I, b = 0, a = (2, 0), S = I / 2: logits (2, 0) and Q."""


def layer(seed: int = 4) -> tuple[Tensor, Tensor, ClassStatistics]:
    """a (N D), W (C D) and full statistics of moderate covariances, in float64."""
    g = torch.Generator().manual_seed(seed)
    factors = 0.3 * torch.randn(C, D, D, generator=g).double()
    statistics = ClassStatistics(C, D, "full", reset=True).double()
    statistics.covariances.copy_(factors @ factors.mT / D)
    a, weight = torch.randn(6, D, generator=g).double(), torch.randn(C, D, generator=g).double()
    return a, weight, statistics


def draws(a: Tensor, covariances: Tensor, n: int = 200_000) -> Tensor:
    """n features from N(a, S) per row: n N D."""
    g = torch.Generator().manual_seed(5)
    noise = torch.randn(n, *a.shape, generator=g, dtype=a.dtype)
    return a + torch.einsum("nij,sni->snj", torch.linalg.cholesky(covariances).mT, noise)


def test_hand_value_of_the_terms_and_the_score() -> None:
    """Q01 = 1 and the score exp(-1.5) = 0.22313 (methods, Sec. 5)."""
    statistics = ClassStatistics(2, 2, "diagonal", reset=True)
    statistics.covariances.fill_(0.5)
    logits, quadratic = HAND

    torch.testing.assert_close(quadratic_terms(torch.eye(2), statistics), quadratic)
    score = epmcm_log_scores(logits, quadratic).expm1()
    torch.testing.assert_close(score, torch.tensor([0.2231302]))


def test_score_without_covariance_is_least_confidence() -> None:
    """1 / p_max - 1, of units of any certainty: e^-100 is more than e^-200, and neither is 0."""
    logits = 3 * torch.randn(50, C, generator=torch.Generator().manual_seed(6))
    scores = epmcm_log_scores(logits, torch.zeros(C, C))
    expected = 1 / logits.double().softmax(1).amax(1) - 1
    certain = epmcm_log_scores(torch.tensor([[80.0, 0.0], [0.0, 85.0]]), torch.zeros(2, 2))

    torch.testing.assert_close(scores.double().expm1(), expected, rtol=1e-5, atol=0)
    assert certain[0] > certain[1] > 0


def test_score_is_the_cross_entropy_of_the_official_code() -> None:
    """exp(CE(z + Q[y] / 2, y)) - 1 of the predicted class; no constant in the logits matters."""
    a, weight, statistics = layer()
    logits, quadratic = a @ weight.T, quadratic_terms(weight, statistics)
    predicted = logits.argmax(1)
    official = cross_entropy(
        isda_logits(logits, predicted, quadratic, 1.0), predicted, reduction="none"
    )

    torch.testing.assert_close(epmcm_log_scores(logits, quadratic), official, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        epmcm_log_scores(logits + 5, quadratic), official, rtol=1e-12, atol=0
    )


def test_score_is_the_expected_inverse_probability() -> None:
    """E[1 / p_y] - 1 under features from N(a, S_y), within the error of the draws; so a bound of
    E[1 - p_y], which DAST-AL starts from."""
    a, weight, statistics = layer()
    logits, quadratic = a @ weight.T, quadratic_terms(weight, statistics)
    predicted = logits.argmax(1)
    drawn = (draws(a, statistics.covariances[predicted]) @ weight.T).softmax(2)
    p = drawn.gather(2, predicted.expand(len(drawn), -1)[..., None])[..., 0]  # n N
    scores = epmcm_log_scores(logits, quadratic).expm1()
    error = (1 / p).std(0) / len(p) ** 0.5

    assert ((scores - (1 / p - 1).mean(0)).abs() <= 4 * error).all()
    assert (error < 0.02 * scores).all(), "draws that could show anything"
    assert (scores >= (1 - p).mean(0)).all()


def test_more_covariance_never_lowers_a_score() -> None:
    """A unit of a wide class would look surer than the same unit of a narrow one."""
    a, weight, statistics = layer()
    quadratic = quadratic_terms(weight, statistics)
    scales = torch.tensor([0.0, 0.1, 1.0, 10.0, 1000.0]).double()
    scores = torch.stack([epmcm_log_scores(a @ weight.T, scale * quadratic) for scale in scales])

    assert (scores.diff(dim=0) >= 0).all() and (scores[-1] > scores[0]).all()
    assert (scores >= 0).all() and scores.isfinite().all()


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_isda_bounds_the_cross_entropy(size: float) -> None:
    """Never below the plain loss, the same at ratio 0, and finite for large logits."""
    g = torch.Generator().manual_seed(7)
    logits, labels = size * torch.randn(40, C, generator=g), torch.randint(0, C, (40,), generator=g)
    quadratic = size * torch.rand(C, C, generator=g).fill_diagonal_(0)
    plain = cross_entropy(logits, labels, reduction="none")
    bounds = [
        cross_entropy(isda_logits(logits, labels, quadratic, ratio), labels, reduction="none")
        for ratio in (0.0, 0.5, 7.5)
    ]

    assert torch.equal(isda_logits(logits, labels, quadratic, 0.0), logits)
    assert torch.equal(bounds[0], plain)
    assert (bounds[1] >= plain - 1e-6).all() and (bounds[2] > bounds[1]).any()
    assert all(bound.isfinite().all() for bound in bounds)


def test_isda_bounds_the_loss_under_augmented_features() -> None:
    """The mean cross-entropy of features from N(a, ratio S_y) would exceed its bound."""
    a, weight, statistics = layer()
    labels = torch.tensor([0, 1, 2, 3, 4, 5])
    for ratio in (0.5, 2.0):
        logits = draws(a, ratio * statistics.covariances[labels], n=20_000) @ weight.T
        mean = -logits.log_softmax(2)[:, torch.arange(6), labels].mean(0)
        augmented = isda_logits(a @ weight.T, labels, quadratic_terms(weight, statistics), ratio)

        assert (cross_entropy(augmented, labels, reduction="none") >= mean).all()


@pytest.mark.gpu
@both
def test_gpu_agrees_and_is_not_waited_for(covariance: str) -> None:
    """A step that asks the device for a number would stall the training at every batch."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    parts = split(*labeled(200), 64)
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(1))
    expected = observed(covariance, parts)
    statistics = ClassStatistics(C, D, covariance, reset=True).cuda()
    there, on_device = weight.cuda().requires_grad_(), [(x.cuda(), y.cuda()) for x, y in parts]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for features, labels in on_device:
            statistics.observe(outputs(features), labels)
        terms = quadratic_terms(there, statistics)
        isda_logits(features @ there.T, labels, terms, 0.5).sum().backward()
        epmcm_log_scores(features @ there.T, terms)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert_near(statistics.covariances.cpu(), expected.covariances.double(), 1e-5)
    assert_near(terms.detach().cpu(), quadratic_terms(weight, expected).double(), 1e-5)
