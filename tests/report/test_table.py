"""A table in its forms."""

from rayal.report.table import Table, latex, markdown

TABLE = Table("a_b & c", ["strategy", "10", "verdict"], [["[x] 5 %", "1 ± 2", "a < b"]], "– is $")


def test_latex_by_hand() -> None:
    """Pasted into a paper it has to compile: every sign that LaTeX acts upon is a letter, and a
    bracket behind the end of a row is no length."""
    assert r"""\begin{table}
\centering
\caption{a\_b \& c. -- is \$.}
\begin{tabular}{lrr}
\toprule
strategy & 10 & verdict \\
\midrule
{[}x] 5 \% & 1 $\pm$ 2 & a $<$ b \\
\bottomrule
\end{tabular}
\end{table}""" == latex(TABLE)


def test_sentences_have_lines() -> None:
    """A verdict on one line would run off the page."""
    assert r"\begin{tabular}{lrp{0.75\linewidth}}" in latex(TABLE._replace(prose=True))


def test_names_in_latex_act_on_nothing() -> None:
    r"""`\input{/etc/passwd}` is a name like any other."""
    hostile = TABLE._replace(rows=[["\\input{x}^~#\x1b", "", ""]])

    assert (
        r"\textbackslash{}input\{x\}\textasciicircum{}\textasciitilde{}\#\textbackslash{}x1b"
        in latex(hostile)
    )


def test_markdown_by_hand() -> None:
    """Heading, rows, note."""
    heading, body, note = markdown(TABLE)

    assert "### a_b & c" == heading
    assert r"| \[x\] 5 % | 1 ± 2 | a < b |" == body.splitlines()[2]
    assert r"– is \$" == note
