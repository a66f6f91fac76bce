"""A page as one HTML file that needs nothing else: the only place that knows of HTML.

All text is escaped by the template engine. Numbers of figures stand in JSON, whose signs that mean
something to HTML are escaped too. Nothing runs but the scripts that are written here, which the
page's own policy names by their sha256; it allows no address to be opened.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import rayal
from rayal.report.page.blocks import Section
from rayal.report.places import printable
from rayal.secrets import hidden

PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]*")
HERE = Path(__file__).parent
LIBRARIES = ("bokeh.min.js", "bokeh-api.min.js")
MISSING = "the figures need bokeh, which is not installed: pip install bokeh; their tables are here"
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What could end the element that JSON stands in, or a line of it."""


def written(
    title: str, facts: Sequence[str], sections: Sequence[Section], *, draws: bool = True
) -> str:
    """The whole file; without the scripts of figures where it `draws` none."""
    libraries = [*_libraries()] if draws else []
    scripts = [*libraries, (HERE / "figures.js").read_text()] if libraries else []
    template = _environment().get_template("page.html")
    return template.render(
        title=title,
        facts=facts,
        sections=sections,
        scripts=[Markup(script) for script in scripts],
        style=Markup((HERE / "style.css").read_text()),
        policy=policy(scripts),
        missing="" if libraries or not draws else MISSING,
        version=rayal.__version__,
    )


def policy(scripts: Sequence[str]) -> str:
    """What the page allows itself: these scripts, its own style and images inside of it."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    named = [f"'sha256-{base64.b64encode(each).decode()}'" for each in digests]
    allowed = " ".join(named or ["'none'"])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def as_json(data: Any) -> Markup:
    """JSON that may stand in an element of its own."""
    text = json.dumps(_shown(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(re.sub("[<>&\u2028\u2029]", lambda found: UNSAFE[found[0]], text))


def _picture(source: str) -> Markup:
    """A picture made here, which is long, and holds nothing that has to be escaped or hidden."""
    assert PICTURE.fullmatch(source), source[:80]
    return Markup(source)


def _shown(data: Any) -> Any:
    """With every text in it as `text` has it."""
    match data:
        case str():
            return data if PICTURE.fullmatch(data) else text(data)
        case dict():
            return {key: _shown(value) for key, value in data.items()}
        case list() | tuple():
            return [_shown(each) for each in data]
    return data


def text(value: str) -> str:
    """Without secrets, and with control characters shown, not obeyed."""
    return "\n".join(printable(line) for line in hidden(value).split("\n"))


def _finalised(value: Any) -> Any:
    """What a template puts into the page, before it is escaped."""
    return text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure_data"] = as_json
    made.filters["as_is"] = _picture
    return made


def _libraries() -> Sequence[str]:
    """The scripts of bokeh, which draws; none where it is not installed. It is not imported, which
    would take a second: its scripts are read."""
    found = find_spec("bokeh")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "server" / "static" / "js"
    try:
        return [_inline((folder / name).read_text(encoding="utf-8")) for name in LIBRARIES]
    except OSError:
        return []


def _inline(script: str) -> str:
    """A script that may stand in an element: without what ends one, and without its source map,
    which a browser would look for."""
    lines = [line for line in script.split("\n") if not line.startswith("//# sourceMappingURL")]
    return "\n".join(lines).replace("</script", "<\\/script").replace("<!--", "<\\!--")
