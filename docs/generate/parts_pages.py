"""Pages of the parts: one for each strategy and scheme, one for each other kind, the indexes."""

import re
from collections import defaultdict

import measured
from fields import ONE, as_table, of_options
from prose import code, markdown, page, table

from rayal import parts
from rayal.api.parts import describe
from rayal.experiment.described.part import Described

METHODS = ("strategies", "schemes")
"""Kinds with a page for each part."""
KINDS = ("models", "datasets", "oracles", "formats", "tasks", "trackers")
"""Kinds with a page for all parts together."""

FIELDS = {"trackers": "tracking", "formats": "oracle.format"}
"""Where an experiment names a part, if not by what it is."""

QUOTED = re.compile(r'"([^"]{20,})",? \(?([^();]*?\d{4})\b')
NAMED = re.compile(r"^([A-Z][\w-]+) \(([A-Z][A-Za-z]+ \d{4})\)")
"""A paper by its title or its name, with venue and year."""


def pages() -> dict[str, str]:
    """Address of a page below docs/ -> its Markdown."""
    found = {"methods/index.md": _overview(), "methods/papers.md": _papers()}
    for kind in METHODS:
        found |= {f"methods/{kind}/{part.name}.md": _method(part) for part in _all(kind)}
    return found | {f"reference/{kind}.md": _kind(kind) for kind in KINDS}


def _all(kind: str) -> list[Described]:
    return [describe(kind, name) for name in parts.names(kind)]


def _method(part: Described) -> str:
    return page(
        f"# {part.name}",
        *_what(part),
        "## Options",
        *_options(part),
        "## In an experiment",
        f"```yaml\n{part.example.strip()}\n```",
        *_background(part, "## {}"),
        "## Our results",
        measured.of(part.name) or "None of the runs in [our results](../results.md) is of it.",
    )


def _what(part: Described) -> list[str]:
    """What it is and does, and what one wants to know before the details."""
    facts = [(fact.label, fact.text) for fact in part.facts]
    if part.tasks:
        facts = [("tasks", ", ".join(part.tasks)), *facts]
    return [
        f"**{markdown(part.summary)}**",
        markdown(part.does) if part.does != part.summary else "",
        "\n".join(f"- *{label}*: {_fact(label, text)}" for label, text in facts),
    ]


def _fact(label: str, text: str) -> str:
    return ", ".join(map(code, text.split(", "))) if label == "reads" else markdown(text)


def _options(part: Described) -> list[str]:
    own = of_options(option for option in part.options if not option.shared)
    shared = of_options(option for option in part.options if option.shared)
    if not own and not shared:
        return ["It has none."]
    return [
        as_table(own, f"{part.name}."),
        f"Options that all {part.kind} have:" if shared else "",
        as_table(shared, f"{part.name}."),
    ]


def _background(part: Described, heading: str) -> list[str]:
    """Notes, where it comes from, and every difference from there, below such headings."""
    told = [("Notes", part.notes), ("Source", part.sources), ("Differences", part.differences)]
    return [
        block
        for title, paragraphs in told
        if paragraphs
        for block in (heading.format(title), *map(markdown, paragraphs))
    ]


def _overview() -> str:
    blocks = [
        "# Methods",
        "A method is a *strategy*, which says what is labeled next, and a *scheme*, which says how"
        " the model learns. Any strategy goes with any scheme, as far as `rayal plan` finds no"
        " contradiction. [By paper](papers.md) lists them by where they come from;"
        " [our results](results.md) has what was measured.",
    ]
    for kind in METHODS:
        rows = [(f"[{x.name}]({kind}/{x.name}.md)", markdown(x.summary)) for x in _all(kind)]
        blocks += [f"## {kind.title()}", table((ONE[kind], "what it is"), rows)]
    return page(*blocks)


def _papers() -> str:
    found: dict[tuple[str, str], list[Described]] = defaultdict(list)
    for part in (part for kind in METHODS for part in _all(kind)):
        for paper in papers(part):
            found[paper].append(part)
    rows = [
        (
            markdown(title),
            venue,
            ", ".join(f"[{part.name}]({part.kind}/{part.name}.md)" for part in some),
        )
        for (title, venue), some in sorted(found.items())
    ]
    return page(
        "# By paper",
        "Which strategies and schemes come from which paper. Each page says what was taken from it,"
        " and where paper, official code and rayal part.",
        table(("paper", "where", "strategies and schemes"), rows),
    )


def papers(part: Described) -> list[tuple[str, str]]:
    """Title (or, where it is cited so, name) and venue with year of what its sources cite."""
    text = [" ".join(each.split()) for each in part.sources]
    return [
        *dict.fromkeys(hit for each in text for hit in QUOTED.findall(each) + NAMED.findall(each))
    ]


def _kind(kind: str) -> str:
    described = _all(kind)
    rows = [(f"[{part.name}](#{part.name})", markdown(part.summary)) for part in described]
    blocks = [
        f"# {kind.title()}",
        f"What `{FIELDS.get(kind, ONE[kind])}:` of an experiment may name.",
        table((ONE[kind], "what it is"), rows),
    ]
    for part in described:
        blocks += [f"## {part.name}", *_what(part), *_options(part)]
        blocks += [f"```yaml\n{part.example.strip()}\n```", *_background(part, "**{}**")]
    return page(*blocks)
