"""Docstrings taken apart."""

from rayal.experiment.described.docstring import Section, cited, first, flowing, sections

TEXT = """Mine: what it
does.

Source: A, "B" (2020); code x.
Reference: y.

Differences, of both:
- One goes
  on.
- Two.

    code: {a: 1}

*Differences*: stars.
A text
of two lines.
"""


def test_by_hand() -> None:
    """Sources would be read as notes, and lists and code as one line."""
    expected = [
        Section("source", 'A, "B" (2020); code x.'),
        Section("source", "Reference: y."),
        Section("differences", "Of both:\n- One goes on.\n- Two.\n\n    code: {a: 1}"),
        Section("differences", "Stars. A text of two lines."),
    ]

    assert "Mine: what it does." == first(TEXT)
    assert expected == sections(TEXT)


def test_without_anything() -> None:
    """A user's own part may say nothing."""
    assert ("", [], []) == (first(None), sections(None), cited(None))


def test_citations_have_a_year() -> None:
    """What else is in parentheses is no source."""
    text = 'Entropy (in nats) of masks (Shannon 1948; S. (ed.), "AL", 2009), 1999 times (or so).'

    assert ['Shannon 1948; S. (ed.), "AL", 2009'] == cited(text)


def test_tables_stay_as_they_are() -> None:
    """One line of a table is one row."""
    table = "| a | b |\n|---|---|"

    assert f"one two\n\n{table}" == flowing(f"one\ntwo\n\n{table}")
