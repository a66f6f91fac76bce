"""Docstrings become Markdown that shows what they say."""

import prose
from markdown import Markdown


def html(text: str) -> str:
    """As the site renders it."""
    return Markdown(extensions=["tables", "fenced_code"]).convert(text)


def test_a_list_below_a_sentence_is_one() -> None:
    """Differences from a paper would run together in one paragraph."""
    made = html(prose.markdown("Differences:\n- the first\n  goes on\n- the second"))

    assert made.count("<li>") == 2
    assert "<p>Differences:</p>" in made


def test_signs_of_html_are_themselves() -> None:
    """`<name>` would vanish from the page, and a[1](b) be a link."""
    made = html(prose.markdown("takes <name> & Q[y](x), or `a < b` and `c[d]`"))

    assert made == (
        "<p>takes &lt;name&gt; &amp; Q[y](x), or <code>a &lt; b</code> and <code>c[d]</code></p>"
    )


def test_formulas_keep_their_signs() -> None:
    """sum_c p_c and weight * loss would lose underscores and stars to italics."""
    made = html(prose.markdown("L + weight * mean_c |p_c - p'_c|^2 * 2"))

    assert made == "<p>L + weight * mean_c |p_c - p'_c|^2 * 2</p>"


def test_an_example_is_code() -> None:
    """`>>>` would be three quotations in each other."""
    made = html(prose.markdown("Before.\n\n>>> 1 + 1\n2\n\nAfter."))

    assert "<code" in made and "&gt;&gt;&gt; 1 + 1\n2" in made
    assert "<p>After.</p>" in made and "blockquote" not in made


def test_a_bar_does_not_end_a_cell() -> None:
    """|x| in a description would shift the columns behind it."""
    made = html(prose.table(("a", "b"), [("|x| and `u | v`", "last")]))

    assert made.count("<td>") == 2
    assert "<td>last</td>" in made and "u | v" in made


def test_a_table_without_rows_is_nothing() -> None:
    """A page would show a head with nothing below it."""
    assert prose.table(("a",), []) == ""
    assert prose.page("# A", "", "text") == "# A\n\ntext\n"
