"""What editors are told of experiment files, against what `load` says of them."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.experiment.schema import schema
from rayal.experiment.sweep.settings import EarlyStopping, SweptExperiment
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.people import People
from rayal.parts import PACKAGES, find, names
from rayal.storage import yaml_text
from rayal.training.augment import Augment

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").rglob("*.yaml"))

VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 200, 10**16, 0.5, 1.5, -1e-9, 1e31, "", "auto", "no such"),
    *(
        [],
        [1],
        [1, 2],
        [1, 2, 3],
        [True, 2],
        ["a"],
        [0.5, 1.5],
        [None],
        {},
        {"a": 1},
        {"weight": 1},
    ),
]
"""What is written for every field in turn."""


@cache
def made(sweep: bool = False) -> dict[str, Any]:
    return schema(sweep=sweep)


@cache
def validator(sweep: bool = False) -> Draft202012Validator:
    return Draft202012Validator(made(sweep))


@cache
def of_model(model: type[BaseModel]) -> Draft202012Validator:
    there = made(True)["$defs"]
    whole = f"{model.__module__}.{model.__qualname__}".replace(".", "__")  # where two have one name
    name = model.__name__ if model.__name__ in there else whole
    alone = {"$ref": f"#/$defs/{name}", "$defs": there}
    return Draft202012Validator(alone)


def written(text: str) -> Any:
    return yaml_text.parse(text, "a file", Path.cwd()).plain()


def plain(**changed: Any) -> dict[str, Any]:
    """A whole experiment; a value of ... takes its key away."""
    fields = {
        "name": "mine",
        "dataset": "digits",
        "model": "small_cnn",
        "strategy": "cod",
        "budget": {"initial": 10, "per_cycle": 10, "total": 50},
    }
    return {key: value for key, value in (fields | changed).items() if value is not ...}


def is_fine(fields: dict[str, Any], sweep: bool = False) -> bool:
    return not [*validator(sweep).iter_errors(fields)]


def test_it_is_a_schema() -> None:
    """Editors would ignore a schema that breaks the rules of its own dialect. That of sweeps has
    all that the other one has, and `keep` with other defaults."""
    Draft202012Validator.check_schema(made(True))

    assert made()["$defs"].keys() - {"Keep"} < made(True)["$defs"].keys()
    assert "last" == made(True)["$defs"]["KeepInSweep"]["properties"]["shards"]["default"]
    assert made()["properties"].keys() < made(True)["properties"].keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_of_rayal_are_fine(file: Path) -> None:
    """An editor would mark what runs; and so it would the file that a run folder keeps, in which
    every field is written out."""
    fields = written(file.read_text())
    sweep = config.is_sweep(file)
    model = SweptExperiment if sweep else Experiment
    whole = config.load_as(model, file).model_dump(mode="json")

    assert [] == [error.message for error in validator(sweep).iter_errors(fields)]
    assert [] == [error.message for error in validator(sweep).iter_errors(whole)]


APART = [
    (0, "<class 'bool'>"),  # pydantic takes them for what they are not
    (1, "<class 'bool'>"),
    (10**16, "<class 'float'>"),  # JSON has one kind of numbers, and 1e16 is none too many
    (10**16, str(People.model_fields["seconds_per_unit"].annotation)),
    (None, str(Budget.model_fields["total"].annotation)),  # an amount below another file's
    (None, str(Budget.model_fields["initial"].annotation)),
]
"""Values, and types of fields, of which the schema cannot say what `load` does."""
MODELS = [find(kind, name) for kind in PACKAGES for name in names(kind)]


@pytest.mark.parametrize(
    "model", [*MODELS, Budget, Compute, Augment, EarlyStopping], ids=lambda model: model.__name__
)
def test_a_value_is_refused_where_load_refuses_it(model: type[BaseModel]) -> None:
    """Of every field: a mistake that an editor hides, or one that it makes up."""
    if model.__name__ == "Timm":
        pytest.importorskip("timm")
    needed: dict[str, Any] = {
        "Budget": {"initial": 1, "per_cycle": 1, "total": 1},
        "MaskFolder": {"classes": ["a", "b"]},
        "Parquet": {"pool": ["a"], "test": ["b"]},
        "Recorded": {"file": "votes.csv"},
        "WebDataset": {"pool": ["a"], "test": ["b"]},
        "UnlabeledScenes": {"classes": ["a", "b"]},
        "Timm": {"arch": "resnet50"},
        "Torchvision": {"arch": "resnet50"},
    }.get(model.__name__, {})
    differing = []
    for field in model.__annotations__.keys() & model.model_fields.keys():
        kind = str(model.model_fields[field].annotation)
        for value in VALUES:
            fields = {**needed, field: value}
            accepted = of_model(model).is_valid(fields)
            try:
                model.model_validate(fields)
                told = True
            except ValidationError as error:
                told = all(each["type"] == "value_error" for each in error.errors())
                accepted = told or accepted  # what several values are together is no type
            if accepted != told and (value, kind) not in APART:
                differing.append((field, value, accepted))

    assert [] == differing


MISTAKES = [
    {"stratgy": "cod"},
    {"name": "two words"},
    {"name": 7},
    {"seed": -1},
    {"seed": True},
    {"seed": 1.5},
    {"seed": "one"},
    {"start": "lukewarm"},
    {"ensemble": 1001},
    {"candidates": 0},
    {"strategy": "no_such"},
    {"strategy": {"name": "no_such"}},
    {"strategy": {"name": "cod", "passes": 3}},
    {"strategy": {"name": "bald", "passes": 1}},
    {"strategy": ["cod"]},
    {"strategy": None},
    {"strategy": {"pixels": "mean"}},
    {"observers": "cod"},
    {"observers": [{"name": "cod", "pixels": "all"}]},
    {"model": {"name": "torchvision"}},
    {"model": {"name": "small_cnn", "dropout": 1}},
    {"dataset": {"name": "digits", "limit_pool": True}},
    {"scheme": {"weight": 0.5}},
    {"scheme": {"name": "tod", "teacher": {"alpha": 2}}},
    {"scheme": {"name": "tod", "teacher": {"beta": 0.5}}},
    {"scheme": {"augment": {"flip": "left"}}},
    {"budget": {"initial": 10, "per_cycle": 10}},
    {"budget": {"initial": -1, "per_cycle": 10, "total": 50}},
    {"budget": None},
    {"compute": {"engine": "spark"}},
    {"tracking": {"uri": 5}},
    {"sweep": {"space": {"strategy": "cod"}}},
    *({key: ...} for key in ("name", "dataset", "model", "strategy")),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_are_refused(mistake: dict[str, Any], tmp_path: Path) -> None:
    """One mistake in a whole file; and in a file that stands on a whole one, where only what is
    not there may be left out."""
    whole, above = tmp_path / "whole.yaml", tmp_path / "above.yaml"
    whole.write_text(yaml.safe_dump(plain(**mistake)))
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(plain()))
    changed = {key: value for key, value in mistake.items() if value is not ...}
    above.write_text(yaml.safe_dump({"extends": "base.yaml", **changed}))

    assert is_fine(plain())
    config.load(base)
    assert not is_fine(plain(**mistake))
    with pytest.raises(UsageError):
        config.load(whole)
    try:
        config.load(above)
    except UsageError:
        is_open = mistake in IN_OTHERS
        assert is_fine({"extends": "base.yaml", **changed}) == is_open
    else:
        assert is_fine({"extends": "base.yaml", **changed})


IN_OTHERS: list[dict[str, Any]] = [
    {"scheme": {"weight": 0.5}},
    {"model": {"name": "torchvision"}},
]
"""Mistakes above this base that are none above another one, whose parts have such fields."""


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "my_pkg.mine"},
        {"strategy": {"name": "my_pkg.mine", "any": ["thing"]}},
        {"strategy": {"name": "__main__.Mine"}},
        {"scheme": {"epochs": 5}},
        {"scheme": {"name": "supervised", "lr": 1}},
        {"tracking": {"uri": None}},
        {"fine_tune": None},
        {"fine_tune": {"scheme": {"epochs": 5}, "model": "small_cnn"}},
        {"task": {"name": "segmentation", "average": "image"}},
    ],
    ids=str,
)
def test_ways_to_write_a_part(fields: dict[str, Any]) -> None:
    """A user's own part, and the fields alone of one that need not be named."""
    assert is_fine(plain(**fields))
    assert is_fine({"extends": "base.yaml", **fields})


