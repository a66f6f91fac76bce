"""The page of the Python API: what is called comes first, and nothing is left out."""

import re

import python_api

import rayal


def test_what_is_called_comes_first() -> None:
    """A reader would scroll past classes to find how a run is started."""
    text = python_api.use()
    shown = re.findall(r"^::: rayal\.(\w+)$", text, re.MULTILINE)
    of_parts = re.findall(r"^::: rayal\.(\w+)$", python_api.parts(), re.MULTILINE)

    assert [*python_api.WORK] == shown[: len(python_api.WORK)]
    assert "load" == shown[0] and "run" == shown[1]
    assert sorted(rayal._HOMES) == sorted(shown + of_parts)
    assert {name for name in shown if name.islower()} == {*python_api.WORK} - {"ActiveLearner"}


def test_each_has_its_sentence() -> None:
    """The table would have half a sentence, or a piece of the next one."""
    text = python_api.use()
    rows = re.findall(r"^\| \[`(\w+)`\]\[rayal\.\w+\] \| (.*) \|$", text, re.MULTILINE)

    assert [*python_api.WORK] == [name for name, _ in rows]
    assert [] == [row for row in rows if not row[1].endswith(".") or len(row[1]) < 15]
