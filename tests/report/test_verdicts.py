"""Verdicts: what is said of an arm against random, for every way that a comparison can end."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from rayal.report.groups import Group, aimed, group
from rayal.report.runs import Run
from rayal.report.verdicts import Verdict, verdict, verdicts

BASE = Run("a", "digits", "margin", "supervised", 0, "accuracy", {}, True, "/runs/x")
NOISE = (0.0, 0.004, -0.003, 0.001, -0.002)
"""Of five seeds, so that differences have a spread."""


def arm(strategy: str, curve: Sequence[float], noise: Sequence[float] = NOISE, **changes: object):
    """A run per seed: its curve at 100, 200, ... labels, higher by the seed's noise."""
    return [
        replace(
            BASE,
            strategy=strategy,
            seed=seed,
            points={100 * (n + 1): y + each * (n > 0) for n, y in enumerate(curve)},
            **changes,
        )
        for seed, each in enumerate(noise)
    ]


RANDOM = arm("random", [0.5, 0.6, 0.7, 0.8], [0.0] * 5)


def only(*runs: Run) -> Verdict:
    (g,) = group(runs)
    (found,) = verdicts(g)
    return found


def test_better_in_labels() -> None:
    """Random ends with 0.8 at 400 labels, margin's mean is there at 300: a quarter less; the area
    is (0.1 + 0.1 + 0.1 / 2) / 3 higher, less what the noise has as its mean."""
    found = only(*arm("margin", [0.5, 0.7, 0.8, 0.9]), *RANDOM)

    assert (
        "margin needs 25 % fewer labels than random to reach 80 % accuracy; 5 seeds; area 8.3 ± 0.3"
        " points higher; p < 0.001"
    ) == found.sentence
    assert ("better", 5, "random") == (found.kind, found.seeds, found.baseline)
    assert_allclose(found.saved, 0.25)


def test_worse_and_what_it_costs() -> None:
    """Of a strategy that is worse nobody should have to infer it."""
    found = only(*arm("margin", [0.5, 0.55, 0.6, 0.81]), *RANDOM)

    assert found.sentence.startswith(
        "margin is worse than random in area, but needs 1 % fewer labels than random to reach"
    )
    assert only(*arm("margin", [0.5, 0.5, 0.5, 0.5]), *RANDOM).sentence.startswith(
        "margin is worse than random, and does not reach 80 % accuracy; 5 seeds; area"
    )


def test_better_but_no_sooner_there() -> None:
    """Areas and heights may disagree: both are said."""
    found = only(*arm("margin", [0.5, 0.75, 0.78, 0.79]), *RANDOM)

    assert found.sentence.startswith(
        "margin is better than random in area, but does not reach 80 % accuracy; 5 seeds"
    )


def test_not_separated_and_what_could_have_been_seen() -> None:
    """`Not separated` of few noisy seeds is no `equal`: the least visible difference is said."""
    found = only(*arm("margin", [0.5, 0.6, 0.7, 0.8], [0.05, -0.04, 0.06, -0.03, 0.01]), *RANDOM)

    assert "not separated" == found.kind
    assert "margin is not separated from random; 5 seeds; area 0.8 ± 4.7 points higher;" in (
        found.sentence
    )
    assert "with these seeds a difference below 6.3 points cannot be seen" in found.sentence
    assert_allclose(found.smallest, 0.063, atol=0.001)


def test_what_no_difference_could_reach() -> None:
    """Of two seeds that differ much "a difference below 328.6 points" is none that there can be."""
    found = only(*arm("margin", [0.5, 0.6, 0.7, 0.8], [-0.2, 0.1]), *RANDOM[:2])

    assert found.smallest is not None and found.smallest > 1
    assert "with these seeds no difference can be seen" in found.sentence


def test_tests_of_a_group_are_corrected_together() -> None:
    """Of four arms there are six tests, and the sentence says so."""
    four = [*arm("margin", [0.5, 0.7, 0.8, 0.9]), *arm("cod", [0.5, 0.6, 0.71, 0.8]), *RANDOM]
    (g,) = group([*four, *arm("entropy", [0.5, 0.6, 0.7, 0.8], [0.03, 0.02, 0.01, 0.02, 0.0])])
    by_arm = {each.arm: each for each in verdicts(g)}
    entropy = by_arm["entropy"]

    assert "holds after Holm's correction for 6 tests" in by_arm["margin"].sentence
    assert entropy.p is not None and entropy.holm is not None
    assert entropy.p < 0.05 < entropy.holm
    assert f"p {entropy.p:.3f}, but {entropy.holm:.3f} after Holm's correction for 6 tests" in (
        entropy.sentence
    )


def test_the_other_way_round() -> None:
    """Pairs are in the order of names; a verdict is always of the arm against random."""
    for name in ("a_strategy", "z_strategy"):
        found = only(*arm(name, [0.5, 0.7, 0.8, 0.9]), *RANDOM)

        assert "better" == found.kind
        assert found.difference is not None and found.difference.mean > 0


