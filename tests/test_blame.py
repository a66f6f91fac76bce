"""rayal/blame.py: mistakes in a user's own code are told apart from rayal's."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from rayal import blame, cli
from rayal.blame import memory_fault, plugin_fault, plugin_faults, told
from rayal.engine.described import described
from rayal.errors import DataError, UsageError
from rayal.parts import find
from rayal.plugins import Plugins

CODE = """
from rayal.models.base import Model
from their_pkg import helper

class Net(Model):
    def network(self, num_classes, image):
        return helper.deeper(num_classes)
"""


class Full:
    """A key whose look-up asks for more memory than there is."""

    error = Exception()

    def __hash__(self) -> int:
        raise self.error


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`Net.network` of a package whose helper raises KeyError in line 2."""
    package = tmp_path / "their_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(CODE)
    (package / "helper.py").write_text("def deeper(x):\n    return {0: 0}.pop(x)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield find("models", "their_pkg.net", Plugins(["their_pkg"]))().network
    for name in [name for name in sys.modules if name.split(".")[0] == "their_pkg"]:
        del sys.modules[name]


def test_what_their_code_raises_is_told_with_its_line(network) -> None:
    """Sixty lines of traceback, and exit 1, would say that rayal is broken."""
    with pytest.raises(UsageError) as raised, plugin_faults():
        network(7, None)

    expected = r"plugin 'their_pkg.helper' raised KeyError: 7 \((.*their_pkg/helper.py):2\); mend"
    assert raised.match(expected)
    there = re.match(expected, str(raised.value))[1]
    Path(there).write_text("def deeper(x):\n    return dict([(7, x)]).pop(x)\n")  # other size
    importlib.reload(sys.modules["their_pkg.helper"])
    assert 7 == network(7, None)


def test_a_mistake_of_rayals_own_is_not_theirs(network, monkeypatch) -> None:
    """A bug of rayal's would be searched in the user's code."""
    monkeypatch.setattr(blame, "_foreign_packages", lambda: {"their_pkg"})  # these tests are not
    with pytest.raises(ZeroDivisionError), plugin_faults():
        raise ZeroDivisionError
    with pytest.raises(DataError, match="^as it was$"), plugin_faults():
        raise DataError("as it was")
    assert plugin_fault(ValueError("from nowhere")) is None


def test_an_exception_is_one_short_line() -> None:
    """A message of pages, or of several lines, would bury what to do."""
    shown = told(ValueError("a\n b" + "x" * 999))

    assert shown.startswith("ValueError: a bxx") and len(shown) < 330
    assert "KeyError in select: 1" == told(KeyError(1), "select")
    assert "StopIteration" == told(StopIteration())


def test_the_command_ends_with_exit_2(network, monkeypatch, capsys) -> None:
    """Whatever a plugin raises, wherever: one line and the exit code of a user's mistake."""
    monkeypatch.setattr(cli, "catch_signals", lambda _: None)
    monkeypatch.setattr(cli, "_direct_output", lambda verbose: None)
    monkeypatch.setattr(sys, "argv", ["rayal", "plan", "x.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main(lambda *_, **__: network(7, None))
    lines = capsys.readouterr().err.splitlines()

    assert 2 == ended.value.code
    assert 1 == len(lines) and lines[0].startswith("rayal: plugin 'their_pkg.helper' raised")


def test_a_lack_of_memory_is_not_the_plugins_mistake(network, monkeypatch, capsys) -> None:
    """A batch too large for the memory would be searched for in the model's code."""
    monkeypatch.setattr(cli, "catch_signals", lambda _: None)
    monkeypatch.setattr(cli, "_direct_output", lambda verbose: None)
    monkeypatch.setattr(sys, "argv", ["rayal", "plan", "x.yaml"])
    for full, said in (
        (torch.OutOfMemoryError("64 GiB"), "the GPU is out of memory; lower compute.score_batch"),
        (MemoryError("8 EiB"), "there is not enough memory (MemoryError: 8 EiB); lower what"),
    ):
        monkeypatch.setattr(Full, "error", full)
        with pytest.raises(type(full)) as raised:
            network(Full(), None)
        assert plugin_fault(raised.value) is not None
        assert described(raised.value)["error"] == "UsageError"
        assert described(raised.value)["message"].startswith(said)
        with pytest.raises(SystemExit) as ended:
            cli.main(lambda *_, **__: network(Full(), None))
        assert 2 == ended.value.code
        assert capsys.readouterr().err.startswith(f"rayal: {said}")
    assert memory_fault(DataError("can't allocate memory")) is None


def test_a_lack_of_memory_is_told_in_one_line() -> None:
    """numpy raises MemoryError, torch a RuntimeError: pages of traceback for a number too large."""
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**55)
    for error in (MemoryError("8 EiB"), of_torch.value):
        fault = memory_fault(error)
        assert fault is not None and 2 == fault.exit_code
        assert "lower what decides it, and use another --out (in Python: out=):" in str(fault)
    torch.empty(2**5)
    assert memory_fault(RuntimeError("other")) is None
