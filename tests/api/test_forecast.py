"""`rayal.forecast`: what finished runs say of more labels, and of what nothing can be said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import StorageError, UsageError
from tests.support import untested

SIX = {"initial": 15, "per_cycle": 15, "total": 90}
SCHEME = {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05}


@pytest.fixture(scope="module")
def six(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of six cycles: two seeds of one arm, and one of another."""
    folder = tmp_path_factory.mktemp("six")
    data = {"name": "digits", "limit_pool": 120, "limit_test": 60}
    for strategy, seed in (("random", 0), ("random", 1), ("margin", 0)):
        x = tiny(strategy=strategy, seed=seed, scheme=SCHEME, budget=SIX, dataset=data)
        rayal.run(x, folder / f"{strategy}-{seed}")
    return folder


def curve(folder: Path) -> list[tuple[int, float]]:
    shown = rayal.open_run(folder).curve()
    return [*zip(shown["labels"], shown["accuracy"], strict=True)]


def test_seeds_of_an_arm_are_one_curve(six: Path) -> None:
    """A forecast would be of one seed's luck, or of two arms together."""
    margin, random = rayal.forecast(six).to_dict()["arms"]
    first, second = curve(six / "random-0"), curve(six / "random-1")
    means = [(a, (x + y) / 2) for (a, x), (_, y) in zip(first, second, strict=True)]

    assert (margin["arm"], margin["seeds"]) == ("margin", [0])
    assert (random["arm"], random["seeds"]) == ("random", [0, 1])
    assert [p["at"] for p in random["points"]] == [at for at, _ in means]
    assert [p["value"] for p in random["points"]] == pytest.approx([value for _, value in means])
    assert {p["images"] for p in random["points"]} == {120}
    assert [(p["at"], p["value"]) for p in margin["points"]] == curve(six / "margin-0")
    assert {p["images"] for p in margin["points"]} == {60}


def test_the_numbers_fit_together(six: Path) -> None:
    """Prices and labels of one forecast would contradict each other."""
    found = rayal.forecast(six / "margin-0", target=0.5, labels=180, price=0.08)
    (told,) = json.loads(json.dumps(found.to_dict()))["arms"]
    (row,) = found.table().to_dict("records")
    (said,), reach, next_ = told["expected"], told["reach"], told["next"]

    assert (row["labels"], row["times_measured"], row["cost"]) == (180, 2, pytest.approx(7.2))
    assert 0 <= said["low"] <= said["value"] <= said["high"] <= 1
    assert (said["value"], said["low"]) == (row["value"], row["low"])
    assert (next_["labels"], next_["cost"]) == (15, pytest.approx(1.2))
    if next_["gain"]["value"] > 0:
        per_point = 1.2 / (100 * next_["gain"]["value"])
        assert next_["per_point"] == pytest.approx(per_point)
    assert told["farthest"] == 360 and reach["target"] == 0.5
    if reach["value"] is not None:
        assert reach["cost"] == pytest.approx(0.08 * max(0, reach["value"] - 90))
    assert rayal.open_run(six / "margin-0").forecast(
        target=0.5, labels=180, price=0.08
    ).to_dict() == {"arms": [told]}


def test_nothing_is_said_of_what_is_too_far(six: Path) -> None:
    """An extrapolation to a hundred times the labels would look like an answer."""
    found = rayal.forecast(six / "margin-0", labels=361)
    nearer = str(rayal.forecast(six / "margin-0", labels=360))

    assert "361 labels are 4.0 times those measured: nothing is said of so many" in str(found)
    assert found.table()[["value", "low", "high"]].isna().all(axis=None)
    assert "nothing is said of so many" not in nearer


def test_it_fits_a_terminal(six: Path) -> None:
    """Lines would be folded in the middle of a number; every number has its interval."""
    found = rayal.forecast(six, target=0.9999, price=0.08)
    lines = str(found).splitlines()

    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith("tiny on digits: ")] == [
        line for line in lines if "seed" in line and "cycles" in line
    ]
    assert all("(" in line for line in lines if line.startswith(("expected", "next")))
    assert "90 % intervals" in lines[-2] + lines[-1]
    assert repr(found) == "<Forecast of 2 arms, 2 of them known>"
    assert found._repr_html_().startswith("<pre")


