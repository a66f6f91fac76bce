"""What is varied: every arm once, draws that are paired, and mistakes named at the start."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from rayal.engine.draws import all_arms
from rayal.experiment.sweep.settings import Sweep
from rayal.experiment.sweep.space import (
    arms,
    check,
    joined,
    narrowed,
    proposes,
    samples,
    split,
)

TOD = {"name": "tod", "weight": {"loguniform": [0.005, 0.5]}}
SPACE = {
    "strategy": {"grid_search": ["random", "cod"]},
    "scheme": {"grid_search": ["supervised", TOD]},
}


def sweep(**fields):
    return Sweep.model_validate({"space": SPACE, "seeds": [0], **fields})


def number(n, name, arguments, place):
    return f"{name}{n}"


def test_grids_multiply_in_the_order_they_are_written() -> None:
    """A missing or doubled cell of a table would go unnoticed among sixty trials."""
    space = {"a": {"grid_search": [1, 2]}, "b": {"c": {"grid_search": ["x", "y"]}, "d": 5}}
    expected = [{"a": a, "b": {"c": c, "d": 5}} for a, c in itertools.product([1, 2], ["x", "y"])]
    assert arms(space, 1, number) == expected
    assert arms(space, 3, number) == expected, "nothing is drawn, so three samples are one"


def test_what_is_not_drawn_is_not_repeated() -> None:
    """`supervised` has no weight: four samples of it would be the same trials four times."""
    made = all_arms(sweep(samples=4))
    assert Counter(str(arm["scheme"])[:10] for arm in made)["supervised"] == 2
    assert len(made) == 2 * (1 + 4)


def test_draws_are_paired_between_the_points_of_a_grid() -> None:
    """A strategy that had got the luckier weights would win for nothing."""
    drawn = {
        name: [
            a["scheme"]["weight"]
            for a in all_arms(sweep(samples=5))
            if a["strategy"] == name and a["scheme"] != "supervised"
        ]
        for name in ("random", "cod")
    }
    assert drawn["random"] == drawn["cod"]
    assert len(set(drawn["cod"])) == 5


def test_more_samples_and_options_keep_the_draws_there_were() -> None:
    """A sweep that is extended would otherwise run everything again."""
    few = all_arms(sweep(samples=2))
    more = all_arms(sweep(samples=5))
    wider = SPACE | {"strategy": {"grid_search": ["random", "cod", "entropy"]}}
    assert all(arm in more for arm in few)
    assert all(arm in all_arms(sweep(samples=2, space=wider)) for arm in few)
    assert all_arms(sweep(samples=2, seed=1)) != few


@pytest.mark.parametrize(
    ("function", "distribution"),
    [
        ({"uniform": [2.0, 4.0]}, stats.uniform(2, 2)),
        ({"loguniform": [0.005, 0.5]}, stats.loguniform(0.005, 0.5)),
        ({"randn": [1.0, 3.0]}, stats.norm(1, 3)),
    ],
)
def test_draws_have_the_distribution_of_their_name(function, distribution) -> None:
    made = all_arms(sweep(space={"x": function}, samples=400))
    assert stats.kstest([arm["x"] for arm in made], distribution.cdf).pvalue > 0.001


def test_drawn_integers_are_integers_and_choices_are_options() -> None:
    """numpy numbers would not go into a configuration."""
    space = {"n": {"randint": [3, 9]}, "c": {"choice": ["a", "b"]}}
    made = all_arms(sweep(space=space, samples=60))
    assert all(type(arm["n"]) is int and 3 <= arm["n"] < 9 for arm in made)
    assert {arm["c"] for arm in made} == {"a", "b"}
    assert not any(isinstance(v, np.generic) for arm in made for v in arm.values())


@pytest.mark.parametrize(
    ("space", "said", "step"),
    [
        (
            {"lr": {"loguniforn": [1, 2]}},
            "space.lr: there is no function 'loguniforn'; did you mean 'loguniform'",
            {"lr": {"loguniform": [1, 2]}},
        ),
        (
            {"s": {"lr": {"uniform": [1]}}},
            "space.s.lr: uniform takes 2 arguments, got 1",
            {"s": {"lr": {"uniform": [1, 2]}}},
        ),
        (
            {"lr": {"uniform": ["a", "b"]}},
            "space.lr: uniform takes numbers",
            {"lr": {"uniform": [0, 1]}},
        ),
        (
            {"lr": {"grid_search": []}},
            "space.lr: grid_search needs a list with one option",
            {"lr": {"grid_search": [1]}},
        ),
        ({"lr": {"choice": 3}}, "space.lr: choice needs a list", {"lr": {"choice": [3]}}),
    ],
)
def test_a_function_that_cannot_be_drawn_is_named(space, said, step) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        check(space, searched=False)
    check(step, searched=False)


@pytest.mark.parametrize(
    ("space", "said", "written"),
    [
        (SPACE, "has no grids; write choice, or search random", {"scheme": {"choice": ["tod"]}}),
        (
            {"scheme": {"choice": ["supervised", {"name": "tod"}]}},
            "names and numbers only; write such, or search random",
            {"scheme": {"choice": ["supervised", "tod"]}},
        ),
    ],
)
def test_a_search_has_no_grids_and_no_parts_to_choose(space, said, written) -> None:
    """Optuna would be asked for what it cannot draw, an hour into the sweep."""
    with pytest.raises(ValueError, match=f"search optuna.*{said}"):
        sweep(space=space, search="optuna")
    sweep(space=written, search="optuna")
    sweep(space=space, search="random")


def test_an_arm_of_a_search_is_put_together_again() -> None:
    """What Optuna proposes has flat keys; an experiment's are nested."""
    space = {"scheme": {"name": "tod", "weight": {"uniform": [0, 1]}}, "lr": {"uniform": [0, 1]}}
    drawn, fixed = split(space)
    assert set(drawn) == {"scheme.weight", "lr"}
    arm = joined(fixed, {"scheme.weight": 0.5, "lr": 0.1})
    assert arm == {"scheme": {"name": "tod", "weight": 0.5}, "lr": 0.1}
    assert fixed == {"scheme": {"name": "tod"}}, "the next arm starts from the same"


