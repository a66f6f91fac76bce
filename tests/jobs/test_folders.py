"""What holds in all folders of jobs/: their programs import siblings by their plain names."""

import ast
from collections import Counter
from pathlib import Path

JOBS = Path(__file__).parents[2] / "jobs"
FILES = list(JOBS.glob("*/*.py"))


def imported(file: Path) -> set[str]:
    """The names of whole modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_shared_modules_have_names_of_their_own() -> None:
    """Two programs in one process, as in these tests, would get each other's module."""
    folders = Counter(file.stem for file in FILES)
    shared = {name for file in FILES for name in imported(file) if name in folders}

    assert {"benchmark", "reproduction", "study"} <= shared
    assert {name: 1 for name in shared} == {name: folders[name] for name in shared}


def test_no_program_is_imported_by_another() -> None:
    """`tod` would be the analysis or the reproduction, whichever folder is first on the path."""
    programs = {file.stem for file in FILES if '__name__ == "__main__"' in file.read_text()}

    assert {"tod", "pool", "timing"} <= programs
    assert {} == {file.name: found for file in FILES if (found := imported(file) & programs)}
