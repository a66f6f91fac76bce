"""rayal/errors.py: values in messages, short and harmless."""

import unicodedata

import numpy as np

from rayal.errors import LONGEST, counted, cut, quoted, some


def test_quoted_values_are_short_and_harmless() -> None:
    """An id of 10 kB or with terminal codes must not flood or rewrite the user's screen."""
    assert r"'a\x1b[2J\n'" == quoted("a\x1b[2J\n")
    assert "[1, 2]" == quoted([1, 2])
    assert "3" == quoted(np.int64(3)) == quoted(np.array(3)) and "'a'" == quoted(np.str_("a"))
    for long in ("x" * 10_000, ["x"] * 10_000, b"x" * 10_000):
        assert LONGEST + 10 > len(quoted(long)) > LONGEST
    assert LONGEST + 3 == len(cut("x" * 10_000))
    assert "x" * LONGEST == cut("x" * LONGEST)


def test_names_that_look_alike_are_told_apart() -> None:
    """'café' is not among 'café': nobody could see why."""
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))

    assert repr(composed) == quoted(composed)
    assert r"'cafe\u0301'" == quoted(decomposed)
    assert "'猫'" == quoted("猫")


def test_nouns_go_with_their_numbers() -> None:
    """1 files would be read as a mistake of whoever counted."""
    assert "1 file" == counted(1, "file")
    assert "0 files" == counted(0, "file")
    assert "2,000 entries" == counted(2000, "entry", "entries")
    assert "1 id is" == counted(1, "id is", "ids are")


def test_lists_are_short() -> None:
    """A thousand names would hide the one that matters."""
    assert "'a', 1" == some(["a", 1])
    assert "0, 1, 2, 3, 4 and 995 more" == some(range(1000))
