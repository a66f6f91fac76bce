"""Choice, loss and classes apart: Figs. 9 to 11 of TOD."""

from collections.abc import Callable
from pathlib import Path

import ablation
import numpy as np
import pytest
from ablation import CHANCE, PLAIN, arms, choice, differences, last_changes, loss

from rayal.errors import UsageError
from rayal.report.per_class import Grid
from rayal.report.runs import Run
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
Rows = list[dict[str, str]]


def a_run(
    strategy: str, scheme: str, seed: int, points: dict[int, float], **settings: object
) -> Run:
    url = f"/runs/{strategy}-{scheme}-{seed}"
    return Run("x", "digits", strategy, scheme, seed, "accuracy", points, True, url,
               settings=dict(settings))  # fmt: skip


FLAT = {seed: {100: level, 200: level} for seed, level in enumerate((0.5, 0.6, 0.7))}


def test_arms_of_both_figures() -> None:
    """A strategy under another training would be read as a better choice, and the other way."""
    runs = [
        a_run("cod", "supervised", 0, FLAT[0]),
        a_run("random", "supervised", 0, FLAT[0]),
        a_run("cod", "tod", 0, FLAT[0]),
        a_run("random", "tod", 0, FLAT[0]),
    ]

    assert {"random": [runs[1]], "cod": [runs[0]]} == arms(runs, choice, CHANCE)
    assert ["random", "cod"] == list(arms(runs, choice, CHANCE))
    assert {"supervised": [runs[0]], "tod": [runs[2]]} == arms(runs, loss, PLAIN)
    assert ["tod"] == list(arms(runs[2:], loss, PLAIN))


def test_differences_by_hand() -> None:
    """Flat curves, 1, 2 and 3 points apart, seed by seed: mean 2, sd 1, half 4.303 / sqrt(3), t =
    2 sqrt(3) with two degrees of freedom: p = 0.0742. A seed without a partner does not count, nor
    a label count that one arm lacks."""
    ours = [{at: y + (seed + 1) / 100 for at, y in FLAT[seed].items()} for seed in FLAT]
    base = [a_run("random", "supervised", seed, {**FLAT[seed], 300: 0.9}) for seed in FLAT]
    alone = a_run("cod", "supervised", 7, FLAT[0])
    cod = [a_run("cod", "supervised", seed, ours[seed]) for seed in FLAT]
    (found,) = differences({"random": base, "cod": [*cod, alone]})

    assert ("cod", "random", "100 to 200", 3) == tuple(found.values())[:4]
    assert found["difference"] == pytest.approx(2)
    assert found["half"] == pytest.approx(2.484, abs=1e-3)
    assert found["p"] == pytest.approx(0.0742, abs=1e-4)
    assert [] == differences({"random": base, "cod": [a_run("cod", PLAIN, 0, {100: 0.5})]})
    assert [] == differences({"random": base, "cod": [alone]})


def test_last_changes_by_hand() -> None:
    """Class a falls by 10 and 20 points, class b is once not there, and a run that is not as far
    is left out."""

    def grid(seed: int, values: list[list[float]]) -> Grid:
        cycles, run = tuple(range(len(values[0]))), a_run("cod", "tod", seed, {})
        labels = tuple(100 * (cycle + 1) for cycle in cycles)
        return Grid(run, "per_class_accuracy", "samples", ("a", "b"), cycles, labels,
                    tuple(map(float, labels)), np.array(values))  # fmt: skip

    whole = [
        grid(0, [[0.1, 0.9, 0.8], [0.5, 0.5, 0.6]]),
        grid(1, [[0.1, 0.9, 0.7], [0.5, np.nan, 0.6]]),
    ]
    a, b = last_changes([*whole, grid(2, [[0.1, 0.2], [0.1, 0.2]])])

    assert ("cod", "tod", "a", 2) == (a["strategy"], a["scheme"], a["class"], a["seeds"])
    assert (a["cycle 1"], a["cycle 2"], a["change"]) == pytest.approx((90, 75, -15))
    assert (b["seeds"], b["half"]) == (1, None) and b["change"] == pytest.approx(10)
    assert [] == last_changes([grid(0, [[0.1], [0.5]])])


def test_runs_that_are_no_seeds_of_each_other_are_refused() -> None:
    """Their mean would be of nothing."""
    runs = [a_run("cod", "tod", 0, {}, lr=0.1), a_run("cod", "tod", 1, {}, lr=0.2)]

    with pytest.raises(UsageError, match="differ in more than the seed"):
        ablation.alike(runs)
    ablation.alike([runs[0], a_run("cod", "supervised", 0, {}, lr=0.2)])


def test_end_to_end(
    runs: list[str],
    finished: Callable[..., str],
    program: Callable[..., int],
    rows: Callable[[Path], Rows],
    assert_drawn: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program as a user starts it: Fig. 9 of two choices, no Fig. 10 of one loss, and the
    accuracies of classes that the runs measured."""
    budget = {"initial": 20, "per_cycle": 20, "total": 80}
    chance = finished("ablation-random", strategy="random", budget=budget)

    assert program("analyse/ablation.py", *runs, chance, "--out", tmp_path, "--no-tracking") == 0
    said = capsys.readouterr().out
    assert_drawn(tmp_path / "tod_fig9")
    assert not (tmp_path / "tod_fig10.csv").exists() and "tod_fig10: fewer than two arms" in said
    assert "| cod | random | 20 to 80 | 1 |" in said
    assert 3 * 4 == len(rows(tmp_path / "tod_fig9.csv"))
    eleventh = rows(tmp_path / "tod_fig11.csv")
    evaluated = Record(Folder(runs[0])).result(3, Evaluated)
    assert evaluated is not None
    found = [
        float(row["accuracy"]) / 100
        for row in eleventh
        if (row["strategy"], row["seed"], row["cycle"]) == ("cod", "0", "3")
    ]
    assert found == pytest.approx(evaluated.metrics["per_class_accuracy"])
