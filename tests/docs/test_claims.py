"""The page of claims: every row has something that shows it, and that is there."""

import re
from pathlib import Path

from tests.support import shown_commands
from tests.test_docs import defined_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
CLAIMS = [row for row in ROWS if row[0] != "claim"]
COMMANDS = re.findall(r"`((?:pytest|python|rayal) [^`]+)`", PAGE)


def test_every_claim_has_a_reason_and_a_command() -> None:
    """A row would be an opinion."""
    assert len(CLAIMS) > 30
    for row in CLAIMS:
        assert 3 == len(row), row
        assert all(len(cell) > 10 for cell in row), row
        assert re.search(r"`(pytest|python|rayal) ", row[2]), row[0]


def test_every_test_is_there() -> None:
    """A test that was renamed would leave a claim about others without evidence."""
    named = [each.split()[1] for each in COMMANDS if each.startswith("pytest ")]

    assert len(named) > 20
    for each in named:
        file, _, test = each.partition("::")
        assert (ROOT / file).is_file() and test in defined_in(file), each


def test_every_program_and_command_is_there() -> None:
    """A reader would copy a command that is refused. Options of programs are among their own."""
    for command in COMMANDS:
        if command.startswith("rayal "):
            assert shown_commands.problem(command) is None, command
        elif command.startswith("python "):
            _, program, *words = command.split()
            folder = (ROOT / program).parent
            written = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
            for option in (word for word in words if word.startswith("--")):
                name = option.removeprefix("--").replace("-", "_")
                assert f'"{option}"' in written or f"    {name}: " in written, command
            assert (ROOT / program).is_file(), command


def test_the_page_is_in_the_navigation() -> None:
    """Nobody would find it."""
    assert "claims.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