def test_too_few_cycles_say_nothing(runs: Path) -> None:
    """Three numbers would be fitted to two points."""
    found = rayal.forecast(runs / "random-0", target=0.9)

    assert found.outlooks[0].why == "2 points are too few to say anything; 4 are needed"
    assert "unknown  2 points are too few" in str(found)
    assert len(found.table()) == 0 and found.to_dict()["arms"][0]["why_not"] is not None
    assert "interval" not in str(found)


@pytest.fixture(scope="module")
def alone(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs without test images: of random, of margin, and of random within limits."""
    folder = tmp_path_factory.mktemp("alone")
    data = untested.dataset(folder / "data")
    for name, fields in {
        "random": {"strategy": "random"},
        "margin": {"strategy": "margin"},
        "limited": {"strategy": "random", "guards": {"per_class": 12}},
    }.items():
        x = tiny(dataset=data, scheme=SCHEME, budget=SIX, **fields)
        rayal.run(x, folder / "runs" / name)
    return folder / "runs"


def test_labels_drawn_at_random_stand_in_for_test_images(alone: Path) -> None:
    """Without a test set nobody could know when to stop; each point is of the model before."""
    found = rayal.forecast(alone / "random")
    (told,) = found.to_dict()["arms"]
    shown = rayal.open_run(alone / "random").curve()

    assert told["measured_on"] == "labels drawn at random"
    assert [p["at"] for p in told["points"]] == [15, 30, 45, 60, 75]
    assert [p["value"] for p in told["points"]] == [*shown["new_accuracy"][1:]]
    assert {p["images"] for p in told["points"]} == {15}
    assert "labels drawn at random, new to each model" in " ".join(str(found).split())


@pytest.mark.parametrize("name", ["margin", "limited"])
def test_of_what_a_strategy_picked_nothing_is_known(alone: Path, name: str) -> None:
    """The picks of a strategy are no sample of the pool: a number would be made up."""
    found = rayal.forecast(alone / name, target=0.9)

    assert "there is no test set" in str(found) and found.outlooks[0].curve is None
    assert "nothing can be known; give the dataset test images" in " ".join(str(found).split())
    assert rayal.forecast(alone / "random").outlooks[0].curve is not None  # beside it


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"target": 95}, r"target: 95 is not in \(0, 1\]; write 95 % as 0.95"),
        ({"target": 0}, "target: 0 is not in"),
        ({"labels": 0}, "labels: 0 is no number of labels; use 1 or more"),
        ({"price": -1}, "price: -1 is no price; use 0 or more"),
    ],
)
def test_what_cannot_be_asked(six: Path, asked: dict[str, Any], told: str) -> None:
    """95 % would be taken for 9,500 %."""
    with pytest.raises(UsageError, match=told):
        rayal.forecast(six, **asked)
    rayal.forecast(six / "margin-0", target=0.95, labels=1, price=0)


def test_it_is_drawn(six: Path, tmp_path: Path) -> None:
    """The figure would lack an arm, or what was measured; equal forecasts are equal bytes."""
    found = rayal.forecast(six, target=0.9)
    png, svg = found.draw(tmp_path / "figures")
    axes = found.plot().axes

    assert [ax.get_title(loc="left") for ax in axes] == [
        "tiny on digits: margin",
        "tiny on digits: random",
    ]
    assert axes[0].lines[2].get_xydata().tolist() == [
        [at, pytest.approx(100 * value)] for at, value in curve(six / "margin-0")
    ]
    assert png.stat().st_size > 10_000 and svg.read_bytes() == found.draw(tmp_path)[1].read_bytes()


def test_a_bad_folder_hides_no_other(six: Path, tmp_path: Path) -> None:
    """One damaged run would hide what the others say, or pass unnoticed."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    (tmp_path / "bad" / "experiment.yaml").write_text("")
    found = rayal.forecast([six, tmp_path])

    assert len(found.outlooks) == 2
    with pytest.raises(StorageError):
        found.check()
    with pytest.raises(UsageError, match="no run folder is there"):
        rayal.forecast(tmp_path / "absent")
