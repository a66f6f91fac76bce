"""rayal/experiment/brief.py, and how an experiment looks in a notebook."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import rayal
from rayal.experiment import config
from rayal.experiment.brief import brief
from rayal.experiment.experiment import Experiment
from rayal.parts import Component, find
from tests.experiment.test_experiment import experiment

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [path for path in sorted(CONFIGS.rglob("*.yaml")) if "sweeps" not in path.parts]

SCORING: dict[str, Any] = {"checkpoint": "a", "pool": "b", "strategies": ["entropy"]}


class Own(Component):
    """A user's own part."""

    power: float = 1.0


def test_defaults_are_left_out() -> None:
    """Whoever prints an experiment would look for what matters among fifty lines."""
    x = experiment(scheme={"steps": 7}, observers=["random", {"name": "cod"}], seed=3)

    assert {
        "name": "tiny",
        "seed": 3,
        "dataset": "digits",
        "model": "small_cnn",
        "scheme": {"name": "supervised", "steps": 7},
        "strategy": "cod",
        "observers": ["random", "cod"],
        "budget": {"initial": 20, "per_cycle": 20, "total": 100},
    } == brief(x)
    assert "tracking" not in repr(x) and "seed=3" in repr(x) and repr(x) == str(x)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_what_is_shown_is_the_experiment(path: Path) -> None:
    """What is copied out of a notebook would be another experiment than the one that it shows."""
    x = config.load(path)

    assert x == eval(repr(x), {"Experiment": Experiment})


def test_mistakes_in_python_are_told_as_those_in_files() -> None:
    """A dump of pydantic names classes that the user has never seen, and no way out."""
    with pytest.raises(rayal.UsageError) as caught:
        rayal.Experiment(  # type: ignore[call-arg]
            name="x",
            seed=-1,
            dataset={"name": "digits", "rot": "here"},
            strategy="cdo",
            observers=("random", {"name": "cod", "k": 1}),
            budget={"initial": 20, "per_cycle": 20, "total": 100},
            sheme="tod",
        )
    lines = str(caught.value).splitlines()

    assert "6 problems in Experiment(...)" == lines[0]
    wanted = [
        "seed: should be greater than or equal to 0, got -1",
        "dataset.rot: there is no such key; did you mean 'root'?",
        "model: is required; choose one of: ",
        "strategy: there is no 'cdo' in strategies; did you mean 'cod'?",
        "observers.1.k: there is no such key; choose one of: ",
        "sheme: there is no such key; did you mean 'scheme'?",
    ]
    for line, said in zip(sorted(lines[1:]), sorted(wanted), strict=True):
        assert line.startswith(f"  Experiment(...): {said}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: rayal.Budget(initial=-1, per_cycle=1, total=5), "initial: should be greater"),
        (lambda: rayal.Compute(engine="foo"), "engine: should be 'ray' or 'local', got \"foo\""),
        (lambda: find("strategies", "margin")(pixel=3), "pixel: there is no such key; did you mea"),
        (lambda: rayal.PoolScoring(**SCORING, pol="b"), "pol: there is no such key; did you mean"),
        (lambda: rayal.PoolScoring(**SCORING, decoding={"sise": 3}), "decoding.sise: there is no"),
        (lambda: Own(power="x"), "power: should be a number"),
    ],
)
def test_mistakes_in_other_settings_are_told_too(make: Callable[[], Any], said: str) -> None:
    """Only an experiment would say what is wrong, everything else dump what pydantic thinks."""
    with pytest.raises(rayal.UsageError) as caught:
        make()
    told = str(caught.value)

    assert f"(...): {said}" in told
    assert "pydantic" not in told and "object at 0x" not in told and "\n" not in told


def test_a_validation_keeps_its_own_way() -> None:
    """A mistake in a field of a field would be one line of text, its place lost."""
    with pytest.raises(ValidationError) as caught:
        Own.model_validate({"power": "x"})
    assert [("power",)] == [error["loc"] for error in caught.value.errors()]


def test_an_item_that_is_wrong_is_one_problem() -> None:
    """One typo would be two problems, of which the second, too few items, is none."""
    with pytest.raises(rayal.UsageError) as caught:
        rayal.PoolScoring(checkpoint="a", pool="b", strategies=["entrpy"])
    assert str(caught.value).endswith(
        "strategies.0: there is no 'entrpy' in strategies; did you mean 'entropy'?"
    )
    assert "\n" not in str(caught.value)
    with pytest.raises(rayal.UsageError, match="strategies: should be a list of length 1"):
        rayal.PoolScoring(checkpoint="a", pool="b", strategies=[])


def test_contradictions_in_python_are_told_too() -> None:
    """They are found when all fields are there, on another way through pydantic."""
    with pytest.raises(rayal.UsageError, match=r"Experiment\(...\): candidates: 4 cannot fill"):
        rayal.Experiment(
            name="x",
            dataset="digits",
            model="small_cnn",
            strategy="cod",
            budget=rayal.Budget(initial=20, per_cycle=20, total=100),
            candidates=4,
        )


def test_a_file_that_keywords_stand_on_is_the_place(tmp_path: Path) -> None:
    """`2 problems in keywords` would send the reader to the wrong place."""
    (tmp_path / "x.yaml").write_text("name: x\nseed: -1\nmodel: small_cnn\n")
    with pytest.raises(rayal.UsageError) as caught:
        rayal.load(tmp_path / "x.yaml", strategy="cdo", budget={"initial": 1})
    lines = str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    assert "5 problems in x.yaml" == lines[0]
    assert any(line.startswith("  x.yaml:1: dataset: is required") for line in lines)
    assert any(line.startswith("  keywords: strategy: there is no 'cdo'") for line in lines)


def test_the_signature_is_that_of_the_fields() -> None:
    """A field that an editor does not know could not be given where types are checked."""
    tree = ast.parse(inspect.getsource(Experiment))
    made = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.args.kwonlyargs)
    given = {a.arg: d for a, d in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True)}

    assert [*Experiment.model_fields] == [*given]
    required = [name for name, field in Experiment.model_fields.items() if field.is_required()]
    assert required == [name for name, default in given.items() if default is None]
