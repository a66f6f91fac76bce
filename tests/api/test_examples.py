"""What the docstrings of the Python API show is what happens."""

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayal
from tests.support.finished_sweep import finish

ROOT = Path(rayal.__file__).parents[1]
BARE = {"__version__", "testing"}
"""Names that are neither a function nor a class."""


def examples() -> list[doctest.DocTest]:
    """The examples of all public functions and classes, those of methods too."""
    given = {"rayal": rayal, "np": np, "torch": torch}
    finder, found = doctest.DocTestFinder(), list[doctest.DocTest]()
    for name in PUBLIC:
        value = getattr(rayal, name)
        found += finder.find(value, f"rayal.{name}", globs=given)
    return [each for each in found if each.examples]


PUBLIC = sorted(set(rayal.__all__) - BARE)
EXAMPLES = examples()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Path]:
    """A working directory like the repository's root, with the complete runs `runs/mine` and
    `runs/long`, of six cycles, and the sweep `sweeps/mine`."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "configs").symlink_to(ROOT / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        x = rayal.load(
            "configs/digits/base.yaml",
            set=["compute.engine=local", "scheme.epochs=2"],
            strategy="entropy",
            budget={"total": 100},
            tracking="none",
        )
        rayal.run(x, "runs/mine")
        longer = {"initial": 50, "per_cycle": 10, "total": 100}
        rayal.run(x.model_copy(update={"budget": rayal.Budget(**longer)}), "runs/long")
        sweep = {"space": {"strategy": {"grid_search": ["random", "entropy"]}}, "seeds": [0]}
        block = {**x.model_dump(mode="json"), "sweep": sweep}
        finish(rayal.SweptExperiment.model_validate(block), Path("sweeps/mine"))
        yield folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(place: Path, example: doctest.DocTest) -> None:
    """The first thing that a user copies would not work, or give something else."""
    told: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append)

    assert "" == "".join(told)


def test_every_function_has_an_example() -> None:
    """A function without one is found by nobody."""
    shown = {example.name.split(".")[1] for example in EXAMPLES}
    public = {name: getattr(rayal, name) for name in PUBLIC}
    functions = {
        n for n, value in public.items() if inspect.isfunction(value) and of_the_api(value)
    }

    assert set() == functions - shown


def of_the_api(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("rayal.api.")


def test_every_public_name_is_typed() -> None:
    """An editor would know nothing of it, and `mypy --strict` refuse to call it."""
    source = inspect.getsource(rayal)
    _, _, rest = source.partition("if TYPE_CHECKING:\n")
    typed, _, _ = rest.partition("\n\n")

    assert [] == [name for name in PUBLIC if f" as {name}\n" not in f"{typed}\n"]
    assert [] == [
        f"{name}({parameter})"
        for name in PUBLIC
        if of_the_api(value := getattr(rayal, name)) and inspect.isfunction(value)
        for parameter in unannotated(value)
    ]


def unannotated(function: Any) -> list[str]:
    """The parameters without a type, and `return`."""
    wanted = {*inspect.signature(function).parameters, "return"}
    return sorted(wanted - inspect.get_annotations(function).keys())


def test_public_names_are_where_they_are_said_to_be() -> None:
    """`dir(rayal)` is what an editor completes."""
    assert set(PUBLIC) <= set(dir(rayal))
    for name in PUBLIC:
        home = importlib.import_module(rayal._HOMES[name])
        assert getattr(rayal, name) is getattr(home, name)