def test_a_file_that_extends_another_may_leave_out() -> None:
    """Half of the files of rayal do; without `extends` nothing stands below."""
    some = {"budget": {"total": 100}, "model": {"width": 8}, "strategy": {"passes": 3}}

    assert is_fine({"extends": "base.yaml", **some})
    assert not is_fine(plain(**some))
    assert not is_fine(plain(budget={"initial": 1, "per_cycle": 1, "total": None}))
    assert is_fine(plain(budget={}))  # whoever asks for labels says how many
    assert not is_fine({"extends": 3})


def test_defaults_and_meanings_are_told() -> None:
    """What an editor shows where the pointer rests, and fills in."""
    passes = made()["$defs"]["Bald"]["properties"]["passes"]

    assert 10 == passes["default"]
    assert "Forward passes with dropout" in passes["description"]
    assert "cod" in made()["properties"]["strategy"]["anyOf"][0]["enum"]


SPACES = [
    ({"strategy": {"grid_search": ["random", {"name": "cod"}]}}, True),
    ({"scheme": {"lr": {"loguniform": [1e-3, 1.0]}}}, True),
    ({"scheme": {"weight": {"choice": [0.1, 0.2]}, "name": "tod"}}, True),
    (
        {"scheme": {"grid_search": ["supervised", {"name": "tod", "weight": {"uniform": [0, 1]}}]}},
        True,
    ),
    ({"scheme": {"name": "tod", "teacher": {"alpha": {"uniform": [0.9, 0.99]}}}}, True),
    ({"budget": {"initial": {"randint": [5, 50]}}}, True),
    ({"candidates": {"grid_search": [None, 100]}}, True),
    ({"candidates": {"randn": []}}, True),
    ({"model": {"grid_search": ["small_cnn", "my_pkg.mine"]}}, True),
    ({}, False),
    ({"seed": {"grid_search": [0, 1]}}, False),
    ({"stratgy": "cod"}, False),
    ({"strategy": {"grid_search": "cod"}}, False),
    ({"strategy": {"grid_search": []}}, False),
    ({"strategy": {"grid_search": ["no_such"]}}, False),
    ({"strategy": {"gird_search": ["cod"]}}, False),
    ({"scheme": {"lr": {"uniform": [1]}}}, False),
    ({"scheme": {"lr": {"uniform": ["a", "b"]}}}, False),
    ({"scheme": {"lr": {"grid_search": [0]}}}, False),
]


