"""What people are told of a choice, by hand."""

import pytest

from rayal.cycle.guarded import Distances, Near, Nearest
from rayal.cycle.told import Pair, balance, columns, lines, listed, over, pairs, quantiles

IDS = ["a", "b", "c"]
KNOWN = Distances(
    labeled=Nearest(["x", "y", "x"], [4.0, 2.0, 8.0]),
    chosen=Nearest([None, "a", "b"], [None, 3.0, 1.0]),
    too_near=[Near("d", 0.5, "a", "chosen", 0.25)],
)


def test_columns_of_the_table() -> None:
    """A number beside the wrong unit would be worse than none."""
    assert {
        "to_labeled": [4.0, 2.0, 8.0],
        "nearest_labeled": ["x", "y", "x"],
        "to_chosen": [None, 3.0, 1.0],
        "nearest_chosen": [None, "a", "b"],
    } == columns(KNOWN)
    assert {} == columns(None)


def test_quantiles() -> None:
    """The first unit has none before it; where nothing is labeled there are no quantiles."""
    found = quantiles(KNOWN)

    assert (2.0, 4.0, 8.0) == tuple(found["labeled"][name] for name in ("0%", "50%", "100%"))
    assert pytest.approx(2.2) == found["labeled"]["5%"]
    assert (1.0, 2.0, 3.0) == tuple(found["chosen"][name] for name in ("0%", "50%", "100%"))
    nothing = Nearest([None], [None])
    assert {} == quantiles(Distances(nothing, nothing, [])) == quantiles(None)


def test_pairs_are_the_nearest_of_each_unit() -> None:
    """A pair would be missed where the labeled neighbour is farther than the chosen one."""
    assert [
        Pair("c", "b", 1.0, "chosen"),
        Pair("b", "y", 2.0, "labeled"),
        Pair("a", "x", 4.0, "labeled"),
    ] == pairs(IDS, KNOWN)


def test_balance() -> None:
    """The class that is bought most stands first."""
    assert [("dog", 2), ("cat", 1)] == list(balance(["cat", "dog", "dog"]).items())
    assert {} == balance(None)
    many = {f"class {n}": 1 for n in range(30)}
    assert listed(many).startswith("class 0 1, class 1 1, ")
    assert listed(many).endswith("class 9 1 and 20 more classes")


def test_lines() -> None:
    """What `rayal select` says: each cause that had an effect, the quantiles, the nearest pairs."""
    assert [
        "passed over  2 too near",
        "predicted    dog 3",
        "to labeled   0% 2, 5% 2.2, 25% 3, 50% 4, 75% 6, 100% 8",
        "to chosen    0% 1, 5% 1.1, 25% 1.5, 50% 2, 75% 2.5, 100% 3",
        "nearest      1 between c and b",
        "             2 between b and y",
        "             4 between a and x",
        "too near     0.25 between d and a",
    ] == [*lines(IDS, {"labeled": 0, "too near": 2}, {"dog": 3}, KNOWN)]
    assert [] == [*lines(IDS, {"too near": 0}, {}, None)]
    assert "12 too near, 3 class full" == over({"too near": 12, "class full": 3, "labeled": 0})
