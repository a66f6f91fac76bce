"""Commands as a page shows them: which they are, whether they exist, and running them.

Those of a block `console`, behind a `$`, are run: a run and a sweep by a shell, as they stand, the
others in copies of a process that has imported what they take. Those of a block `bash` are read
only, for they want a cluster, a day or a folder of the reader's own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import torch
import torchvision
import typer
from PIL import Image

from rayal.cli import ANYWHERE, app
from tests.support.copied_command import CopiedCommand

ROOT = Path(__file__).parents[2]
BY_SHELL = {"run", "sweep"}
"""Verbs whose process is that of a user, from its first import; they start Ray."""


def blocks(text: str, language: str) -> list[str]:
    """The content of the fenced blocks of a language, also of those set in."""
    found = re.findall(rf"^( *)```{language}\b[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [dedent(content) for _, content in found]


def to_run(text: str) -> list[str]:
    """The commands of the blocks `console`, long ones in one line."""
    shown = "".join(blocks(text, "console")).replace("\\\n", "")
    return [line[2:] for line in shown.splitlines() if line.startswith("$ ")]


def all_shown(text: str) -> list[str]:
    """Those, and the lines of blocks `bash` that are commands of rayal or make."""
    lines = "".join(blocks(text, "bash")).replace("\\\n", "").splitlines()
    read = [line.strip().removeprefix("$ ") for line in lines]
    return [*to_run(text), *(line for line in read if re.match(r"(rayal|make) \S", line))]


def problem(command: str) -> str | None:
    """What is wrong with the words of a command, which is not run; None where it is one."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break  # the rest is the shell's
        words.append(word)
    for word in words:
        if re.match(r"(configs|jobs|docs|tests)/\S+\.\w+$", word) and not (ROOT / word).exists():
            return f"there is no {word}"
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        unknown = [each for each in words[1:] if "=" not in each and each not in targets]
        return f"make has no {unknown[0]}" if unknown else None
    return _unknown(
        typer.main.get_command(app), [each for each in words[1:] if each not in ANYWHERE]
    )


def _unknown(command: Any, words: list[str]) -> str | None:
    """The first word that the command line does not know."""
    context = command.context_class(command, info_name=command.name)
    try:
        _, rest, _ = command.make_parser(context).parse_args(args=list(words))
        if not hasattr(command, "commands"):
            return f"unexpected {rest[0]}" if rest else None
        if not rest:
            return None
        _, inner, rest = command.resolve_command(context, rest)
    except typer.TyperException as error:
        return str(error.format_message())
    return _unknown(inner, rest)


def put_own_files(folder: Path) -> None:
    """What a newcomer with photos and a trained model has."""
    weights = torchvision.models.resnet18(num_classes=5).state_dict()
    torch.save(weights, folder / "my_resnet18.pth")
    (folder / "photos").mkdir()
    for number in range(20):
        color = (10 * number, 250 - 10 * number, 5 * number)
        Image.new("RGB", (40 + number, 50), color).save(folder / f"photos/photo-{number}.jpg")
    (folder / "done.txt").write_text("photo-0.jpg\n")


def results(commands: list[str], folder: Path) -> dict[str, str]:
    """What they print, by verb, where a newcomer stands."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    put_own_files(folder)
    digits = (
        folder / "configs" / "digits" / "base.yaml"
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
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "rayal", command
        if words[0] in BY_SHELL:
            process = subprocess.Popen(command, shell=True, cwd=folder, env=environment, **pipes)
        else:
            process = CopiedCommand(words, folder, environment)
        out, err = process.communicate()
        assert process.returncode == 0, f"{command}: {err}"
        outputs[words[0]] = out
    return outputs
