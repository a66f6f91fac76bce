"""Executes notebooks and stores what they put out, so that they can be read without running them.

    python docs/generate/execute.py docs/tutorials/*.ipynb
    python docs/generate/execute.py docs/tutorials/own_strategy.ipynb --out DIR

Each runs in an empty folder of its own, from its first cell to its last. Without --out it replaces
the file. A cell that fails ends the command, with exit code 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

LONGEST = 600
"""Seconds of one cell."""


def executed(path: Path) -> Any:
    """The notebook in a file with fresh outputs; nothing in it tells when and where."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=LONGEST,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        ).execute()
        text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    notebook = nbformat.reads(text.replace(f"{folder}/", ""), 4)  # type: ignore[no-untyped-call]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", {}
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="Folder for the executed ones.")
    given = parser.parse_args()
    for path in given.notebooks:
        try:
            notebook = executed(path)
        except CellExecutionError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        target = given.out / path.name if given.out else path
        nbformat.write(notebook, target)  # type: ignore[no-untyped-call]
    return 0


if __name__ == "__main__":
    sys.exit(main())
