"""What a terminal shows, as text, and as HTML for a notebook."""

import html
import io
import sys
from typing import Any

from rayal.secrets import hidden

STYLE = "line-height: 1.3; white-space: pre; overflow-x: auto"


def text(renderable: Any) -> str:
    """Something of rich as plain text, no line cut or folded, without secrets."""
    from rich.console import Console
    from rich.measure import Measurement

    out = io.StringIO()
    console = Console(
        file=out,
        force_jupyter=False,  # there it would show everything at once, and leave us nothing
        force_terminal=False,  # FORCE_COLOR, which notebooks set, asks for signs that make it bold
        highlight=False,
        markup=False,
        emoji=False,
        no_color=True,
    )
    wide = console.options.update(max_width=sys.maxsize)
    console.width = max(80, Measurement.get(console, wide, renderable).maximum)
    console.print(renderable)
    lines = (line.rstrip() for line in hidden(out.getvalue()).splitlines())
    return "\n".join(lines).rstrip()


def as_html(shown: str) -> str:
    """Text as a notebook shows it; nothing in it is taken for markup."""
    return f'<pre style="{STYLE}">{html.escape(shown)}</pre>'
