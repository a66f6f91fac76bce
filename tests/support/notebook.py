"""A notebook in this process: code whose names are those of `__main__`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("own_parts.py")

Cell = Callable[[str], dict[str, Any]]


@contextmanager
def notebook(folder: Path) -> Iterator[Cell]:
    """Runs code as a cell does and returns the names of the notebook, which end with the block;
    the cells' files, where Python finds their source, lie in the folder."""
    names = vars(sys.modules["__main__"])
    before, number = dict(names), iter(range(100))

    def run(code: str) -> dict[str, Any]:
        file = folder / f"cell-{next(number)}.py"
        file.write_text(code)
        exec(compile(code, str(file), "exec"), names)
        return names

    try:
        yield run
    finally:
        names.clear()
        names.update(before)


def own_parts(cell: Cell) -> dict[str, Any]:
    """What the script defines, without its run."""
    return cell(SCRIPT.read_text().partition("\nif __name__")[0])
