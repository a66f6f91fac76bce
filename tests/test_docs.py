"""The catalogue of faults: every row is there, and every test it names."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAULTS = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
FAMILIES = dict(A=20, B=19, C=14, D=13, E=17, F=12, G=15, H=15, I=9, J=7, K=11, L=11, M=7, N=7, O=8)
"""Letter -> number of rows."""
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in FAULTS.splitlines()
    if re.match(r"\| [A-Z]\d", line)
]


@cache
def defined_in(file: str) -> set[str]:
    """The functions of a file, read without importing it."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_is_there_once():
    """A row that is lost, or there twice, would be one that nobody looks at."""
    expected = [f"{family}{n:02}" for family, rows in FAMILIES.items() for n in range(1, rows + 1)]

    assert expected == [row[0] for row in ROWS]


def test_every_fault_has_a_proof_or_a_reason():
    """A test that was renamed or deleted would leave a promise that nobody keeps."""
    for fault, _, _, proof in ROWS:
        named = re.findall(r"`((?:tests|rayal/testing)/[\w/]+\.py)::(test_\w+)`", proof)
        assert named or re.match(r"none: .{20,}", proof), f"{fault}: no test and no reason"
        assert len(named) == proof.count("::"), f"{fault}: {proof}"
        for file, test in named:
            assert test in defined_in(file), f"{fault}: there is no {file}::{test}"