def test_equal_in_every_seed() -> None:
    """A tie needs no test; p of 0 / 0 is nothing."""
    found = only(*arm("margin", [0.5, 0.6, 0.7, 0.8], [0.0] * 5), *RANDOM)

    assert "margin and random are equal in every seed; 5 seeds" == found.sentence


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (arm("margin", [0.5, 0.9]), "margin: no random baseline with scheme supervised: nobody"),
        (
            [*arm("margin", [0.5, 0.9], scheme="tod"), *RANDOM],
            "margin (tod): no random baseline with scheme tod",
        ),
        (
            [*arm("margin", [0.5, 0.6, 0.7, 0.9])[:1], *RANDOM],
            "margin: one seed: nothing can be said against chance",
        ),
        (
            [*arm("margin", [0.5, 0.6, 0.7, 0.9], complete=False), *RANDOM],
            "margin: no run of margin is complete yet",
        ),
        (
            [*arm("margin", [0.5, 0.6, 0.7, 0.9], initial=frozenset("x")), *RANDOM],
            "margin: its random baseline began with other units, so there is nothing to pair",
        ),
        (
            [*(replace(r, seed=r.seed + 9) for r in arm("margin", [0.5, 0.6, 0.7, 0.9])), *RANDOM],
            "margin: its random baseline has other seeds, so there is nothing to pair",
        ),
        ([*arm("margin", [0.5]), *arm("random", [0.5])], "margin: a single number of labels has"),
        (
            [*arm("margin", [0.5, 0.6], metric="new_accuracy")],
            "margin: no test images, so nothing measures strategies",
        ),
    ],
)
def test_where_nothing_can_be_said(runs: list[Run], said: str) -> None:
    """A guess would be quoted; each says what is missing."""
    found = only(*runs)

    assert found.sentence.startswith(said)
    assert ("unknown", None) == (found.kind, found.difference)


def test_several_baselines_decide_nothing() -> None:
    """Random with another learning rate is no control for one of two."""
    lr = [arm("random", [0.5, 0.6], settings={"scheme.lr": each}) for each in (0.1, 0.2)]
    found = only(*arm("margin", [0.5, 0.7], settings={"scheme.lr": 0.3}), *lr[0], *lr[1])

    assert "which of 2 random baselines it belongs to cannot be told" in found.sentence


def test_the_baseline_of_the_same_settings() -> None:
    """In a grid of learning rates each arm is compared with random under its own."""
    made = []
    for lr, height in ((0.1, 0.0), (0.2, 0.2)):
        for name, more in (("random", 0.0), ("margin", 0.1)):
            curve = [0.4 + height, 0.5 + height + more]
            made += arm(name, curve, [0.0] * 5, settings={"scheme.lr": lr})
    (g,) = group(made)

    assert [("margin (lr=0.1)", "random (lr=0.1)"), ("margin (lr=0.2)", "random (lr=0.2)")] == [
        (each.arm, each.baseline) for each in verdicts(g)
    ]


def test_a_height_that_is_asked_for() -> None:
    """`--target 0.75`: both are counted up to it, on their lines: 250 and 350 labels."""
    (g,) = aimed(group([*arm("margin", [0.5, 0.7, 0.8, 0.9], [0.0] * 5), *RANDOM]), 0.75)
    found = verdict(g, g.arms[0])

    assert "margin needs 29 % fewer labels than random to reach 75 % accuracy" in found.sentence
    assert_allclose(found.saved, 1 - 250 / 350)


def test_markup_stays_text() -> None:
    """A name from a file may be anything; the sentence holds it once, for its place to escape."""
    found = only(*arm("<b>", [0.5, 0.7, 0.8, 0.9]), *RANDOM)

    assert found.sentence.startswith("<b> needs 25 % fewer labels")


def test_random_is_rarely_better_than_random() -> None:
    """Of 200 comparisons of curves that differ by chance alone, at most 1 in 20 may be called
    different, and half of those better: errors of one seed are correlated along its curve, and
    both arms share their first model."""
    rng = np.random.default_rng(20)
    kinds = [verdict(g, g.arms[0]).kind for g in (_by_chance(rng) for _ in range(200))]
    better, wrong = kinds.count("better"), 200 - kinds.count("not separated")

    assert stats.binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 0.01
    assert better <= 0.05 * 200


def test_more_arms_make_no_more_errors() -> None:
    """Of five alike strategies against random one in four comparisons would have a winner without
    correction; with it at most 5 % of whole reports say better or worse of any."""
    rng = np.random.default_rng(5)
    said = [
        any(each.kind in ("better", "worse") for each in verdicts(_by_chance(rng, arms=5)))
        for _ in range(60)
    ]

    assert stats.binomtest(sum(said), 60, 0.05, alternative="greater").pvalue > 0.01


def _by_chance(rng: np.random.Generator, arms: int = 1, seeds: int = 5, cycles: int = 6) -> Group:
    """Arms whose curves are the same but for noise: of a seed, shared by its arms; of a run, that
    fades from cycle to cycle; of the test split, in steps of 1 / 1000."""
    made = []
    rise = 0.9 - 0.3 / np.arange(1, cycles + 1)
    for seed in range(seeds):
        of_seed = rng.normal(0, 0.01)
        first = rng.normal(0, 0.02)
        for name in ["random", *(f"s{n}" for n in range(arms))]:
            drift, points = first, {}
            for n in range(cycles):
                drift = drift if n == 0 else 0.6 * drift + rng.normal(0, 0.008)
                points[50 * (n + 1)] = round(rise[n] + of_seed + drift, 3)
            made.append(replace(BASE, strategy=name, seed=seed, points=points))
    (g,) = group(made)
    # the first arm is the one that is judged; random is found by its name
    return replace(g, arms=tuple(sorted(g.arms, key=lambda arm: arm.strategy == "random")))
