import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from numpy.testing import assert_allclose

from rayal.errors import UsageError
from rayal.report.groups import Group, group
from rayal.report.runs import Run, settings
from rayal.runs.results import Chosen


def run(
    strategy: str = "cod", seed: int = 0, points: dict[int, float] | None = None, **changes: Any
) -> Run:
    """A complete run with accuracy 0.5 and 0.7 at 10 and 20 labels."""
    fields = {
        "name": "a",
        "dataset": "digits",
        "scheme": "supervised",
        "metric": "accuracy",
        "complete": True,
        "url": f"/runs/{strategy}-{seed}",
    }
    points = {10: 0.5, 20: 0.7} if points is None else points
    return Run(strategy=strategy, seed=seed, points=points, **{**fields, **changes})


def only(runs: list[Run]) -> Group:
    (found,) = group(runs)
    return found


CHOSEN = {
    cycle: Chosen(ids=(), agreement={"cod": {"random": share}})
    for cycle, share in enumerate((0.2, 0.4))
}


def record(rows: list[dict[str, Any]], **changes: Any) -> Any:
    """What the report asks of a run folder."""
    experiment = {
        "name": "a",
        "seed": 3,
        "dataset": {"name": "digits"},
        "strategy": {"name": "cod"},
        "scheme": {"name": "supervised"},
        "task": {"name": "classification"},
    }
    return SimpleNamespace(
        experiment=lambda: {**experiment, **changes},
        cycles=lambda: rows,
        initial=lambda: frozenset({"a"}),
        identity=lambda: {"data": "d"},
        result=lambda cycle, kind: CHOSEN.get(cycle) if kind is Chosen else None,
        whole=False,
        stopped=None,
        check_whole=lambda: None,
        headline="accuracy",
        explores=False,
        folder=SimpleNamespace(url="/runs/x"),
    )


def test_reads_a_run_that_is_not_over() -> None:
    """Reports are made while sweeps run; a diverged or missing value is a gap and never 0."""
    rows = [
        {"cycle": 0, "labels": 10, "accuracy": 0.5},
        {"cycle": 1, "labels": 20, "accuracy": math.nan},
        {"cycle": 2, "labels": 30},
    ]

    found = Run.read(record(rows))

    assert {10: 0.5, 20: math.nan, 30: math.nan} == found.points  # the same nan object
    assert ({10}, False, {"a"}) == (found.measured, found.complete, found.initial)
    assert {("cod", "random"): pytest.approx(0.3)} == found.agreement


def test_groups_and_arms() -> None:
    """Runs on different data, or of different questions, share no axis."""
    found = group(
        [
            run("random", 1),
            run("cod", 1),
            run("cod", 0),
            run(scheme="isda"),
            run(dataset="cifar10"),
            run(name="b"),
        ]
    )
    first = found[1]

    assert [("a", "cifar10"), ("a", "digits"), ("b", "digits")] == [
        (g.name, g.dataset) for g in found
    ]
    assert ["cod (isda)", "cod (supervised)", "random (supervised)"] == [
        arm.label for arm in first.arms
    ]
    assert [[0], [0, 1], [1]] == [[r.seed for r in arm.runs] for arm in first.arms]


def test_the_same_run_twice_is_refused() -> None:
    """Two settings under one name would be averaged as if they were seeds."""
    with pytest.raises(UsageError, match="/runs/cod-0 and /runs/elsewhere; leave one out, or run"):
        group([run(), run(url="/runs/elsewhere")])
    assert 1 == len(group([run()]))
    assert 2 == len(group([run(), run(url="/runs/elsewhere", name="another")]))


def test_observers_part_runs_only_where_nothing_else_does() -> None:
    """They change nothing that is compared: a seed that was run without them is still one more; but
    a sweep over them would be refused when all is computed."""
    watched, alone = {"observers": [{"name": "margin"}]}, {"observers": []}
    seeds = only([run(seed=0, beside=watched), run(seed=1, beside=alone)])
    swept = only([run(beside=watched), run(beside=alone)])

    assert ["cod"] == [arm.label for arm in seeds.arms]
    assert ["cod (observers=[])", "cod (observers=margin)"] == [arm.label for arm in swept.arms]


def test_other_data_is_another_arm() -> None:
    """Two folders of photographs under one name would be averaged as if they were seeds."""
    cats, dogs = ({"data": each, "dataset": "image_folder"} for each in "cd")
    at = {"cats": cats, "dogs": dogs}
    placed = only([run(settings=each, place=f"/data/{name}") for name, each in at.items()])
    moved = only([run(settings=cats, place="/a"), run(seed=1, settings=cats, place="/b")])
    grown = only([run(settings=cats, place="/a"), run(settings=dogs, place="/a")])

    assert ["cod (root=cats)", "cod (root=dogs)"] == [arm.label for arm in placed.arms]
    assert ["cod"] == [arm.label for arm in moved.arms]
    assert ["cod (data=c)", "cod (data=d)"] == [arm.label for arm in grown.arms]


def test_what_identity_counts_of_compute_parts_arms() -> None:
    """A sweep over it would end without a table, or two kinds of runs be averaged."""
    x = record([]).experiment()
    compute = {"device": "cpu", "score_batch": 64, "scorers": 2, "engine": "local"}

    assert {"compute.device", "compute.score_batch"} <= {*settings({**x, "compute": compute})}
    assert settings(x | {"compute": compute}) == settings(
        x | {"compute": {**compute, "scorers": 3}}
    )