@pytest.mark.parametrize(("space", "right"), SPACES, ids=str)
def test_a_space(space: dict[str, Any], right: bool, tmp_path: Path) -> None:
    """Values and functions of Ray Tune wherever a field may be varied, as the sweep takes them."""
    from rayal.experiment.sweep import trials
    from rayal.experiment.sweep.space import arms

    fields = plain(sweep={"space": space, "seeds": [0]})
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(fields))

    assert is_fine(fields, sweep=True) is right
    if "my_pkg.mine" in str(space):
        return
    if right and "randn" not in str(space):
        x = config.load_as(SweptExperiment, file)
        drawn = arms(x.sweep.space, 1, lambda number, name, arguments, place: _any(name, arguments))
        assert trials.of_arms(x, drawn)
    elif not right:
        with pytest.raises(UsageError):
            x = config.load_as(SweptExperiment, file)
            trials.of_arms(x, arms(x.sweep.space, 1, lambda *_: 0.5))


def _any(name: str, arguments: tuple[Any, ...]) -> Any:
    """One value that a function may draw."""
    return arguments[0][-1] if name == "choice" else arguments[0]


def test_a_sweep_needs_its_block() -> None:
    """`rayal sweep` refuses a file without."""
    block = {"space": {"strategy": {"grid_search": ["random", "cod"]}}}

    assert is_fine(plain(sweep=block), sweep=True)
    assert not is_fine(plain(), sweep=True)
    assert is_fine({"extends": "base.yaml"}, sweep=True)
