"""The commands that the pages of docs/ show: there are such commands, and those to run do run."""

from pathlib import Path

import commands
import pytest

from tests.support import shown_commands

ROOT = Path(__file__).parents[2]
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted((ROOT / "docs").rglob("*.md"))
}
MADE = {"reference/command_line.md": commands.command_line()}
RUN = [page for page, text in PAGES.items() if shown_commands.to_run(text)]


def test_there_are_such_commands() -> None:
    """A reader would copy a command, or an option of one, that there is not."""
    shown = [
        (page, command)
        for page, text in (PAGES | MADE).items()
        for command in shown_commands.all_shown(text)
    ]
    wrong = {each: problem for each in shown if (problem := shown_commands.problem(each[1]))}

    assert len(shown) > 10
    assert not wrong


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_commands_run(page: str, tmp_path: Path) -> None:
    """A reader would follow a page into an error."""
    assert shown_commands.results(shown_commands.to_run(PAGES[page]), tmp_path)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("rayal run configs/digits/cod.yaml --set seed=1 --debug | head -1", None),
        ("rayal submit run configs/digits/cod.yaml --detach  # prints the job's id", None),
        ("rayal score --checkpoint w.pth --pool photos --strategies '{name: cod}' --out s", None),
        ("make test-slow", None),
        ("rayal runn configs/digits/cod.yaml", "No such command 'runn'."),
        ("rayal run configs/digits/cod.yaml --sett seed=1", "No such option: --sett"),
        ("rayal submit stop JOB", "No such command 'stop'."),
        ("rayal run configs/digits/none.yaml", "there is no configs/digits/none.yaml"),
        ("rayal run a.yaml b.yaml", "unexpected b.yaml"),
        ("make tests", "make has no tests"),
    ],
)
def test_the_reading_of_commands_is_right(command: str, wrong: str | None) -> None:
    """Nothing would be found wrong, whatever the pages show."""
    found = shown_commands.problem(command)

    assert (found is None) if wrong is None else (found or "").startswith(wrong)
