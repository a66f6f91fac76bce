"""Every message that names a next step has a test that does the step.

`walked.tsv` says which: the module, a telling part of the message ({} for its values), and the test
that meets the message and then does what it says, or `none: ` and why that cannot be done here.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "rayal"
TABLE = Path(__file__).parent / "walked.tsv"
OPEN = "todo"
"""In place of a test: nobody has walked it yet."""

VERBS = (
    "add allow ask build check choose convert copy correct create delete do download drop"
    " fetch free give go install keep leave let list lower make mend mount move name observe"
    " pip prepare put raise read remove rename restore return run save say scale score see"
    " select send set start stop submit take train try turn unpack upgrade use wait write"
)
STEP = re.compile(rf"(^|\(|[;:,] (or |and )?)({'|'.join(VERBS.split())}) ")
"""How a message names a step: with one of these verbs, at its beginning or after a sign."""
WORDS = 3
"""A text of fewer is a title or the name of something."""


class Row(NamedTuple):
    """A line of the table."""

    module: str
    part: str
    test: str


def said(node: ast.AST) -> str | None:
    """The text of a literal, with {} for values; None for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(said(part) or "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = said(node.left), said(node.right)
        return None if left is right is None else (left or "{}") + (right or "{}")
    return None


def texts(node: ast.AST, inside: bool = False) -> Iterator[str]:
    """All texts below a node but docstrings and the help of commands; those inside the values of
    another apart from it. `inside`: the node is a piece of a text that was found already."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.keyword) and node.arg == "help":
        return
    text = said(node)
    if text is not None and not inside:
        yield " ".join(text.split())
    piece = text is not None or isinstance(node, ast.JoinedStr)
    for child in ast.iter_child_nodes(node):
        yield from texts(child, piece and not isinstance(child, ast.FormattedValue))


def names_a_step(text: str) -> bool:
    return len(text.split()) >= WORDS and STEP.search(text) is not None


@cache
def said_by_modules() -> tuple[tuple[str, str], ...]:
    """Module and text, of all texts of the source."""
    return tuple(
        (file.relative_to(SOURCE).as_posix(), text)
        for file in sorted(SOURCE.rglob("*.py"))
        for text in texts(ast.parse(file.read_text()))
    )


@cache
def messages() -> tuple[tuple[str, str], ...]:
    """Those of every message that names a step."""
    return tuple(each for each in said_by_modules() if names_a_step(each[1]))


def rows() -> list[Row]:
    return [Row(*line.split("\t")) for line in TABLE.read_text().splitlines()]


def of(row: Row) -> list[tuple[str, str]]:
    """The messages that a row is about; of a part that is one of them whole, that alone."""
    mine = [each for each in messages() if each[0] == row.module and row.part in each[1]]
    return [each for each in mine if each[1] == row.part] or mine


@cache
def names_of_tests(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def is_there(test: str) -> bool:
    """Whether `file::test` is a test; the name of a class of tests may stand between."""
    file, _, name = test.partition("::")
    name = name.rpartition("::")[2]
    return name.startswith("test_") and (TESTS / file).is_file() and name in names_of_tests(file)


def test_texts_are_found_as_they_are_written() -> None:
    """Put together, with values, of a constant, inside the values of another; no docstring."""
    code = '''
WAY = "delete it and go on"
def f(x):
    """Set this; use that instead."""
    raise E(f"{x} is bad: {'mend it well' if x else WAY}" + "; set x to 1")
'''
    found = [*texts(ast.parse(code))]

    assert ["delete it and go on", "{} is bad: {}; set x to 1", "mend it well"] == found
    assert all(map(names_a_step, found))
    assert not names_a_step("the setting is bad: settings differ in use")


def test_every_way_out_is_walked() -> None:
    """A message that names a step, and no test that does it."""
    told = {message for row in rows() for message in of(row)}

    assert [] == [message for message in messages() if message not in told]


def test_every_row_tells_of_one_message() -> None:
    """A row whose message was changed or taken away, or that could be about two."""
    assert [] == [row for row in rows() if len({*of(row)}) != 1]


def test_every_test_of_the_table_is_there() -> None:
    """A test that was renamed or deleted."""
    lost = [row for row in rows() if not row.test.startswith(("none: ", OPEN))]

    assert [] == [row for row in lost if not is_there(row.test)]


def test_the_table_is_sorted() -> None:
    """A row has one place, and is there once."""
    assert sorted(rows()) == rows()
    assert [] == [row for row, times in Counter(rows()).items() if times > 1]


def test_none_is_open() -> None:
    """A row that nobody has filled in."""
    assert [] == [row for row in rows() if row.test == OPEN]
