"""`import rayal`: what it offers, and that it costs nothing before it is used."""

import inspect
import json
import subprocess
import sys
from typing import Any, get_args, get_type_hints

import pytest

import rayal

LAZY = "torch torchvision ray mlflow matplotlib pandas scipy sklearn pyarrow pydantic yaml".split()
CODE = f"""
import json, sys, time
before = time.process_time()
import pytest

import rayal
seconds = time.process_time() - before
loaded = [name for name in {LAZY!r} if name in sys.modules]
print(json.dumps([seconds, loaded, dir(rayal)]))
"""


def test_import_costs_nothing() -> None:
    """A script that only asks for the version, or a completion, would wait for torch."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    seconds, loaded, names = json.loads(done.stdout)

    assert [] == loaded
    assert seconds < 0.3
    assert set(rayal.__all__) <= set(names)


def test_the_contracts_need_no_import_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rayal.testing.check(Mine())` would be an AttributeError for whoever imported rayal alone."""
    monkeypatch.delattr(rayal, "testing", raising=False)  # what importing it has left
    assert "check" == rayal.testing.check.__name__


def test_a_name_that_is_not_there() -> None:
    """Lazy names must not turn a typo into something else than an AttributeError."""
    missing: Any = rayal
    assert not hasattr(missing, "Strateggy")


def test_plugins_are_named_wherever_they_are_taken() -> None:
    """`load(path, [], ["mine"])` would work and `status(path, ["mine"])` not."""
    functions = [getattr(rayal, name) for name in rayal.__all__ if name[0].islower()]
    taken = [
        inspect.signature(each).parameters.get("plugins")
        for each in functions
        if inspect.isfunction(each)
    ]
    kinds = [each.kind for each in taken if each is not None]

    assert 10 <= len(kinds) and {inspect.Parameter.KEYWORD_ONLY} == {*kinds}


def test_what_functions_return_has_a_public_name() -> None:
    """Nobody could annotate a function that passes a plan or a status on."""
    returned = [rayal.status, rayal.plan, rayal.describe, rayal.compare, rayal.submit, rayal.jobs]
    for each in returned:
        kinds = get_type_hints(each)["return"]
        for kind in get_args(kinds) or [kinds]:
            assert getattr(rayal, kind.__name__) is kind


def test_the_contracts_are_those_that_parts_use() -> None:
    """A part that is written with the public names would be no part."""
    from rayal.parts import PACKAGES, find, names

    contracts = {
        "datasets": rayal.Dataset,
        "formats": rayal.Format,
        "models": rayal.Model,
        "oracles": rayal.Oracle,
        "schemes": rayal.TrainingScheme,
        "strategies": rayal.Strategy,
    }
    assert set(contracts) == set(PACKAGES) - {"tasks", "trackers"}
    for kind, contract in contracts.items():
        assert all(issubclass(find(kind, name), contract) for name in names(kind))
