"""Options in words."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from rayal.experiment.described.options import Option, options, worded
from rayal.labeling.oracles.clicks import Clicks
from rayal.location import Location
from rayal.settings import Settings
from rayal.training.base import TrainingScheme
from rayal.training.schemes.tod import Tod


class Mine(Settings):
    """Options of all types."""

    whole: PositiveInt = 1
    share: float = Field(default=0.5, ge=0, lt=1)
    perhaps: int | None = Field(default=None, ge=0, lt=255)
    large: Annotated[int, Field(ge=2, le=1_000_000)] | None = 5
    word: Literal["a", "b", "c"] = "a"
    either: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    several: tuple[str, ...] = Field(default=("x",), min_length=1)
    sides: tuple[PositiveInt, PositiveInt] | None = None
    place: Location | None = None
    yes: bool = True


WORDS = {
    "whole": "whole number above 0",
    "share": "number at least 0 and below 1",
    "perhaps": "whole number at least 0 and below 255, or null",
    "large": "whole number at least 2 and at most 1,000,000, or null",
    "word": "`a`, `b` or `c`",
    "either": "`auto` or number at least 0",
    "several": "a list of: text (1 or more)",
    "sides": "a list of 2: whole number above 0, or null",
    "place": "path or URL, or null",
    "yes": "true or false",
}


@pytest.mark.parametrize("name", WORDS)
def test_types_in_words(name: str) -> None:
    """A reader would be shown Python's types, or no limit."""
    assert WORDS[name] == worded(Mine.model_fields[name])


def test_all_types_are_tried() -> None:
    assert WORDS.keys() == Mine.model_fields.keys()


def test_options_of_a_scheme() -> None:
    """What a field holds has a line of its own; defaults that follow from others are what they
    come to; and what all schemes have is told apart."""
    found = {each.name: each for each in options(Tod, Tod(), TrainingScheme)}

    assert (0.999, False) == (found["teacher.alpha"].default, found["teacher.alpha"].shared)
    assert (200, True) == (found["epochs"].default, found["epochs"].shared)
    assert [160] == found["milestones"].default
    assert found["augment.flip"].shared
    assert "teacher" not in found


def test_defaults_as_a_file_has_them() -> None:
    """What is shown can be copied into a file."""

    def shown(default: object, required: bool = False) -> str:
        return Option("x", "text", default, required, "", False).shown_default()

    assert ["null", "true", "0.5", "[1, 2]", "word", "'1'", "''", "required"] == [
        *map(shown, [None, True, 0.5, [1, 2], "word", "1", ""]),
        shown(None, required=True),
    ]


def test_a_part_without_options_of_its_own() -> None:
    """What it has from the model of its costs belongs to it, and to no other oracle."""
    assert not any(each.shared for each in options(Clicks, Clicks(), Clicks.__bases__[1]))
