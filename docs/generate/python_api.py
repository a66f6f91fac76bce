"""The page of the Python API, from the names that `rayal` exports, and how docstrings become it."""

from typing import Any

import griffe
import prose

import rayal


def python_api() -> str:
    """Functions and classes; mkdocstrings fills in each."""
    blocks = [
        "# Python API",
        "`import rayal` costs next to nothing: names are imported when they are first used.",
    ]
    blocks += [f"::: rayal.{name}" for name in sorted(rayal._HOMES)]
    return prose.page(*blocks)


class Docstrings(griffe.Extension):
    """Makes Markdown of the docstrings that mkdocstrings shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """griffe has read a module, class, function or field."""
        if obj.docstring:
            obj.docstring.value = prose.markdown(obj.docstring.value)
