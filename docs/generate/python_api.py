"""Pages of the Python API, from the names that `rayal` exports, and how docstrings become them."""

import re
from inspect import cleandoc
from typing import Any

import griffe
import prose

import rayal

FIRST = (
    "rayal.api.",
    "rayal.experiment.",
    "rayal.labeling.budget",
    "rayal.runs.events",
    "rayal.plugins",
    "rayal.errors",
)
"""Where the names come from that everybody uses; the others are for authors of parts."""


WORK = (
    *("load", "run", "open_run", "plan", "status"),
    *("ActiveLearner", "draft", "wrap", "score", "select", "features"),
    *("add_labels", "push_labels", "pull_labels", "label_status", "export_labels"),
    *(
        "load_sweep",
        "sweep",
        "open_sweep",
        "compare",
        "forecast",
        "replay",
        "submit",
        "jobs",
        "sync",
        "prune",
    ),
    *("list_parts", "describe", "origins", "schema"),
)
"""What a reader calls, in the order of the page; what these return and take comes after them."""


def use() -> str:
    """What runs, reads and compares experiments, and the errors."""
    names = sorted(rayal._HOMES, key=lambda name: (_place(name), name))
    others = [name for name in names if name not in WORK and _place(name) < len(FIRST)]
    return prose.page(
        "# Python API",
        "`import rayal` costs next to nothing: names are imported when they are first used. What a"
        " command does is here too. [For parts of your own](parts_api.md) has what their authors"
        " need.",
        prose.table(("", "what it does"), [(_linked(name), _sentence(name)) for name in WORK]),
        "What they return and take, and the errors: " + ", ".join(map(_linked, others)) + ".",
        *(f"::: rayal.{name}" for name in (*WORK, *others)),
    )


def _linked(name: str) -> str:
    return f"[`{name}`][rayal.{name}]"


def _sentence(name: str) -> str:
    """The first one of its docstring."""
    paragraph = cleandoc(getattr(rayal, name).__doc__).partition("\n\n")[0]
    return prose.escaped(re.split(r"(?<=\.)\s", paragraph)[0])


def parts() -> str:
    """The contracts of parts and what they are made of."""
    return prose.page(
        "# Python API for parts of your own",
        "What a strategy, model, dataset, oracle or scheme of your own subclasses, and what it"
        " meets. `rayal.testing.check` says whether it keeps its contract.",
        *(
            f"::: rayal.{name}"
            for name in sorted(rayal._HOMES)
            if _place(name) == len(FIRST) and name not in WORK
        ),
    )


def _place(name: str) -> int:
    """The rank of a name's home."""
    homes = [i for i, start in enumerate(FIRST) if rayal._HOMES[name].startswith(start)]
    return homes[0] if homes else len(FIRST)


class Docstrings(griffe.Extension):
    """Makes Markdown of the docstrings that mkdocstrings shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """griffe has read a module, class, function or field."""
        if obj.docstring:
            obj.docstring.value = prose.markdown(obj.docstring.value)
