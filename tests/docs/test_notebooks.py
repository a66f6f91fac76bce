"""The tutorials: each runs from its first cell to its last, and its stored outputs are of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def cells(path: Path) -> list[Any]:
    """The cells of code in a file."""
    found: list[Any] = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    return [cell for cell in found if cell.cell_type == "code"]


def shown(path: Path) -> list[list[tuple[str, ...]]]:
    """What kinds of outputs each cell has; of text also what."""
    return [
        [
            (output.output_type, *sorted(output.get("data", {})), output.get("text", ""))
            for output in cell.outputs
        ]
        for cell in cells(path)
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_was_stored_executed(path: Path) -> None:
    """A reader on the web would see code without what it does, or the error of somebody's run."""
    numbers = [cell.execution_count for cell in cells(path)]
    outputs = [output for cell in cells(path) for output in cell.outputs]
    names = [str(Path.home()), "/tmp/", "Traceback", "\\x1b"]  # the last makes terminals bold

    assert numbers == [*range(1, len(numbers) + 1)]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [name for name in names if name in str(outputs)]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no warnings


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    """A reader would end in an error, or see something else than is shown."""
    done = subprocess.run(
        [sys.executable, "docs/generate/execute.py", path, "--out", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert shown(tmp_path / path.name) == shown(path)
