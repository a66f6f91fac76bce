"""Parts for people: nothing is missing, nothing is said that is not so."""

import json
from pathlib import Path

import pytest

from rayal import parts
from rayal.errors import UsageError
from rayal.experiment.described.part import Described, describe
from rayal.experiment.experiment import Experiment
from rayal.labeling.exchange.base import Format
from rayal.parts import PACKAGES, Component, find, names
from rayal.plugins import Plugins
from rayal.signals.signal import SIGNALS
from rayal.storage import yaml_text

ALL = [(kind, name) for kind in PACKAGES for name in names(kind)]
OWN = {
    "random",
    "supervised",
    "small_cnn",
    "small_segmenter",
    "torchvision",
    "timm",
    "transformers",
}
"""Strategies, schemes and models that are from no paper."""


def facts(found: Described) -> dict[str, str]:
    return {fact.label: fact.text for fact in found.facts}


def _named(value: object) -> object:
    """A part by its name, as far as that says all of it."""
    return value["name"] if isinstance(value, dict) and "name" in value else value


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_part_is_whole(kind: str, name: str) -> None:
    """A page or a terminal would show an empty heading, an option without a meaning, an example
    that does not load, or a line that is cut."""
    if name == "timm":  # which knows its networks' names
        pytest.importorskip(name)
    found = describe(kind, name)
    part = find(kind, name)

    assert found.summary.endswith(".") and found.does
    assert {each.name.partition(".")[0] for each in found.options} == part.model_fields.keys()
    assert all(each.meaning and each.type for each in found.options)
    assert bool(found.sources) or name in OWN or kind not in ("strategies", "schemes", "models")
    assert found.facts or kind == "trackers"
    assert json.loads(json.dumps(found.to_dict()))["name"] == name
    said = yaml_text.parse(found.example, "example", Path()).plain()
    (key,) = said
    example = said[key][Format.kind[:-1]] if kind == Format.kind else said[key]
    written = parts.written_out(parts.build(kind, example))
    told = {each.name: each.default for each in found.options if "." not in each.name}
    told |= {each.name: written[each.name] for each in found.options if each.required}
    assert key in Experiment.model_fields
    same = {name: _named(written[name]) for name in told}
    assert kind == "trackers" or same == {name: _named(each) for name, each in told.items()}
    text = [line for line in found.lines(80) if not line.lstrip().startswith(("|", "`"))]
    code = [line for line in text if line.startswith("      ") and "  " in line.strip()]
    assert [] == [line for line in text if len(line) > 80 and line not in code and " " in line]


def test_what_a_strategy_costs_is_what_it_declares() -> None:
    """A plan of a pass would be made from wrong numbers."""
    found = {name: facts(describe("strategies", name)) for name in names("strategies")}

    assert found["entropy"]["each image"] == "one forward of the model"
    assert found["random"]["needs"] == "no model"
    assert "not looked at" in found["random"]["each image"]
    assert "last cycle's model" in found["cod"]["each image"]
    assert (
        "second model" in found["emaod"]["each image"] and "teacher" in found["emaod"]["companion"]
    )
    assert found["bald"]["each image"].count("10 (`passes`) with dropout") == 1
    assert "`dropout` above 0" in found["bald"]["needs"]
    assert "each other member" in found["qbc"]["each image"] and "ensemble" in found["qbc"]["needs"]
    assert "backward" in found["entropy_gradnorm"]["each image"]
    assert found["badge"]["keeps"].count("one number for each") == 2
    assert "labeled" in found["core_set"] and "labeled" not in found["badge"]
    assert "in memory" in found["core_set"]["selects"]
    assert "need not be in memory" in found["margin"]["selects"]
    assert "all cost the same" in found["qbc"]["selects"]
    assert "regions of images" in found["random_polygon"]["selects"]
    for name, each in found.items():
        reads = set(each["reads"].split(", ")) if "reads" in each else set()
        assert reads == find("strategies", name)().signals() <= SIGNALS.keys()


def test_what_other_parts_declare() -> None:
    """What decides whether a part can be used would have to be looked up in its code."""
    assert "128 unlabeled" in facts(describe("schemes", "tod"))["unlabeled"]
    phases = facts(describe("schemes", "ads"))["unlabeled"]
    assert "between epochs: agreement and discrepancy, of 10,000 of the pool" in phases
    assert "start: warm" in facts(describe("schemes", "cyclic_od"))["needs"]
    assert "download: true" in facts(describe("datasets", "cifar10"))["download"]
    assert "download" not in facts(describe("datasets", "image_folder"))
    assert "clicks" in facts(describe("oracles", "clicks"))["cost"]
    assert "can be used" in facts(describe("oracles", "simulated"))["balanced"]
    assert "miou" == facts(describe("tasks", "segmentation"))["metric"]
    assert "dropout" in facts(describe("models", "small_cnn"))


def test_a_part_of_a_user(tmp_path, monkeypatch) -> None:
    """Theirs are shown too, without examples and docstrings if they have none."""
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts" / "__init__.py").touch()
    (tmp_path / "own_parts" / "mine.py").write_text(
        "from rayal.strategies.base import Strategy\n\n\n"
        "class Mine(Strategy):\n    size: int\n    needs = frozenset({'probs'})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = describe("strategies", "own_parts.mine", Plugins(["own_parts"]))

    assert "own_parts.mine" == found.name
    assert [("size", "whole number", True)] == [(x.name, x.type, x.required) for x in found.options]
    assert () == found.facts  # they depend on its options
    assert "strategy: own_parts.mine\n" == found.example
    assert "own_parts.mine" in str(found)


def test_what_is_not_there() -> None:
    """The nearest name is the way out."""
    with pytest.raises(UsageError, match="did you mean 'cod'"):
        describe("strategies", "codd")


def test_the_width_of_a_terminal(monkeypatch) -> None:
    """Long lines would be broken in the middle of words."""
    widths = {}
    for columns in (20, 70, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        widths[columns] = max(map(len, str(describe("strategies", "entropy")).splitlines()))

    assert widths[20] <= 60 and widths[70] <= 70 and 70 < widths[300] <= 100


def test_nothing_is_told_twice() -> None:
    """A class says the same as its module."""
    for kind, name in ALL:
        found = describe(kind, name)
        paragraphs = [*found.notes, *found.differences, *found.sources]
        assert len(paragraphs) == len(set(paragraphs)), name
    assert issubclass(find("strategies", "cod"), Component)
