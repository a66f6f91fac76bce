"""Text for people: what each place acts upon is escaped, and nothing else is."""

from rayal.report.places import in_figure, in_markdown, inches, printable, wrapped

HOSTILE = "\x1b[2J|[red](x)$x$<b>\n# a_b _c_"


def test_a_terminal_obeys_nothing() -> None:
    """A run folder from elsewhere may hold escape codes, or a second line."""
    assert r"\x1b[2J|[red](x)$x$<b>\n# a_b _c_" == printable(HOSTILE)


def test_markdown_makes_nothing_of_it() -> None:
    """A setting would open another column, a link or a formula; names stay as people know them."""
    assert r"\\x1b\[2J\|\[red\](x)\$x\$\<b>\\n# a_b \_c\_" == in_markdown(HOSTILE)
    plain = "core_set (tod, weight=0.02, root=/data/a) < 0.001 & 95 % ± 1"
    assert plain == in_markdown(plain)


def test_names_that_figures_cannot_write() -> None:
    """A missing letter is a warning of the drawing library for every figure."""
    assert "Straße/ño ?? – ?" == in_figure("Straße/ño 道路 – \n")


def test_lines_are_as_wide_as_there_is_room() -> None:
    """Counted in signs, a title of W is cut off, and one of i takes two lines."""
    text = "WWWW iiii " * 8 + "W" * 40
    lines = wrapped(text, 9, 1.5).split("\n")

    assert all(inches(line, 9) <= 1.5 for line in lines)
    assert text.replace(" ", "") == "".join(lines).replace(" ", "")
    assert "short enough" == wrapped("short enough", 9, 1.5)
