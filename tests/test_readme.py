"""What README.md shows is true: commands run, examples load, names and files exist."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from rayal import parts
from rayal.engine.sweep import all_arms
from rayal.experiment import config
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def put_own_files(folder):
    """What a newcomer with photos and a trained model has."""
    weights = torchvision.models.resnet18(num_classes=5).state_dict()
    torch.save(weights, folder / "my_resnet18.pth")
    (folder / "photos").mkdir()
    for number in range(20):
        color = (10 * number, 250 - 10 * number, 5 * number)
        Image.new("RGB", (40 + number, 50), color).save(folder / f"photos/photo-{number}.jpg")
    (folder / "done.txt").write_text("photo-0.jpg\n")


def commands():
    shown = "".join(blocks("console")).replace("\\\n", "")  # long ones go on in the next line
    return [line[2:] for line in shown.splitlines()]


def results(commands, tmp_path):
    """What they print, by verb, where a newcomer stands."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    put_own_files(tmp_path)
    digits = (
        tmp_path / "configs" / "digits" / "base.yaml"
    )  # shorter: what it learns is not asked here
    shorter = digits.read_text().replace("epochs: 40", "epochs: 2").replace("l: 300", "l: 100")
    assert "  epochs: 2\n" in shorter and "  total: 100\n" in shorter
    digits.write_text(shorter)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RAY_AUTH_MODE": "disabled",
    }
    outputs = {}
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        outputs[command.split()[1]] = done.stdout
    return outputs


@pytest.mark.ray
def test_commands_run(tmp_path):
    """A newcomer would copy a command that fails."""
    outputs = results([each for each in commands() if " sweep " not in each], tmp_path)

    assert list(outputs) == ["plan", "run", "status", "report", "score", "select"]
    assert "complete" in outputs["status"]
    assert "20 in 1 shards" in outputs["score"]
    assert "photo-0.jpg" not in (tmp_path / "selection.csv").read_text()
    assert (tmp_path / "report" / "curves.png").stat().st_size > 10_000


@pytest.mark.ray
@pytest.mark.slow
def test_the_sweep_runs(tmp_path):
    """The same, of the longest command."""
    (command,) = (each for each in commands() if " sweep " in each)

    assert "8 of 8" in results([command], tmp_path)["sweep"]


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


def test_the_committee_is_an_experiment(tmp_path):
    """The second example would be refused."""
    (shown,) = (block for block in blocks("yaml") if "name: committee" in block)
    (tmp_path / "committee.yaml").write_text(shown)
    x = config.load(tmp_path / "committee.yaml")

    assert (5, 5, True) == (x.ensemble, len(x.scored()), x.budget.balanced)


def test_the_sweep_is_an_experiment(tmp_path):
    """The third example would be refused."""
    (shown,) = (block for block in blocks("yaml") if "sweep:" in block)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "configs/sweeps/shown.yaml").write_text(shown)
    x = config.load_as(SweptExperiment, tmp_path / "configs/sweeps/shown.yaml")

    assert len(trials.of_arms(x, all_arms(x.sweep))) == 4 * (1 + 4) * 3


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


def test_the_files_it_names_exist():
    """The map of the code would lead nowhere."""
    tree = next(block for block in blocks("text") if block.startswith("rayal/"))
    inside = re.findall(r"(?<![\w/])(\w+(?:\.py|/))", tree)
    roots = [ROOT / name for name in ("rayal", "jobs", "configs", "docs", "tests")]
    files = [*roots, *(path for root in roots for path in root.rglob("*"))]
    links = re.findall(r"\]\(([^):]+)\)", README)

    for name in inside:
        assert any(path.match(name) for path in files), name
    for link in links:
        assert (ROOT / link).exists(), link