def test_a_point_that_a_seed_lacks_is_a_gap() -> None:
    """A mean over other seeds than its neighbours' jumps for no reason."""
    g = only([run(seed=0), run(seed=1, points={10: 0.7})])
    (arm,) = g.arms
    at_10 = arm.at(10)

    assert at_10 is not None and arm.at(20) is None
    assert_allclose((at_10.mean, at_10.n), (0.6, 2))
    assert [0.7] == arm.values(20)


def test_arms_with_other_label_counts_stay_whole() -> None:
    """Two budgets in one figure would tear each other's lines apart."""
    g = only([run("cod", 0), run("random", 0, {15: 0.4, 25: 0.6})])
    cod, random = g.arms

    assert ([10, 20], [15, 25], [10, 15, 20, 25]) == (cod.labels, random.labels, g.labels)
    assert all(arm.at(labels) for arm in g.arms for labels in arm.labels)


def test_areas_are_taken_over_shared_labels_of_complete_runs() -> None:
    """A run with more labels would win by its range; one that is going on would shorten all."""
    g = only(
        [
            run("cod", 0, {10: 0.5, 20: 0.7, 30: 0.9}),
            run("random", 0, {10: 0.4, 20: 0.6}),
            run("random", 1, {10: 0.1}, complete=False),
        ]
    )
    cod, random = g.arms

    assert [10, 20] == g.shared
    assert_allclose((g.areas(cod)[0], g.areas(random)[0]), (0.6, 0.5))
    assert {0} == g.areas(random).keys()
    assert "n = 2, 1 partial" == random.size


def test_no_area_without_a_range() -> None:
    """One point has no area, and no complete run has no points."""
    assert {} == (g := only([run(points={10: 0.5})])).areas(g.arms[0])
    assert {} == (g := only([run(complete=False)])).areas(g.arms[0])


def curves(strategy: str, heights: list[float]) -> list[Run]:
    """A flat curve per seed: its area is its height."""
    return [run(strategy, seed, {10: h, 20: h}) for seed, h in enumerate(heights)]


def test_pairs_use_common_seeds_only() -> None:
    """Only what shares a first set and a first model can be subtracted."""
    g = only(curves("cod", [0.6, 0.7, 0.85, 0.9]) + curves("random", [0.5, 0.6, 0.7]))
    (pair,) = g.pairs

    assert 3 == pair.test.difference.n
    assert_allclose(pair.test.difference.mean, 0.35 / 3)


def test_only_runs_that_began_alike_are_pairs() -> None:
    """A strategy would win by a luckier first set; the seed alone does not make a pair (L05)."""
    began = {0: frozenset("ab"), 1: frozenset("cd"), 2: frozenset("ef")}
    cod = [replace(r, initial=began[r.seed]) for r in curves("cod", [0.6, 0.7, 0.8])]
    random = [replace(r, initial=began[r.seed]) for r in curves("random", [0.5, 0.6, 0.7])]
    random[1] = replace(random[1], initial=frozenset("xy"))
    g = only(cod + random)
    (pair,) = g.pairs

    assert 2 == pair.test.difference.n
    assert [("cod", "random", [1])] == g.unpaired
    assert [] == only(cod).unpaired


@pytest.mark.parametrize(
    ("cod", "verdict"),
    [
        ([0.61, 0.71, 0.82], "cod higher"),
        ([0.41, 0.51, 0.62], "random higher"),
        ([0.5, 0.6, 0.7], "tie"),
        ([0.4, 0.7, 0.7], "not separated"),
        ([0.9], "needs 2 seeds"),
    ],
)
def test_verdicts(cod: list[float], verdict: str) -> None:
    """The word that people remember."""
    (pair,) = only(curves("cod", cod) + curves("random", [0.5, 0.6, 0.7])).pairs

    assert verdict == pair.verdict


def test_all_pairs_are_adjusted_together() -> None:
    """Among 10 strategies 2 of 45 pairs differ by chance alone."""
    g = only(
        curves("cod", [0.61, 0.71, 0.82])
        + curves("margin", [0.4, 0.7, 0.7])
        + curves("random", [0.5, 0.6, 0.7])
    )
    p = {pair.test.p for pair in g.pairs}

    assert 3 == len(g.pairs)
    assert_allclose(min(pair.holm or 0 for pair in g.pairs), 3 * min(x for x in p if x is not None))


def test_of_many_arms_only_pairs_with_the_baseline_are_tested() -> None:
    """A correction for 276 pairs would call every difference nothing."""
    arms = [run(name, seed) for name in "abcdef" for seed in range(3)]
    arms += [run("random", seed, scheme=s) for s in ("supervised", "tod") for seed in range(3)]
    arms += [run("a", seed, scheme="tod") for seed in range(3)]
    pairs = {(pair.first, pair.second) for pair in only(arms).pairs}

    expected = {(f"{name} (supervised)", "random (supervised)") for name in "abcdef"}
    assert pairs == expected | {
        ("a (tod)", "random (tod)"),
        ("random (supervised)", "random (tod)"),
    }
