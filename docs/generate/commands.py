"""The page of the command line, from the application itself."""

from typing import Any

import typer
from prose import code, escaped, page, table

from rayal.cli import app
from rayal.cli.options import CLUSTERS, EXAMPLES, EXPERIMENTS, LABELS, PARTS, POOLS

GROUPS = EXPERIMENTS, POOLS, LABELS, CLUSTERS, PARTS
"""In the order of the help."""


def root() -> Any:
    """The `rayal` command."""
    return typer.main.get_command(app)


def verbs(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command below this one that does something, with its words: `("submit", "run")`."""
    if not hasattr(command, "commands"):
        return [(words, command)]
    return [
        found
        for name, inner in command.commands.items()
        if not inner.hidden
        for found in verbs(inner, (*words, name))
    ]


def command_line() -> str:
    """All of it: the options that go anywhere, then every verb in its group."""
    top = root()
    blocks = [
        "# Command line",
        "Every command is `rayal VERB`; `rayal VERB --help` says the same as this page.",
        "## Everywhere",
        _options(top),
        "```bash\n" + "\n".join(_examples()) + "\n```",
    ]
    for group in GROUPS:
        inside = [name for name, each in top.commands.items() if _group(each) == group]
        blocks += [f"## {group}"] * bool(inside)
        for name in inside:
            blocks += [_verb(words, each) for words, each in verbs(top.commands[name], (name,))]
    return page(*blocks)


def _group(command: Any) -> str:
    return command.rich_help_panel if isinstance(command.rich_help_panel, str) else EXPERIMENTS


def _verb(words: tuple[str, ...], command: Any) -> str:
    name = " ".join(("rayal", *words))
    named = [each for each in command.params if each.param_type_name == "argument"]
    shown = " ".join([name, *(_placeholder(each) for each in named), "[OPTIONS]"])
    examples = [each for each in _examples() if each.startswith(name + " ") or each == name]
    return page(
        f"### {name}",
        escaped(command.help or ""),
        f"```text\n{shown}\n```",
        table(
            ("argument", "what it is"), [(_placeholder(a), escaped(a.help or "")) for a in named]
        ),
        _options(command),
        "```bash\n" + "\n".join(examples) + "\n```" if examples else "",
    )


def _placeholder(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _options(command: Any) -> str:
    found = [
        (
            ", ".join(map(code, [*each.opts, *each.secondary_opts])),
            _takes(each),
            escaped(each.help or ""),
        )
        for each in command.params
        if each.param_type_name == "option" and not each.hidden
    ]
    return table(("option", "default", "what it does"), found)


def _takes(option: Any) -> str:
    if option.required:
        return "**required**"
    if option.default in (None, [], ()) or (option.is_flag and not option.default):
        return ""
    return code(str(option.default).lower() if option.is_flag else str(option.default))


def _examples() -> list[str]:
    return [line.strip() for line in EXAMPLES.splitlines() if line.strip().startswith("rayal ")]
