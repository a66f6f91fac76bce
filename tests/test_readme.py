"""What README.md shows is true: commands run, examples load, names and files exist."""

import re
from functools import partial
from pathlib import Path

import pytest

from rayal import parts
from rayal.experiment import config
from tests.support import shown_commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


blocks = partial(shown_commands.blocks, README)


@pytest.mark.ray
def test_commands_run(tmp_path):
    """A newcomer would copy a command that fails."""
    outputs = shown_commands.results(shown_commands.to_run(README), tmp_path)

    assert list(outputs) == ["plan", "run", "status", "report", "score", "select"]
    assert "complete" in outputs["status"]
    assert "20 in 1 shard" in outputs["score"]
    assert "photo-0.jpg" not in (tmp_path / "selection.csv").read_text()
    assert (tmp_path / "report" / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("command", shown_commands.all_shown(README))
def test_commands_are_there(command):
    """A newcomer would copy a command, or an option of one, that there is not."""
    assert shown_commands.problem(command) is None


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_make_targets(target):
    """The first thing a newcomer types would not exist."""
    assert any(f"make {target}" in block for block in blocks("bash"))
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_the_demo_prints_what_is_shown():
    """The pasted output would be of another program: its columns and places are the command's."""
    (shown,) = (block for block in blocks("text") if "MLflow" in block and "accuracy" in block)

    assert re.search(r"cycle +labels +accuracy +train s +score s +select s", shown)
    assert "runs/digits/cod-supervised-seed0/curve.png" in shown


def test_the_example_is_an_experiment(tmp_path):
    """The example file would be refused."""
    (mine,) = (block for block in blocks("yaml") if "name: mine" in block)
    (tmp_path / "mine.yaml").write_text(mine)
    x = config.load(tmp_path / "mine.yaml")

    assert x.dataset.root == str(tmp_path / "photos")
    assert x.budget.total == 1000


def test_the_demo_configuration_is_the_one_shown():
    """The explanation would be of another file."""
    (shown,) = (block for block in blocks("yaml") if block.startswith("# configs/digits/cod.yaml"))
    there = (ROOT / "configs" / "digits" / "cod.yaml").read_text()

    for line in shown.splitlines()[1:]:
        assert line.split("#")[0].rstrip() in there


@pytest.mark.parametrize("kind", ["strategies", "schemes", "models", "datasets"])
def test_every_part_is_listed(kind):
    """A part would be there without anybody knowing, or be promised without being there."""
    (row,) = re.findall(rf"^\| {kind} \| (.*) \|$", README, re.MULTILINE)

    assert sorted(re.findall(r"`(\w+)`", row)) == parts.names(kind)


def test_links_lead_somewhere():
    """A reader would be sent to a page that is not there."""
    links = re.findall(r"\]\(([^):]+)\)", README)

    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link


def test_it_is_short():
    """What belongs on a page of docs/ would come back here, and be there twice."""
    assert len(README.splitlines()) <= 160
