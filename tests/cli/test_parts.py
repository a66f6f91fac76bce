"""Commands that show one part in full."""

import json
import sys
from typing import NamedTuple

import pytest

from rayal import cli
from rayal.parts import names


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def rayal(monkeypatch, capsys):
    """The application's commands, with what `main` makes of an error."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["rayal", *arguments])
        monkeypatch.setattr(cli, "catch_signals", lambda _: None)
        monkeypatch.setattr(cli, "_direct_output", lambda **_: None)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Ended(stop.value.code, *capsys.readouterr())

    return command


@pytest.mark.parametrize(
    "kind",
    ["strategies", "schemes", "models", "datasets", "oracles", "formats", "tasks", "trackers"],
)
def test_one_part(rayal, kind):
    """What a part is could be read in its source alone."""
    name = names(kind)[0]
    shown, told = rayal(kind, name), json.loads(rayal(kind, name, "--json").out)

    assert (0, "") == (shown.code, shown.err)
    assert shown.out.startswith(f"{name}: ")
    assert all(word in shown.out for word in ("\nExample\n", told["summary"].split()[-1]))
    assert (kind, name) == (told["kind"], told["name"])
    assert all(f"  {option['name']} = " in shown.out for option in told["options"])


def test_an_unknown_name(rayal):
    """A mistake ends with the nearest name, and as one of the user's."""
    assert Ended(
        2, "", "rayal: there is no 'entropie' in strategies; did you mean 'entropy'?\n"
    ) == rayal("strategies", "entropie")


def test_parts_of_a_user(rayal, monkeypatch, tmp_path):
    """Their own are shown like others, where their package is allowed."""
    (tmp_path / "my_own").mkdir()
    (tmp_path / "my_own" / "__init__.py").touch()
    (tmp_path / "my_own" / "half.py").write_text(
        '"""Half: the lower half first."""\n\n'
        "from rayal.strategies.base import Strategy\n\n\n"
        'class Half(Strategy):\n    """1 - p."""\n\n    share: float = 0.5\n'
        '    """What is taken."""\n    needs = frozenset({"probs"})\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    shown = rayal("strategies", "my_own.half", "--plugins", "my_own")
    refused = rayal("strategies", "my_own.half")

    assert "my_own.half: Half: the lower half first." == shown.out.splitlines()[0]
    assert "  share = 0.5   (number)\n      What is taken." in shown.out
    assert "each image  one forward of the model" in shown.out
    assert (2, True) == (refused.code, "--plugins my_own" in refused.err)
