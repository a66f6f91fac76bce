"""Paths and URLs of a configuration: absolute from the moment that they are read."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from rayal import secrets


class Written(str):
    """A string of a configuration; it remembers the folder that relative paths start from."""

    folder: Path

    def __new__(cls, value: str, folder: Path) -> "Written":
        written = super().__new__(cls, value)
        written.folder = folder
        return written

    def __reduce__(self) -> tuple[type["Written"], tuple[str, Path]]:
        """For copies, and the way to a worker."""
        return Written, (str(self), self.folder)


def expanded(text: str) -> str:
    """A path or URL as a shell reads it: `$NAME`, `${NAME}` and a leading `~` are replaced.

    Raises ValueError for a variable that is not set and a user that is not known: a folder called
    `$SCRATCH` would be made without a word.
    """

    def of_variable(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            raise ValueError(f"{text!r}: ${name} is not set; set it, or write the path out")
        return os.environ[name]

    text = re.sub(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})", of_variable, text)
    if "://" in text or not text.startswith("~"):
        return text
    home = os.path.expanduser(text)
    if home.startswith("~"):
        raise ValueError(f"{text!r}: no home of that user is known; write ./{text} for a file here")
    return home


def _absolute(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    text = expanded(value)
    if "://" in text:
        if secrets.holds(text):
            raise ValueError(
                "holds a secret, which every run folder would show; leave it to the environment"
                " or the configuration of the storage"
            )
        return text
    folder = value.folder if isinstance(value, Written) else Path.cwd()
    return os.path.normpath(folder / text)


Location = Annotated[str, Field(min_length=1), BeforeValidator(_absolute)]
"""A path or URL. A relative path in a file starts from that file's folder; on the command line and
in Python, from the current one. The experiment holds it absolute. A URL holds no secret."""


def is_local(url: str) -> bool:
    """Whether requests stay on this machine, as far as the address tells."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
