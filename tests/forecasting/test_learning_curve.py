"""Forecasts: of curves that are known, of curves that were measured, and what is not said."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from rayal.forecasting.families import Numbers
from rayal.forecasting.learning_curve import ENOUGH, LearningCurve, quantiles

COUNTS = 50.0 * np.arange(1, 13)
STORED = Path(__file__).parent / "curves.csv"
"""Made by jobs/bench/curves.py and jobs/analyse/forecast.py, see configs/RESULTS.md."""


def power(counts: Numbers, floor: float = 0.05, height: float = 2.0, b: float = 0.6) -> Numbers:
    """A metric whose error falls by a power law."""
    values: Numbers = 1 - floor - height * counts**-b
    return values


def test_a_curve_without_noise_goes_on_as_it_began() -> None:
    """A forecast would not be of the curve that was measured."""
    curve = LearningCurve(COUNTS[:8], power(COUNTS[:8]), images=100_000)

    for ahead in (9, 12):
        said = curve.measured(COUNTS[ahead - 1])

        assert said.value == pytest.approx(power(COUNTS[ahead - 1]), abs=0.006)
        assert said.low < power(COUNTS[ahead - 1]) < said.high
    gain = curve.gain(50)
    assert gain.value == pytest.approx(power(450.0) - power(400.0), abs=0.002)
    assert gain.low < gain.value < gain.high


def test_a_target_is_reached_where_the_curve_is_that_high() -> None:
    """Too many labels would be bought, or too few; 1 - 0.05 - 2 n^-0.6 is 0.88 at n = 267 and 0.9
    at 468."""
    curve = LearningCurve(COUNTS[:8], power(COUNTS[:8]), images=100_000)
    passed, ahead, never = curve.reach(0.88), curve.reach(0.90), curve.reach(0.999)

    assert (passed.value, ahead.value) == pytest.approx((267, 468), rel=0.05)
    assert passed.low is not None and passed.high is not None and ahead.low is not None
    assert 250 < passed.low < 267 < passed.high < 290 and 400 < ahead.low < 468
    assert passed.probability == pytest.approx(1) and 0.5 < ahead.probability < 1
    assert (never.value, never.low, never.high) == (None, None, None)
    assert never.probability < 0.05


def test_less_is_known_of_what_is_further_ahead() -> None:
    """An extrapolation would look as sure as a measurement."""
    noise = 0.01 * np.array([1, -1, 1, 1, -1, -1, 1, -1])
    curve = LearningCurve(COUNTS[:8], power(COUNTS[:8]) + noise, images=500)
    widths = [said.high - said.low for said in map(curve.measured, (400, 450, 600, 1000, 1600))]

    assert widths == sorted(widths) and widths[-1] > 2 * widths[0]
    assert all(0 <= said.low <= said.high <= 1 for said in map(curve.measured, (400, 1600)))


def test_the_same_points_give_the_same_forecast() -> None:
    """A run that is resumed would end elsewhere than one that was not."""
    first, again = (LearningCurve(COUNTS[:6], power(COUNTS[:6]), images=300) for _ in range(2))

    assert first.measured(500) == again.measured(500)
    assert first.reach(0.9) == again.reach(0.9) and first.gain(50) == again.gain(50)


@pytest.mark.parametrize(
    "values",
    [np.full(6, 0.9), np.linspace(0.9, 0.8, 6), np.array([0.5, 0.6, 1, 1, 1, 1]), np.zeros(6)],
    ids=["flat", "falling", "perfect", "nothing"],
)
def test_curves_that_do_not_rise(values: Numbers) -> None:
    """A run that learns nothing, or everything, would end the command in an error."""
    curve = LearningCurve(COUNTS[:6], values, images=100)
    said = curve.measured(600)

    assert 0 <= said.low <= said.value <= said.high <= 1
    assert abs(said.value - values[-1]) < 0.1 and abs(curve.gain(50).value) < 0.02


@pytest.mark.parametrize(
    ("counts", "values"),
    [
        (COUNTS[: ENOUGH - 1], power(COUNTS[: ENOUGH - 1])),
        (COUNTS[:5][::-1], power(COUNTS[:5])),
        (COUNTS[:5] - 50, power(COUNTS[:5])),
        (COUNTS[:5], 100 * power(COUNTS[:5])),
        (COUNTS[:5], np.array([0.1, 0.2, np.nan, 0.3, 0.4])),
    ],
)
def test_what_is_no_curve(counts: Numbers, values: Numbers) -> None:
    """Three numbers would be fitted to three points, or NaN be foretold."""
    with pytest.raises(ValueError, match="needed, got"):
        LearningCurve(counts, values)


def test_quantiles_of_weighted_values() -> None:
    """By hand: of 1, 2 and 3 with weights 1/2, 1/4 and 1/4."""
    values, weights = np.array([3.0, 1, 2]), np.array([0.25, 0.5, 0.25])

    assert quantiles(values, weights, (0.1, 0.5, 0.6, 0.9)) == [1, 1, 2, 3]


def inside(counts: Numbers, values: Numbers, images: int, known: int, ahead: int) -> bool:
    """Whether a later measurement is in its interval."""
    said = LearningCurve(counts[:known], values[:known], images).measured(counts[known + ahead - 1])
    return bool(said.low - 1e-9 <= values[known + ahead - 1] <= said.high + 1e-9)


def test_nine_of_ten_drawn_curves_stay_in_their_interval() -> None:
    """What is called 90 % would be another number; curves of both families, with the noise of new
    test images in each cycle."""
    random, hits = np.random.default_rng(0), list[bool]()
    for number in range(48):
        floor, b = random.uniform(0.01, 0.2), random.uniform(0.2, 1.2)
        share = power(COUNTS, floor, random.uniform(0.3, 0.6) * COUNTS[0] ** b, b)
        if number % 2:
            share = 1 - floor - 0.4 * np.exp(-random.uniform(1, 5) * COUNTS / COUNTS[-1])
        images = int(random.integers(100, 2000))
        values = random.binomial(images, share) / images
        known = int(random.integers(4, 9))
        hits.append(inside(COUNTS, values, images, known, int(random.integers(1, 5))))

    assert np.mean(hits) >= 0.85


def test_measured_curves_stay_in_their_interval() -> None:
    """The interval would be a promise that real strategies break."""
    found = defaultdict(list)
    with STORED.open() as file:
        for row in csv.DictReader(file):
            kind = row["name"], row["strategy"], row["seed"]
            found[kind].append((float(row["at"]), float(row["value"]), int(row["images"])))
    hits: dict[int, list[bool]] = defaultdict(list)
    for number, points in enumerate(found.values()):
        counts, values, images = map(np.array, zip(*points, strict=True))
        known = 4 + number % 6
        for ahead in range(1, 6):
            if counts[known + ahead - 1] <= 4 * counts[known - 1]:
                hits[ahead].append(inside(counts, values, images[0], known, ahead))

    assert len(found) >= 24 and min(map(len, hits.values())) >= 15
    assert np.mean([hit for each in hits.values() for hit in each]) >= 0.85
