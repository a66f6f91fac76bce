"""A user's own program is checked by `mypy --strict` as it would be with any typed library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rayal

ROOT = Path(rayal.__file__).parents[1]

HEAD = """
from collections.abc import Sequence
from typing import assert_type
import numpy as np
import rayal
from torch import Tensor, nn
"""

LINES = {
    "load": """
x = rayal.load("configs/digits/cod.yaml", set=["seed=1"], strategy="margin")
assert_type(x, rayal.Experiment)
assert_type(x.budget.total, int)
""",
    "Experiment": """
class Mine(rayal.Strategy):
    needs = frozenset({"probs"})
    power: float = 1.0

    def score(self, s: rayal.Signals) -> Tensor:
        return s.probs.amax(dim=1).neg() ** self.power

    def select(
        self, pool: rayal.Candidates, budget: float, rng: np.random.Generator
    ) -> Sequence[str]:
        return pool.ids[: int(budget)]

y = rayal.Experiment(
    name="mine",
    dataset="digits",
    model={"name": "small_cnn", "width": 8},
    strategy=Mine(power=2.0),
    observers=["random", Mine()],
    budget=rayal.Budget(initial=20, per_cycle=20, total=60),
    compute={"engine": "local"},
    tracking="none",
)
assert_type(y.strategy, rayal.Strategy)
""",
    "run": """
def told(event: rayal.Event) -> None:
    assert_type(event.cycle, int | None)

class Watching:
    def on(self, event: rayal.Event) -> None: ...

assert_type(rayal.run(y, "runs/mine", on_event=print), rayal.Run)
run = rayal.run(y, on_event=told)
rayal.run(y, address="auto", on_event=Watching(), break_lock=True, plugins=["mine"])
""",
    "Run": """
run = rayal.open_run("runs/mine")
assert_type(run.complete, bool)
assert_type(run.url, str)
assert_type(run.chosen(0), list[str])
assert_type(run.model(), nn.Module)
assert_type(run.experiment, rayal.Experiment)
run.curve().groupby("cycle")
run.plot().savefig("curve.png")
""",
    "UsageError": """
try:
    rayal.run(y)
except rayal.UsageError as error:
    assert_type(error.exit_code, int)
except rayal.LabelsPending:
    pass
""",
}
"""Public name -> a program that uses it; those that do not exist yet are left out."""

WRONG = """
rayal.load(5)
rayal.run("configs/digits/cod.yaml")
rayal.Experiment(name="x", sheme="tod")
rayal.open_run("runs/mine").chosen("first")
"""
"""Lines that a type checker has to refuse."""

SETTINGS = """
[mypy]
strict = true
follow_imports = silent
ignore_missing_imports = true
[mypy-torch.*,torchvision.*,matplotlib.*,scipy.*,sklearn.*,pyarrow.*,ray.*,mlflow.*]
follow_imports = skip
"""
"""As a user has it, with the pydantic plugin or without; what takes minutes to read is skipped."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """What mypy says of a program of all these: line, text."""
    program = tmp_path_factory.mktemp("program") / "program.py"
    lines = [text for name, text in LINES.items() if hasattr(rayal, name)]
    program.write_text(HEAD + "".join(lines) + WRONG)
    settings = program.with_name("mypy.ini")
    settings.write_text(SETTINGS)
    options = ["--config-file", str(settings), "--no-error-summary"]
    options += ["--cache-dir", str(ROOT / ".mypy_cache" / "program")]
    command = [sys.executable, "-m", "mypy", *options, str(program)]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 1), done.stderr
    errors = [line.split(":", 2) for line in done.stdout.splitlines() if ": error: " in line]
    return [(int(number), text) for _, number, text in errors]


def first_wrong() -> int:
    """The number of the first line that is wrong."""
    lines = [text for name, text in LINES.items() if hasattr(rayal, name)]
    return (HEAD + "".join(lines)).count("\n") + 2


@pytest.mark.slow
def test_a_program_is_checked_without_error(said: list[tuple[int, str]]) -> None:
    """Users who check their types would have to ignore every line with rayal in it."""
    assert [] == [error for error in said if error[0] < first_wrong()]


@pytest.mark.slow
def test_a_mistake_is_found_before_the_program_runs(said: list[tuple[int, str]]) -> None:
    """Types that are all `Any` would pass the test above."""
    wrong = {number - first_wrong() for number, _ in said if number >= first_wrong()}

    assert {*range(WRONG.strip().count("\n") + 1)} == wrong
