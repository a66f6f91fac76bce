"""What a sweep found: arms told apart by their settings, the best first, a row per trial."""

import csv
import io
import math
from types import SimpleNamespace

import pytest

from rayal.report import parallel, sweeps
from rayal.report.groups import group
from rayal.report.runs import Run

POINTS = {10: 0.5, 20: 0.7, 30: 0.8}


def run(strategy="cod", seed=0, scheme="tod", lift=0.0, complete=True, **settings):
    points = {at: value + lift for at, value in POINTS.items()}
    texts = {key.replace("_", "."): str(value) for key, value in settings.items()}
    url = f"/sweep/{strategy}-{scheme}-{'-'.join(texts.values())}-{seed}"
    return Run(
        "s", "digits", strategy, scheme, seed, "accuracy", points, complete, url,
        frozenset({"a"}), texts,
    )  # fmt: skip


def swept():
    """Two strategies x (plain, two weights) x two seeds; the larger weight is better."""
    return [
        run(
            strategy, seed, scheme, lift=bonus + 0.1 * (strategy == "cod") + 0.01 * seed, **settings
        )
        for strategy in ("random", "cod")
        for seed in (0, 1)
        for scheme, bonus, settings in (
            ("supervised", 0.0, {}),
            ("tod", 0.01, {"scheme_weight": 0.02, "scheme_epochs": 5}),
            ("tod", 0.05, {"scheme_weight": 0.3, "scheme_epochs": 5}),
        )
    ]


def test_arms_are_told_apart_by_what_differs() -> None:
    """Runs of one strategy with two weights would be refused, or averaged."""
    (found,) = group(swept())
    assert [arm.label for arm in found.arms] == [
        "cod (supervised)",
        "cod (tod, weight=0.02)",
        "cod (tod, weight=0.3)",
        "random (supervised)",
        "random (tod, weight=0.02)",
        "random (tod, weight=0.3)",
    ]
    assert all(len(arm.runs) == 2 for arm in found.arms)


def test_a_short_name_is_given_up_where_it_says_two_things() -> None:
    runs = [run(scheme_lr=a, model_lr=b, seed=0) for a, b in ((1, 1), (1, 2), (2, 1))]
    (found,) = group(runs)
    assert found.arms[0].label == "cod (scheme.lr=1 model.lr=1)"


def test_the_baseline_of_an_arm_has_its_settings() -> None:
    """Random under another weight says nothing about cod under this one."""
    (found,) = group([*swept(), run("cod", 0, "tod", scheme_weight=0.9, scheme_epochs=5)])
    by_label = {arm.label: arm for arm in found.arms}
    assert len(found.arms) == 7, "more than are all compared with one another"
    same = found.baselines(by_label["cod (tod, weight=0.3)"])
    assert [arm.label for arm in same] == ["random (tod, weight=0.3)"]
    without = found.baselines(by_label["cod (tod, weight=0.9)"])
    assert [arm.settings for arm in without] == ["weight=0.02", "weight=0.3"]
    compared = {(pair.first, pair.second) for pair in found.pairs}
    assert ("cod (tod, weight=0.3)", "random (tod, weight=0.3)") in compared
    assert ("cod (tod, weight=0.3)", "random (tod, weight=0.02)") not in compared


def test_the_best_arm_is_the_one_with_the_highest_mean() -> None:
    (found,) = group(swept())
    best, *others = sweeps.ranking(found, "aulc")
    # trapezoids of 0.5, 0.7, 0.8 over 10, 20, 30: (0.6 + 0.75) / 2 = 0.675, and the lifts
    assert best.reached.mean == pytest.approx(0.675 + 0.05 + 0.1 + 0.005)
    assert (best.arm.label, best.trial.seed) == ("cod (tod, weight=0.3)", 1)
    assert others[-1].arm.label == "random (supervised)"
    final = sweeps.ranking(found, "final")[0]
    assert final.reached.mean == pytest.approx(0.8 + 0.155)


