"""rayal/cli/options.py: the help in groups, its examples, and what goes with every command."""

import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import rayal
from rayal import cli
from rayal.cli import options, output
from rayal.cli.options import EXAMPLES, app

LINES = [line.strip() for line in EXAMPLES.splitlines() if line.strip().startswith("rayal ")]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "report --format foo x",
            "--format: 'foo' is not one of 'table', 'csv', 'markdown', 'latex', 'json'",
        ),
        ("plan x --label-price abc", "--label-price: should be a number, got 'abc'"),
        (
            "plan x --label-price -1",
            "--label-price: should be greater than or equal to 0, got '-1'",
        ),
        (
            "init m",
            "Missing option '--data'. Choose from: image_folder, listed_folder, coco_images,"
            " parquet, masks, photos, unlabeled_parquet",
        ),
        ("run", "Missing argument 'config'."),
    ],
)
def test_a_wrong_option_is_one_line_in_our_words(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`Value error, 'foo' is not` and `Input should be` are of the library that reads options."""
    monkeypatch.setattr("sys.argv", ["rayal", *command.split()])
    monkeypatch.setattr(cli, "catch_signals", lambda _: None)
    monkeypatch.setattr(cli, "_direct_output", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert (2, f"rayal: {said}\n") == (ended.value.code, capsys.readouterr().err)


def test_the_help_has_groups_and_no_boxes() -> None:
    """It began with `logs` and `stop`, and drew boxes into pipes and files."""
    text = CliRunner().invoke(app, ["--help"]).output
    titles = "Experiments", "Pools", "Labels", "Clusters", "Parts"
    places = [text.index(f"\n{title}:\n") for title in titles]

    assert sorted(places) == places and "\nCommands:" not in text
    assert not set(text) & set("╭─│╮╰╯")
    assert text.index("  run  ") < text.index("  score  ") < text.index("  logs  ")
    assert all(line in text for line in LINES)
    assert not set(CliRunner().invoke(app, ["submit", "run", "-h"]).output) & set("╭─│")


@pytest.mark.parametrize("line", LINES)
def test_examples_are_commands(line: str) -> None:
    """A first command copied from the help would be a mistake."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}

    assert {word for word in words if word.startswith("--")} <= known


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    monkeypatch.setattr(cli, "catch_signals", lambda _: None)
    monkeypatch.setattr(cli, "_direct_output", lambda verbose: None)
    monkeypatch.setattr("sys.argv", ["rayal", *words])
    monkeypatch.setattr(output, "quiet", False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, *capsys.readouterr()


def test_the_version(monkeypatch: Any, capsys: Any) -> None:
    """The first line of every report of a fault would have to be searched."""
    assert (0, f"rayal {rayal.__version__}\n", "") == run(monkeypatch, capsys, "--version")


@pytest.mark.parametrize("words", [("-q", "oracles"), ("oracles", "--quiet"), ("oracles", "-v")])
def test_quiet_and_verbose_go_anywhere(monkeypatch: Any, capsys: Any, words: Any) -> None:
    """Whoever does not remember where an option goes would be told that there is none."""
    code, out, _ = run(monkeypatch, capsys, *words)

    assert 0 == code and "simulated" in out
    assert output.quiet == (words[-1] != "-v")


def test_quiet_leaves_out_all_but_errors(monkeypatch: Any, capsys: Any) -> None:
    """A cron job would send a mail for every run folder."""
    monkeypatch.setattr(output, "quiet", True)
    output.note("run folder  x")
    output.note("rayal: warning: y")

    assert "rayal: warning: y\n" == capsys.readouterr().err


def test_every_command_has_a_group() -> None:
    """A new one would stand at the end, under another heading."""
    command: Any = typer.main.get_command(options.app)
    groups = {options.EXPERIMENTS, options.POOLS, options.LABELS, options.CLUSTERS, options.PARTS}

    assert {each.rich_help_panel for each in command.commands.values()} <= groups


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run", "x.yaml", "--out", "$NOT_SET/x"), r"$NOT_SET is not set"),
        (("status", "$NOT_SET"), "$NOT_SET is not set"),
        (("report", "runs", "--out", "$NOT_SET/x"), "$NOT_SET is not set"),
        (("sync", "~nobody-of-this-name/x"), "no home of that user"),
        (("plan", "$NOT_SET.yaml"), "$NOT_SET is not set"),
        (("select", "$NOT_SET", "--strategy", "entropy", "--budget", "1"), "$NOT_SET is not set"),
        (("run", "no.yaml", "--out", "memory://x"), "memory://x: what is written there is gone"),
    ],
)
def test_places_on_the_command_line_are_read_as_in_files(
    monkeypatch: Any, capsys: Any, words: Any, why: str
) -> None:
    """A folder called `$SCRATCH` would be made, or results be kept in memory and lost."""
    monkeypatch.delenv("NOT_SET", raising=False)
    code, _, err = run(monkeypatch, capsys, *words)

    assert 2 == code and why in err


@pytest.mark.parametrize("words", [(), ("submit",)])
def test_a_group_alone_shows_its_help(monkeypatch: Any, capsys: Any, words: Any) -> None:
    """The help would be an error."""
    code, out, err = run(monkeypatch, capsys, *words)

    assert (2, "") == (code, err) and out.startswith("Usage: rayal")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run", "rayal: interrupted; the same command continues the run\n"),
        ("score", "rayal: interrupted; the same command continues the run\n"),
        ("plan", "rayal: interrupted\n"),
        ("report", "rayal: interrupted\n"),
    ],
)
def test_what_an_interrupted_command_says(
    monkeypatch: Any, capsys: Any, command: str, told: str
) -> None:
    """A plan would be said to have begun a run."""

    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    application: Any = stops
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(cli, "_direct_output", lambda verbose: None)
    monkeypatch.setattr("sys.argv", ["rayal", "-v", command, "x.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main(application)

    assert (130, told) == (ended.value.code, capsys.readouterr().err)
