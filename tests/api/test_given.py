"""What functions of the API are given, looked at before anything else."""

from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError

DIGITS = Path(__file__).parents[2] / "configs" / "digits" / "cod.yaml"
VERBS: dict[str, Any] = {
    "run": rayal.run,
    "plan": rayal.plan,
    "sweep": rayal.sweep,
    "submit": rayal.submit,
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_experiment(verb: str) -> None:
    """A path, as a command takes it, would end in an AttributeError of some inner class."""
    with pytest.raises(
        UsageError, match=rf"{verb}\(\) takes an exp.*, got 'x.yaml'; use rayal.load"
    ):
        VERBS[verb]("x.yaml")
    assert rayal.plan(rayal.load(DIGITS), probe=False).cycles


def test_what_is_no_path() -> None:
    """A number, or an experiment, would end in a TypeError that names neither."""
    wrong: Any = 5
    for read in (rayal.load, rayal.load_sweep, rayal.origins, rayal.open_run, rayal.open_sweep):
        with pytest.raises(UsageError, match=r": 5 is no path; give a text or a pathlib.Path"):
            read(wrong)
    assert rayal.load(DIGITS) == rayal.load(str(DIGITS))


def test_one_assignment_as_a_text() -> None:
    """Each of its letters would be an assignment: `--set s: expected key=value`."""
    for read in (rayal.load, rayal.load_sweep, rayal.origins):
        with pytest.raises(UsageError, match=r"set: 'seed=1' is no list .*; write \['seed=1'\]"):
            read(DIGITS, set="seed=1")
    assert 1 == rayal.load(DIGITS, set=["seed=1"]).seed
