"""Pages of the parts: one for each strategy and scheme, one for each other kind, the indexes."""

from collections import defaultdict
from collections.abc import Iterator

import measured
from facts import Facts, all_of
from fields import ONE, as_table
from prose import code, markdown, page, table

METHODS = ("strategies", "schemes")
"""Kinds with a page for each part."""
KINDS = ("models", "datasets", "oracles", "tasks", "trackers")
"""Kinds with a page for all parts together."""


def pages() -> dict[str, str]:
    """Address of a page below docs/ -> its Markdown."""
    found = {"methods/index.md": _overview(), "methods/papers.md": _papers()}
    for kind in METHODS:
        found |= {f"methods/{kind}/{each.name}.md": _method(each) for each in all_of(kind)}
    return found | {f"reference/{kind}.md": _kind(kind) for kind in KINDS}


def _method(facts: Facts) -> str:
    results = measured.of(facts.name)
    return page(
        f"# {facts.name}",
        f"*{markdown(facts.title)}*",
        markdown(facts.what),
        "\n".join(f"- **{what}**: {value}" for what, value in _at_a_glance(facts)),
        "## Options",
        as_table(facts.options, f"{facts.name}.") or f"This {ONE[facts.kind]} has none of its own.",
        _shared(facts),
        "## Source and differences" if facts.background else "",
        markdown(facts.background),
        "## Our results",
        results or "None of the runs in [our results](../results.md) is of it.",
    )


def _at_a_glance(facts: Facts) -> Iterator[tuple[str, str]]:
    """What one wants to know before the details."""
    part = facts.part
    yield "in a file", f"`{ONE[facts.kind]}: {facts.name}`"
    yield "for", ", ".join(sorted(part.tasks))
    if facts.kind == "strategies":
        yield "reads", ", ".join(map(code, sorted(part.needs))) or "nothing of the model"
        if part.keeps:
            yield "keeps of each image", ", ".join(map(code, sorted(part.keeps)))


def _shared(facts: Facts) -> str:
    if not (rows := facts.shared_options):
        return ""
    others = "most strategies" if facts.kind == "strategies" else f"all {facts.kind}"
    return page(f"Options that {others} have:", as_table(rows, f"{facts.name}."))


def _overview() -> str:
    blocks = [
        "# Methods",
        "A method is a *strategy*, which says what is labeled next, and a *scheme*, which says how"
        " the model learns. Any strategy goes with any scheme, as far as `rayal plan` finds no"
        " contradiction. [By paper](papers.md) lists them by where they come from;"
        " [our results](results.md) has what was measured.",
    ]
    for kind in METHODS:
        rows = [(f"[{each.name}]({kind}/{each.name}.md)", _line(each)) for each in all_of(kind)]
        blocks += [f"## {kind.title()}", table((ONE[kind], "what it is"), rows)]
    return page(*blocks)


def _line(facts: Facts) -> str:
    return markdown(facts.title)


def _papers() -> str:
    found: dict[tuple[str, str], list[Facts]] = defaultdict(list)
    for kind in METHODS:
        for each in all_of(kind):
            for paper in each.papers:
                found[paper].append(each)
    rows = [
        (
            markdown(title),
            venue,
            ", ".join(f"[{each.name}]({each.kind}/{each.name}.md)" for each in facts),
        )
        for (title, venue), facts in sorted(found.items())
    ]
    return page(
        "# By paper",
        "Which strategies and schemes quote which paper. Each page says what was taken from it, and"
        " where paper, official code and rayal part.",
        table(("paper", "where", "strategies and schemes"), rows),
    )


def _kind(kind: str) -> str:
    blocks = [f"# {kind.title()}", f"What `{ONE[kind]}:` of an experiment may name."]
    facts = all_of(kind)
    blocks.append(
        table((ONE[kind], "what it is"), [(f"[{f.name}](#{f.name})", _line(f)) for f in facts])
    )
    for each in facts:
        blocks += [
            f"## {each.name}",
            f"*{markdown(each.title)}*",
            markdown(each.what),
            markdown(each.background),
            as_table([*each.options, *each.shared_options], f"{each.name}."),
        ]
    return page(*blocks)
