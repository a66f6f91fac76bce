"""References: one height beside curves, of runs that may stand beside them."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.lines import Line2D

from rayal.errors import UsageError
from rayal.report import rows
from rayal.report.curves import TOGETHER, figure
from rayal.report.groups import Group, group
from rayal.report.references import referred
from rayal.report.runs import DATA, Run
from rayal.report.tables import Summary

BASE = Run("a", "digits", "cod", "supervised", 0, "accuracy", {}, True, "/runs/x")
FULL = replace(BASE, name="full", strategy="random", points={1000: 0.95}, url="/runs/full")


def runs(strategy: str, start: float, seeds: int = 2) -> list[Run]:
    """0.1 more per 10 labels; a seed adds 0.02."""
    return [
        replace(
            BASE,
            strategy=strategy,
            seed=seed,
            points={10 * n: start + 0.1 * n + 0.02 * seed for n in range(1, 4)},
        )
        for seed in range(seeds)
    ]


RUNS = [*runs("cod", 0.65), *runs("random", 0.55)]


def beside(*references: Run, of: list[Run] = RUNS) -> Summary:
    return Summary(referred(group(of), references))


def test_the_first_count_that_is_as_high_by_hand() -> None:
    """Means .76, .86, .96 and .66, .76, .86: above .95 is the third of cod and none of random."""
    ((found,),) = (g.references for g in beside(FULL).groups)
    cod, random = beside(FULL).groups[0].arms

    assert ("full", 1000, 0.95) == (found.name, found.labels, found.point.mean)
    assert (30, None) == (found.reached_by(cod), found.reached_by(random))


def test_seeds_have_a_mean_and_names_tell_apart() -> None:
    """Of three seeds one would be drawn, or each a line; equal names would be one."""
    seeds = [replace(FULL, seed=n, points={1000: 0.9 + 0.01 * n}) for n in range(3)]
    compute = replace(FULL, name="full_equal_compute", points={1000: 0.97})
    (of,) = beside(*seeds, compute).groups
    first, second = of.references

    assert ("full", "full_equal_compute") == (first.name, second.name)
    assert (3, 0.91) == (first.point.n, pytest.approx(first.point.mean))
    longer = (
        replace(FULL, settings={"scheme.epochs": 350}),
        replace(FULL, settings={"scheme.epochs": 200}),
    )
    (of,) = beside(*longer).groups
    assert ["full: random (epochs=200)", "full: random (epochs=350)"] == [
        each.name for each in of.references
    ]


def test_each_dataset_has_its_own() -> None:
    """A height of CIFAR-10 would lie in a panel of digits."""
    other = [replace(run, dataset="cifar10") for run in runs("cod", 0.2)]
    of_other = replace(FULL, name="other", dataset="cifar10")
    groups = beside(FULL, of_other, of=[*RUNS, *other]).groups

    assert {"digits": ["full"], "cifar10": ["other"]} == {
        g.dataset: [each.name for each in g.references] for g in groups
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"dataset": "cifar10"},
            r"'full' \(/runs/full\) is of cifar10 \(accuracy\), .* are of digits \(accuracy\)",
        ),
        ({"metric": "mean_iou"}, r"is of digits \(mean_iou\), .*give a reference of the same"),
        ({"complete": False}, "'full' .* is not finished; run its experiment to its end first"),
        ({"points": {}}, "is not finished"),
        ({"points": {1000: float("nan")}}, "is not finished"),
        (
            {"points": {10: 0.1, 20: 0.2}},
            "'full' .* has 2 cycles, .*; give a run of one cycle, whose budget.initial is its",
        ),
    ],
)
def test_what_is_no_reference_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    """A line would be drawn that means nothing, or none, without a word."""
    with pytest.raises(UsageError, match=message):
        beside(replace(FULL, **wrong))
    beside(FULL)


def test_other_data_of_the_same_name_is_told() -> None:
    """Two image folders may be called alike, and have other test splits."""
    of = [replace(run, settings={DATA: "one"}) for run in RUNS]
    warnings = beside(replace(FULL, settings={DATA: "other"}), of=of).warnings

    assert any("reference full is of other data under the same name" in each for each in warnings)
    same = beside(replace(FULL, settings={DATA: "one"}), of=of).warnings
    assert not any("reference" in each for each in same)


def test_in_tables_by_hand() -> None:
    """The claim that a share of the labels is enough would have to be read off a picture."""
    summary = beside(FULL)
    lines = summary.to_markdown().splitlines()

    assert "| reference | n | labels | accuracy (%) | reached by |" in lines
    assert "| full | 1 | 1,000 | 95.00 | cod with 30 |" in lines
    (in_json,) = json.loads(summary.to_json())["groups"][0]["references"]
    assert {"name": "full", "labels": 1000, "mean": 0.95, "half": None, "n": 1} == in_json
    found = [(row["arm"], row["reached_at"]) for row in rows.references(summary.groups)]
    assert [("cod", 30), ("random", None)] == found
    assert set(rows.REFERENCES) == rows.references(summary.groups)[0].keys()


def test_it_changes_nothing_of_the_arms() -> None:
    """A reference would be averaged, ranked or tested as an arm."""
    plain, (of,) = Summary(group(RUNS)), beside(FULL).groups
    (alone,) = plain.groups

    assert (alone.arms, alone.pairs, alone.shared) == (of.arms, of.pairs, of.shared)
    assert list(csv.reader(io.StringIO(plain.to_csv()))) == list(
        csv.reader(io.StringIO(beside(FULL).to_csv()))
    )
    assert "references" not in plain.to_markdown()


def dashed(of: Summary) -> list[list[Line2D]]:
    """The lines across each panel."""
    panels = [panel for panel in figure(of).axes if panel.axison]
    return [[line for line in panel.lines if [0, 1] == list(line.get_xdata())] for panel in panels]


def test_a_dashed_height_with_its_name() -> None:
    """It would be outside of what the panel shows, look like a curve, or be nameless."""
    high = replace(FULL, points={1000: 0.99})
    ((line,),) = dashed(beside(high))
    (panel,) = figure(beside(high)).axes

    assert [99, 99] == pytest.approx(line.get_ydata())
    assert line.is_dashed()
    assert panel.get_ylim()[1] > 99
    assert any("full (1,000 labels, n = 1)" == text.get_text() for text in panel.texts)
    assert [[]] == dashed(Summary(group(RUNS)))


def test_small_panels_have_it_too() -> None:
    """Where there are many arms each of them would lose what it is measured against."""
    many = [run for n in range(TOGETHER + 1) for run in runs(f"s{n}", 0.5)]
    of = beside(FULL, of=many)

    assert [1] * len(many[::2]) == [len(lines) for lines in dashed(of)]
    assert "dashed: full" in str(figure(of)._supxlabel.get_text())  # type: ignore[attr-defined]


def test_no_group_has_nothing() -> None:
    """Nothing to compare would end in a traceback."""
    none: list[Group] = []

    assert () == referred(none, [])