@pytest.mark.parametrize(
    ("fields", "said", "step"),
    [
        ({"seeds": [1, 1]}, "seeds: 1 is given twice", {"seeds": [1, 2]}),
        ({"seeds": []}, "at least 1 item", {"seeds": [1]}),
        (
            {"search": "optuna", "space": {"lr": {"uniform": [0, 1]}}, "early_stopping": {}},
            "leave early_stopping out, or use random",
            {"early_stopping": None},
        ),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(fields, said, step) -> None:
    with pytest.raises(ValueError, match=said):
        sweep(**fields)
    sweep(**fields | step)
    sweep(**fields | {"search": "random", "seeds": [1]})


SEARCHED = {
    "strategy": {"choice": ["random", "cod"]},
    "scheme": {"name": "tod", "weight": {"loguniform": [0.01, 0.1]}},
}


def searched(**changes):
    return {**SEARCHED, **changes}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (searched(), []),
        (searched(strategy={"choice": ["cod", "margin", "random"]}), []),
        (searched(scheme={"name": "tod", "weight": {"loguniform": [0.001, 1]}}), []),
        (searched(strategy={"choice": ["cod"]}), ["strategy: {"]),
        (searched(strategy="cod"), ["strategy: (absent) -> ", "strategy: {"]),
        (searched(scheme={"name": "tod", "weight": {"loguniform": [0.02, 1]}}), ["scheme.weight"]),
        (searched(scheme={"name": "tod", "weight": {"uniform": [0.01, 0.1]}}), ["scheme.weight"]),
        (searched(start={"choice": ["cold"]}), ["start: (absent) -> {"]),
        (searched(scheme={"name": "isda", "weight": {"loguniform": [0.01, 0.1]}}), ["scheme.name"]),
    ],
)
def test_a_searched_space_may_grow_only(new, said) -> None:
    """What was proposed before would be no point of the space, or be forgotten."""
    found = list(narrowed(SEARCHED, new))

    assert len(said) == len(found)
    assert all(f"sweep.space.{part}" in line for part, line in zip(said, found, strict=True))


def test_which_arms_a_search_may_have_proposed() -> None:
    """An arm of another space would be told to the algorithm as one of this."""
    arm = {"strategy": "cod", "scheme": {"name": "tod", "weight": 0.02}}

    assert proposes(SEARCHED, arm)
    assert not proposes(SEARCHED, {**arm, "strategy": "margin"})
    assert not proposes(SEARCHED, {**arm, "start": "cold"})
    assert not proposes(SEARCHED, {"strategy": "cod", "scheme": "tod"})
    assert not proposes(SEARCHED, {**arm, "scheme": {"name": "tod", "weight": 0.2}})
    assert all(proposes(SEARCHED, each) for each in samples(SEARCHED))


def test_what_a_search_may_propose_is_looked_at_before() -> None:
    """A misspelt option would be found an hour into the sweep."""
    space = {"a": {"choice": ["x", "y"]}, "b": {"uniform": [0, 1]}, "c": {"choice": [1, 2]}}
    space |= {"n": {"randn": [3, 1]}, "i": {"randint": [2, 5]}}
    rest = {"b": 0.5, "n": 3, "i": 2}

    assert [
        {"a": "x", "c": 1, **rest},
        {"a": "y", "c": 1, **rest},
        {"a": "x", "c": 2, **rest},
    ] == samples(space)