@pytest.mark.parametrize(
    ("lifts", "said"),
    [
        ({"cod": [0.1]}, "highest value  cod: 77.50 % of one seed, so without an interval"),
        ({"cod": [0.1, 0.1]}, "only arm  cod: 77.50 ± 0.00 % (95 % interval over 2 seeds)"),
        (
            {"cod": [0.1, 0.11, 0.12], "margin": [0.0, 0.01, 0.021], "random": [0, 0.01, 0.018]},
            "best arm  cod: 78.50 ± 2.48 % (95 % interval over 3 seeds); separated from all others",
        ),
        (
            {"cod": [0.1, 0.11, 0.12], "margin": [0.12, 0.09, 0.1], "random": [0, 0.01, 0.021]},
            "highest mean  cod: 78.50 ± 2.48 % (95 % interval over 3 seeds); not separated from 1"
            " of 2 others",
        ),
    ],
)
def test_best_is_only_what_is_separated(lifts, said) -> None:
    """The arm that was luckiest by a hair would be what people remember."""
    runs = [
        run(name, seed, "tod", lift)
        for name, each in lifts.items()
        for seed, lift in enumerate(each)
    ]
    (found,) = group(runs)

    assert said == sweeps.leading(found, "aulc")


def test_nobody_leads_before_a_trial_is_complete() -> None:
    (found,) = group([run(complete=False)])
    assert sweeps.leading(found, "aulc") is None
    assert parallel.drawn(found, "aulc")[0].startswith(b"\x89PNG")


def test_a_trial_that_is_not_complete_is_not_ranked() -> None:
    (found,) = group([run(lift=0.2, complete=False, seed=1), run(seed=0)])
    (only,) = sweeps.ranking(found, "aulc")
    assert only.reached.mean == pytest.approx(0.675)


@pytest.mark.parametrize(
    ("points", "aulc", "final"),
    [
        ({10: 0.5}, 0.5, 0.5),
        ({10: 0.5, 20: 0.7}, 0.6, 0.7),
        ({30: 0.8, 10: 0.5}, 0.65, 0.8),
        ({10: 0.5, 20: math.nan, 30: 0.8}, 0.65, 0.8),
        ({10: 0.5, 20: math.nan}, 0.5, 0.5),
        ({10: math.nan, 20: math.inf}, math.nan, math.nan),
    ],
)
def test_the_objective_of_a_trial_so_far(points, aulc, final) -> None:
    """ASHA and Optuna compare by it; a cycle without a value would end the trial."""
    assert sweeps.objective_so_far(points, "aulc") == pytest.approx(aulc, nan_ok=True)
    assert sweeps.objective_so_far(points, "final") == pytest.approx(final, nan_ok=True)


def test_only_what_tells_trials_apart_is_a_column(monkeypatch) -> None:
    """Settings that follow from the name of a part would bury the two that were swept."""
    runs = swept()
    assert sweeps.keys(runs) == ["strategy", "scheme", "scheme.weight"]
    monkeypatch.setattr(sweeps.Run, "read", staticmethod(lambda record: record.run))
    rows = [{"train_seconds": 1.5, "score_seconds": None, "labels": 10}]
    records = [SimpleNamespace(run=each, cycles=lambda: rows) for each in runs]
    table = list(csv.DictReader(io.StringIO(sweeps.to_csv(records, "aulc"))))
    assert len(table) == len(runs)
    first = table[0]
    assert (first["scheme.weight"], first["labels"], first["seconds"]) == ("–", "30", "1.5")
    assert float(first["aulc"]) == pytest.approx(0.675)
    assert float(first["value"]) == pytest.approx(0.8)


def test_the_title_of_the_picture_stays_in_it() -> None:
    """The end of `(95 % interval over 2 seeds)` was cut off, which says how little it is."""
    (found,) = group([run(seed=seed, lift=0.2 * seed, lr=lr) for seed in (0, 1) for lr in (1, 2)])
    made = parallel.figure(found, "aulc")
    made.canvas.draw()
    title = made.axes[0]._left_title

    assert "over 2 seeds); not separated" in " ".join(title.get_text().split("\n"))
    assert 0 <= title.get_window_extent().x0 < title.get_window_extent().x1 <= made.bbox.x1


def test_the_picture_goes_through_every_setting() -> None:
    """It has an axis per setting, the values at their heights, and the best arm in its title."""
    (found,) = group(swept())
    png, svg = parallel.drawn(found, "aulc")
    assert png.startswith(b"\x89PNG") and parallel.drawn(found, "aulc")[1] == svg
    column = parallel._Column.of(["0.001", "0.1", "–", "0.01"])
    low, high, absent, middle = column.heights
    assert absent == 0.0 < low < middle < high == 1.0
    assert middle == pytest.approx((low + high) / 2), "two decades are drawn logarithmically"
    names = parallel._Column.of(["b", "a", "b"])
    assert names.heights == [0.75, 0.25, 0.75]
    assert [text for _, text in names.ticks] == ["a", "b"]
