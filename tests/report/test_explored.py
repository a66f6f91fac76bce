"""What random draws say of a model: by hand, against textbook estimators, and whether the interval
holds as often as it says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import rayal
from rayal.report.explored import Estimate, better_than_random, bounds, rows, together
from rayal.report.runs import Run
from rayal.report.tables import summarise
from tests.support import untested
from tests.support.whole_runs import short

DRAWS = 2000


@pytest.mark.parametrize(
    ("right", "units", "low", "high"),
    [
        (0, 10, 0, 1 - 0.025**0.1),  # all wrong with probability (1 - p)^10
        (10, 10, 0.025**0.1, 1),
        (1, 1, 0.025, 1),
        (7, 10, 0.3475471, 0.9332605),  # Clopper and Pearson's chart; R's binom.test(7, 10)
    ],
)
def test_bounds_by_hand(right: int, units: int, low: float, high: float) -> None:
    """An interval that is too short would be trusted."""
    assert_allclose(bounds(right, units), (low, high), atol=1e-6)


@pytest.mark.parametrize("units", [1, 5, 20, 80])
def test_bounds_are_where_the_tails_are(units: int) -> None:
    """By summing binomial probabilities: at either end what was seen, or more, has 2.5 %."""
    for right in range(units + 1):
        low, high = bounds(right, units)
        if right:
            assert_allclose(stats.binom.pmf(range(right, units + 1), units, low).sum(), 0.025)
        if right < units:
            assert_allclose(stats.binom.pmf(range(right + 1), units, high).sum(), 0.025)


@pytest.mark.parametrize(("units", "drawn"), [(60, 10), (400, 10), (1300, 50), (200, 100)])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_unbiased_and_the_interval_holds(units: int, drawn: int, share: float) -> None:
    """2,000 draws from a pool of which so much is right: the mean of estimates is the truth, and at
    least 95 of 100 intervals hold it. They are exact, so never fewer; that all do would say that
    they are needlessly wide, where a draw is no large part of the pool."""
    rng = np.random.default_rng(0)
    right = rng.permutation(units) < round(share * units)
    truth = right.mean()
    found = np.array([right[rng.permutation(units)[:drawn]].sum() for _ in range(DRAWS)])
    known = [bounds(n, drawn) for n in range(drawn + 1)]
    inside = [known[n].low <= truth <= known[n].high for n in found]
    spread = np.sqrt(truth * (1 - truth) / drawn * (units - drawn) / (units - 1))

    assert abs((found / drawn).mean() - truth) < 4 * spread / np.sqrt(DRAWS)
    assert np.mean(inside) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / DRAWS)
    if drawn >= 50 and drawn * 10 < units and share < 0.95:
        assert np.mean(inside) < 0.99


def test_as_horvitz_and_thompson_and_hajek() -> None:
    """The mean of the draw is what both give where all probabilities are m/M."""
    rng = np.random.default_rng(1)
    units, drawn = 300, 20
    right = rng.random(units) < 0.8
    sample = rng.permutation(units)[:drawn]
    weights = np.full(drawn, units / drawn)  # 1 / propensity
    horvitz_thompson = (weights * right[sample]).sum() / units
    hajek = (weights * right[sample]).sum() / weights.sum()

    assert_allclose([horvitz_thompson, hajek], right[sample].mean())


def test_seeds_together_by_hand() -> None:
    """8 of 10 and 3 of 5 are 11 of 15; that of a metric without interval has none."""
    first = Estimate(0, 100, 0.8, *bounds(8, 10), 10, 900)
    found = together([first, Estimate(0, 100, 0.6, *bounds(3, 5), 5, 901)])

    assert_allclose(found.value, 11 / 15)
    assert (bounds(11, 15), 15, 900) == ((found.low, found.high), found.units, found.drawn_from)
    bare = first._replace(low=None, high=None)
    assert (None, None) == together([bare, bare])[3:5]


def test_intervals_of_seeds_together_hold() -> None:
    """Models of several seeds are not equally good; the pooled interval must hold their mean."""
    rng, shares = np.random.default_rng(2), np.array([0.6, 0.75, 0.9, 0.95, 0.99])
    known = [bounds(n, 50) for n in range(51)]
    right = rng.binomial(10, shares, (DRAWS, 5)).sum(axis=1)
    held = [known[n].low <= shares.mean() <= known[n].high for n in right]

    assert np.mean(held) >= 0.95


def test_a_table_by_hand() -> None:
    """Beside the estimate of a model stands what the test images say of the same model."""
    estimate = Estimate(1, 200, 0.9, *bounds(9, 10), 10, 800)
    run = Run("a", "d", "margin", "supervised", 0, "accuracy", {200: 0.875}, True, "/runs/x")
    run = replace(run, explored=(estimate,))

    assert [["1", "1", "200", "10", "800", "90.00", "55.50", "99.75", "87.50"]] == rows(
        [run], "accuracy"
    )
    assert [["1", "1", "200", "10", "800", "90.00", "55.50", "99.75"]] == rows(
        [run], "explored_accuracy"
    )


@pytest.fixture(scope="module")
def done(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, rayal.Run]:
    """Six cycles on digits without test images, with and without a random share."""
    root = tmp_path_factory.mktemp("explored")
    options = {
        "dataset": untested.dataset(root / "data"),
        "budget": {"initial": 20, "per_cycle": 15, "total": 95},
        "strategy": "margin",
    }
    return {
        name: rayal.run(short(tiny, explore=share, **options), root / "runs" / name)
        for name, share in (("explored", 0.3), ("alone", 0.0))
    }


def test_without_test_images_it_is_what_is_shown(done: dict[str, rayal.Run]) -> None:
    """What the strategy chose would go on standing for the pool."""
    run = done["explored"]
    told = " ".join(str(rayal.compare(run.url)).split())
    status = " ".join(str(rayal.status(run.url)).split())

    assert "explored_accuracy" == run.record.headline
    assert "no test set. explored_accuracy: accuracy on the labels bought last that were" in status
    assert "accuracy estimated from random draws of margin" in told
    curve, estimates = run.curve(), run.explored()
    assert [*curve["explored_accuracy"][1:]] == [*estimates["value"]]
    assert [*range(5)] == [*estimates["cycle"]] and [5] * 5 == [*estimates["units"]]
    assert [*curve["labels"][:5]] == [*estimates["labels"]]
    assert [120 - n for n in curve["labels"][:5]] == [*estimates["drawn_from"]]
    assert (estimates["low"] <= estimates["value"]).all()


def test_the_forecast_goes_by_it(done: dict[str, rayal.Run]) -> None:
    """A run of people that strategies choose for could never say when to stop."""
    (found,) = rayal.forecast(done["explored"].url).outlooks
    (nothing,) = rayal.forecast(done["alone"].url).outlooks

    assert found.curve is not None and found.basis.random
    assert [5] * 5 == [point.images for point in found.basis.points]
    assert [*done["explored"].explored()["value"]] == [p.value for p in found.basis.points]
    assert nothing.curve is None and "explore: 0.1" in str(nothing.why)


def test_what_cannot_be_known_is_said(done: dict[str, rayal.Run], tmp_path: Path) -> None:
    """Whoever pays for labels asks whether the strategy helps; silence would be taken for yes."""
    alone, explored = (rayal.compare(done[name].url) for name in ("alone", "explored"))
    unknown = "whether margin is better than random cannot be known"

    assert any(unknown in text and "With explore: 0.1" in text for text in alone.warnings)
    assert any(unknown in text and "what explore drew" in text for text in explored.warnings)
    explored.write_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert unknown in page and "Estimated from random draws" in page
    assert [] == summarise([]).warnings
    both = rayal.compare([run.url for run in done.values()])
    assert {"explored_accuracy", "new_accuracy"} == {*both.table()["metric"]}


def test_of_several_strategies_each_once() -> None:
    """A sentence that names one of them would be taken to know of the other."""
    text = better_than_random(["margin", "entropy", "margin"], "new_miou")

    assert text.startswith("whether margin, entropy is better than random cannot be known")
    assert "tells the miou of each model" in text
