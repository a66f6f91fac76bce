"""Pages of the Python API, from the names that `rayal` exports, and how docstrings become them."""

from typing import Any

import griffe
import prose

import rayal

FIRST = ("rayal.api.", "rayal.experiment.", "rayal.errors")
"""Where the names come from that everybody uses; the others are for authors of parts."""


def use() -> str:
    """What runs, reads and compares experiments, and the errors."""
    names = sorted(rayal._HOMES, key=lambda name: (_place(name), name))
    return prose.page(
        "# Python API",
        "`import rayal` costs next to nothing: names are imported when they are first used. What a"
        " command does is here too. [For parts of your own](parts_api.md) has what their authors"
        " need.",
        *(f"::: rayal.{name}" for name in names if _place(name) < len(FIRST)),
    )


def parts() -> str:
    """The contracts of parts and what they are made of."""
    return prose.page(
        "# Python API for parts of your own",
        "What a strategy, model, dataset, oracle or scheme of your own subclasses, and what it"
        " meets. `rayal.testing.check` says whether it keeps its contract.",
        *(f"::: rayal.{name}" for name in sorted(rayal._HOMES) if _place(name) == len(FIRST)),
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
