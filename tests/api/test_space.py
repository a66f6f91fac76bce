"""A space of a sweep in Python is that of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.api.space import plain
from rayal.errors import UsageError
from rayal.experiment.sweep.space import check
from rayal.strategies.cod import Cod
from rayal.training.augment import Augment


@pytest.mark.parametrize(
    ("python", "file"),
    [
        (["random", "cod"], {"grid_search": ["random", "cod"]}),
        ({"grid_search": ["random", "cod"]}, {"grid_search": ["random", "cod"]}),
        ({"loguniform": [0.1, 1]}, {"loguniform": [0.1, 1]}),
        ({"loguniform": (0.1, 1)}, {"loguniform": [0.1, 1]}),
        ({"choice": [(8, 8), [4, 4]]}, {"choice": [[8, 8], [4, 4]]}),
        ([(8, 8), (4, 4)], {"grid_search": [[8, 8], [4, 4]]}),
        ((8, 8), [8, 8]),
        (np.array([0.5, 1.0]), {"grid_search": [0.5, 1.0]}),
        ([np.float64(0.5)], {"grid_search": [0.5]}),
        (range(2), {"grid_search": [0, 1]}),
        (Path("a/b"), "a/b"),
        (
            ["supervised", {"name": "tod", "weight": [0.1, 0.2]}],
            {"grid_search": ["supervised", {"name": "tod", "weight": {"grid_search": [0.1, 0.2]}}]},
        ),
    ],
)
def test_values_by_hand(python: Any, file: Any) -> None:
    """Another sweep would run than the one that was written down, or numbers of numpy not be
    stored."""
    found = plain({"scheme": {"lr": python}})

    assert {"scheme": {"lr": file}} == found
    assert repr({"scheme": {"lr": file}}) == repr(found)
    check(found, searched=False)


def test_a_part_is_its_fields() -> None:
    """An instance would be lost on the way to a worker, or its fields be taken for grids."""
    found = plain({"strategy": [Cod(), "random"], "scheme": {"augment": [Augment()]}})
    first, second = found["strategy"]["grid_search"]

    assert ("cod", "random") == (first["name"], second)
    assert first == Cod().model_dump(mode="json")
    assert Augment().model_dump(mode="json") == found["scheme"]["augment"]["grid_search"][0]


@pytest.mark.parametrize("value", [Cod, object(), {1, 2}, lambda: 1])
def test_what_a_file_cannot_hold(value: Any) -> None:
    """It would be stored as text, and never be found again."""
    with pytest.raises(UsageError, match=r"space.strategy.1: .* cannot be varied; give a value"):
        plain({"strategy": ["random", value]})
    assert plain({"strategy": ["random", Cod()]})
