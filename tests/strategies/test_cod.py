"""COD against the hand values of the paper's formula and the rules for the first cycle."""

import pytest
import torch
from torch import Tensor, nn

from rayal.signals.batch import Signals, entropy
from rayal.signals.networks import Networks
from rayal.strategies.cod import Cod, output_discrepancy
from tests.support.doubles import Says


def score(strategy: Cod, now: Tensor, reference: nn.Module | Tensor | None, cycle: int) -> Tensor:
    name = strategy.reference(cycle)
    ids = [f"unit-{i}" for i in range(len(now))]
    kept = reference if isinstance(reference, Tensor) else None
    references = {} if name is None or reference is kept else {name: reference}
    signals = Signals(ids, now, Networks(Says(now).eval(), references, cycle=cycle), kept)
    return strategy.score(signals.declared_by("cod", strategy.needs, name))


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ((1.0, 0.0), (1.0, 0.0), 0.0),
        ((1.0, 0.0), (0.0, 1.0), 1.0),
        ((0.5, 0.5), (1.0, 0.0), 0.25),
    ],
)
def test_hand_values(now, before, expected):
    """Half the squared distance of the probabilities (methods, Sec. 1)."""
    assert output_discrepancy(torch.tensor([now]), torch.tensor([before])).item() == expected


def test_is_symmetric_and_bounded():
    """The distance of two predictions would depend on which came first, or leave [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(100, 8, generator=generator).mul(5).softmax(1) for _ in range(2))
    forth, back = output_discrepancy(a, b), output_discrepancy(b, a)

    assert torch.equal(forth, back)
    assert forth.min() >= 0 and forth.max() <= 1


def test_compares_probabilities_not_logits():
    """A constant added to all logits changes no prediction, so it must not change COD."""
    generator = torch.Generator().manual_seed(1)
    now, before = (torch.randn(10, 4, generator=generator) for _ in range(2))
    plain = score(Cod(), now, Says(before).eval(), cycle=1)
    shifted = score(Cod(), now, Says(before + 7).eval(), cycle=1)

    torch.testing.assert_close(plain, shifted)


def test_later_cycles_agree_with_a_loop():
    """The vectorised score would differ from the formula."""
    generator = torch.Generator().manual_seed(2)
    now, before = (torch.randn(10, 4, generator=generator) for _ in range(2))
    p, q = now.double().softmax(1), before.double().softmax(1)
    expected = [sum((p[i, c] - q[i, c]).item() ** 2 for c in range(4)) / 2 for i in range(10)]

    assert score(Cod(), now, Says(before).eval(), cycle=3).tolist() == pytest.approx(
        expected, abs=1e-6
    )


def test_kept_probabilities_stand_for_the_previous_model():
    """Reading the last pass instead of predicting again would change the choice."""
    generator = torch.Generator().manual_seed(3)
    now, before = (torch.randn(10, 4, generator=generator) for _ in range(2))
    predicted = score(Cod(), now, Says(before).eval(), cycle=1)
    read = score(Cod(), now, before.softmax(1).half(), cycle=1)

    torch.testing.assert_close(read, predicted, atol=1e-3, rtol=0)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_equal_models_are_apart_by_the_rounding_of_what_was_kept(classes):
    """The header's 4e-8 would be too little; half the squared roundings of float16 in all classes
    are at most 2 * 2^-26 where two classes share the probability."""
    logits = 20 * torch.randn(2000, classes, generator=torch.Generator().manual_seed(4))
    logits[:500] /= 20
    kept = score(Cod(), logits, logits.softmax(1).half(), cycle=1)

    assert 0 < kept.max() < 4e-8
    assert 0 == score(Cod(), logits, Says(logits).eval(), cycle=1).max()


CONFIDENT_MEDIUM_UNIFORM = torch.tensor([[9.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("rule", "reference", "expected"),
    [
        ("smallest_vs_random_init", "random", 2),  # the official rule: nearest to uniform
        ("largest_vs_init", "initial", 0),  # the paper's: farthest from the untrained network
        ("entropy", None, 2),
    ],
)
def test_first_cycle_rules(rule, reference, expected):
    """The biggest trap of the method: an untrained network is nearly uniform, so the largest
    distance to it is the most confident unit and the smallest the least."""
    strategy = Cod(first_cycle=rule)
    untrained = Says(torch.zeros(3, 3)).eval()

    assert strategy.reference(0) == reference
    assert score(strategy, CONFIDENT_MEDIUM_UNIFORM, untrained, cycle=0).argmax() == expected


def test_first_cycle_entropy_and_random_ask_no_second_model():
    """A plain first cycle would pay for a forward that it does not use."""
    now = CONFIDENT_MEDIUM_UNIFORM

    torch.testing.assert_close(
        score(Cod(first_cycle="entropy"), now, None, cycle=0), entropy(now.log_softmax(1))
    )
    random = score(Cod(first_cycle="random"), now, None, cycle=0)
    assert ((random >= 0) & (random < 1)).all()


@pytest.mark.parametrize(
    "rule", ["smallest_vs_random_init", "largest_vs_init", "entropy", "random"]
)
def test_every_rule_is_gone_after_the_first_cycle(rule):
    """The smallest-first direction would leak into later cycles."""
    strategy = Cod(first_cycle=rule)
    moved = torch.tensor([[5.0, 0.0], [5.0, 0.0]])
    before = torch.tensor([[5.0, 0.0], [0.0, 5.0]])

    assert strategy.reference(1) == "previous"
    assert score(strategy, moved, Says(before).eval(), cycle=1).argmax() == 1
