"""Whole networks at the ends of curves: their figures, their differences, their marks."""

import json
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.lines import Line2D
from scipy import stats

from rayal.report import rows
from rayal.report.curves import TOGETHER, figure
from rayal.report.fine_tuned import of_arm, of_group, order, pairs
from rayal.report.groups import Group, group
from rayal.report.runs import Run
from rayal.report.tables import Summary

BASE = Run("a", "features", "cod", "supervised", 0, "accuracy", {}, True, "/runs/x")
OWN = {"cod": [0.80, 0.82, 0.87], "margin": [0.78, 0.80, 0.81], "random": [0.70, 0.71, 0.75]}
END = {"cod": [0.85, 0.88, 0.90], "margin": [0.90, 0.92, 0.97], "random": [0.80, 0.84, 0.83]}


def runs(**changes: Any) -> list[Run]:
    """Two points of three arms and seeds, the network of each after the second."""
    return [
        replace(
            BASE,
            strategy=arm,
            seed=seed,
            points={10: own - 0.1, 20: own},
            fine_tuned={20: END[arm][seed]},
            **changes,
        )
        for arm in OWN
        for seed, own in enumerate(OWN[arm])
    ]


def only(found: list[Run]) -> Group:
    (one,) = group(found)
    return one


def test_means_gains_and_pairs_by_hand() -> None:
    """The one figure that a frozen study is for would be of other seeds, or of the curve."""
    of = only(runs())
    cod = of_group(of)["cod"]
    wanted = stats.ttest_rel(END["cod"], OWN["cod"])

    assert pytest.approx((0.85 + 0.88 + 0.90) / 3) == cod.point.mean
    assert pytest.approx((0.05 + 0.06 + 0.03) / 3) == cod.gain.difference.mean
    assert pytest.approx(wanted.pvalue) == cod.gain.p
    by_name = {(each.first, each.second): each for each in pairs(of)}
    p = {pair: stats.ttest_rel(END[pair[0]], END[pair[1]]).pvalue for pair in by_name}
    assert {pair: pytest.approx(value) for pair, value in p.items()} == {
        pair: each.test.p for pair, each in by_name.items()
    }
    lowest = min(p, key=lambda pair: p[pair])
    assert pytest.approx(min(1, 3 * p[lowest])) == by_name[lowest].holm


def test_whether_the_order_is_another() -> None:
    """cod, margin, random become margin, cod, random: one pair of three has changed."""
    assert pytest.approx(1 / 3) == order(only(runs()))
    assert order(only(runs()[:6])) is None


def test_an_arm_is_all_its_seeds_alike() -> None:
    """A mean of some seeds, of other settings or of other labels would be that of an arm."""
    lacking = [replace(each, fine_tuned={}) if each.seed == 1 else each for each in runs()]
    later = [replace(each, fine_tuned={30: 0.9}) if each.seed == 1 else each for each in runs()]
    lr = "fine_tune.scheme.lr"
    otherwise = [replace(each, beside={lr: each.seed}) for each in runs()]
    for found in (lacking, later, otherwise):
        of = only(found)
        assert [None] * 3 == [of_arm(arm) for arm in of.arms]
        warned = [line for line in Summary((of,)).warnings if "fine-tuned alike" in line]
        assert 3 == len(warned)
    assert not [line for line in Summary((only(runs()),)).warnings if "fine-tuned" in line]
    plain = only([replace(each, fine_tuned={}) for each in runs()])
    assert not [line for line in Summary((plain,)).warnings if "fine-tuned" in line]


def test_tables_and_files_say_the_same() -> None:
    """A terminal, Markdown and JSON would tell three stories."""
    summary = Summary((only(runs()),))
    (table,) = [each for each in summary.tables() if "fine-tuned at the end" in each.title]
    told = json.loads(summary.to_json())["groups"][0]
    frame = {row["arm"]: row for row in rows.arms(summary.groups)}

    assert ["cod", "3", "20", "83.00 ± 8.96", "87.67 ± 6.25", "4.67 ± 3.79"] == table.rows[0]
    assert "Kendall's tau 0.33" in table.note
    assert pytest.approx(frame["cod"]["fine_tuned"]) == told["arms"][0]["fine_tuned"]["mean"]
    assert {"0": 0.85, "1": 0.88, "2": 0.9} == told["arms"][0]["fine_tuned"]["by_seed"]
    assert 3 == len(told["fine_tuned_pairs"])
    assert "fine-tuned at the end" in summary.to_markdown()
    plain = Summary((only([replace(each, fine_tuned={}) for each in runs()]),))
    assert not [each for each in plain.tables() if "fine-tuned" in each.title]


def diamonds(ax: Any) -> list[Line2D]:
    return [line for line in ax.lines if line.get_marker() == "D"]


def test_marks_stand_beside_the_ends() -> None:
    """Both figures would have to be looked up, or a network be taken for a point of the curve."""
    drawn = figure(Summary((only(runs()),)))
    marks = diamonds(drawn.axes[0])
    heights = [mark.get_ydata()[0] for mark in marks]  # type: ignore[index]

    assert [pytest.approx(sum(END[arm]) / 0.03) for arm in ("cod", "margin", "random")] == heights
    assert all(20 < mark.get_xdata()[0] < 21 for mark in marks)  # type: ignore[index]
    low, high = drawn.axes[0].get_ylim()
    assert all(low < height < high for height in heights)
    assert "diamond: a whole network" in drawn.get_supxlabel().replace("\n", " ")
    plain = figure(Summary((only([replace(each, fine_tuned={}) for each in runs()]),)))
    assert not diamonds(plain.axes[0]) and "diamond" not in plain.get_supxlabel()


def test_one_seed_and_many_arms_are_drawn() -> None:
    """A panel of one point, or one of many small ones, would end in an error."""
    single = [replace(each, points={20: 0.5}) for each in runs() if each.seed == 0]
    many = [replace(each, strategy=f"s{n}") for n in range(TOGETHER + 1) for each in runs()[:2]]
    assert 3 == len(diamonds(figure(Summary((only(single),))).axes[0]))
    assert TOGETHER + 1 == sum(len(diamonds(ax)) for ax in figure(Summary((only(many),))).axes)
