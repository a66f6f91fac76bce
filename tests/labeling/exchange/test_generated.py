"""Thousands of files as tools export them, and as they arrive: either all that is right in one is
taken exactly, or the file is refused with the reason, and nothing has changed."""

from pathlib import Path

import numpy as np
import pytest

from rayal.data.masks import encode
from rayal.errors import UsageError
from rayal.labeling import incoming
from rayal.labeling.incoming import Given
from rayal.labeling.request import Request
from rayal.labeling.votes import Vote
from rayal.storage.folder import Folder
from tests.support import exports
from tests.support.exports import TOOLS, Case, Said, Tool

FEW, ALL = 60, 1000
"""Files of each tool: by default, and with the slow tests."""


@pytest.mark.parametrize("tool", TOOLS)
def test_some_exports(tool: str, tmp_path: Path) -> None:
    """A label would be lost, doubled or changed, or a command end in a traceback."""
    for seed in range(FEW):
        go(TOOLS[tool](), seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_all_exports(tool: str, tmp_path: Path) -> None:
    """As above, in a case that is rare."""
    for seed in range(FEW, ALL):
        go(TOOLS[tool](), seed, tmp_path)


def go(tool: Tool, seed: int, folder: Path) -> None:
    """Gives the file of this number to a request in which something was answered before."""
    asked, each = exports.asked_for(tool.masks), exports.case(tool, seed)
    out = folder / str(seed) / "label"
    request = Request(Folder(out))
    request.ask([item.unit for item in asked.items])
    request.tell([Vote(asked.items[-1].unit, encode(mask()) if tool.masks else 0, "before")])
    there = contents(folder / str(seed))
    given = Given("export", each.data)
    try:
        taken = incoming.check(given, tool.part, asked, exports.card_of(asked), request)
    except UsageError as error:
        assert each.right is not True, (each, str(error))
        check_message(str(error))
        assert there == contents(folder / str(seed))
        return
    assert each.right is not False, each
    incoming.take(given, taken, request)
    check_votes(tool, each, Request(Folder(out)))


def check_message(text: str) -> None:
    """It is of one problem, or of several with their number; each says something."""
    lines = [line.strip() for line in text.split("\n")]

    assert all(len(line.split()) > 3 for line in lines if not line.startswith("and "))


def check_votes(tool: Tool, each: Case, request: Request) -> None:
    """Those of a file are its answers, each once; of a damaged one no others."""
    votes = [vote for votes in request.votes.values() for vote in votes]
    before, *new = votes
    found = {(vote.unit, vote.annotator): (vote.value, vote.seconds) for vote in new}
    true = {(said.unit, said.annotator): (value(tool, said), said.seconds) for said in each.truth}

    assert "before" == before.annotator and len(found) == len(new)
    if each.right:
        assert true == found, each
    else:
        assert found.items() <= true.items(), each


def value(tool: Tool, said: Said) -> int | bytes | None:
    if isinstance(said.label, np.ndarray):
        return encode(said.label)
    return None if said.label is None else exports.CLASSES.index(said.label)


def mask() -> np.ndarray:
    return np.zeros(exports.SIZE, np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("tool", TOOLS)
def test_two_annotators_give_a_file_each(tool: str, tmp_path: Path) -> None:
    """One would be taken for a contradiction of the other, or for the same."""
    made, rng = TOOLS[tool](), exports.Random(0)
    asked = exports.asked_for(made.masks)
    request = Request(Folder(tmp_path / "label"))
    request.ask([item.unit for item in asked.items])
    card = exports.card_of(asked)
    for who in ("ann", "bob"):
        label = mask() + (who == "bob") if made.masks else exports.CLASSES[who == "bob"]
        said = [Said(unit, label, who) for unit in exports.UNITS]
        given = Given("export", made.export(asked, said, rng))
        incoming.take(given, incoming.check(given, made.part, asked, card, request), request)
    names = [[vote.annotator for vote in votes] for votes in request.votes.values()]

    assert [["ann", "bob"]] * len(exports.UNITS) == names
