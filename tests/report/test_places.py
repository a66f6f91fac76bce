"""Text for people: what each place acts upon is escaped, and nothing else is."""

from rayal.report.places import in_figure, in_markdown, printable

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
