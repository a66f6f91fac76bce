"""A YAML file read strictly, and those underneath, each named by an `extends:`; texts sealed."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from rayal.errors import UsageError
from rayal.location import expanded
from rayal.storage.yaml_node import Node, Origin, fields_of, merge
from rayal.storage.yaml_text import parse

MAX_BYTES = 2**20  # a configuration is a few kB; more is the wrong file

SEAL = "# sha256 "


def read_yaml(path: str | Path, on: Node, parts: Collection[str] = ()) -> Node:
    """The mapping in a file, on top of the file that it `extends` and so on, down to `on`; `parts`
    as `merge` has them.

    Raises UsageError with file and line for whatever is not a plain YAML mapping.
    """
    return _read(Path(path), on, parts, ())


def check(path: Path) -> None:
    """Raises UsageError as `read_yaml`, for a file and those that it extends."""
    read_yaml(path, Node({}, Origin(str(path), None, path.parent)))


def _read(path: Path, on: Node, parts: Collection[str], above: tuple[Path, ...]) -> Node:
    above = (*above, path.resolve())
    document = parse(_text(path), str(path), path.parent.absolute())
    fields = dict(fields_of(document))
    extends = fields.pop("extends", None)
    if extends is not None:
        on = _read(_base(path, extends, above), on, parts, above)
    return merge(on, Node(fields, document.origin), parts)


def _base(path: Path, extends: Node, above: tuple[Path, ...]) -> Path:
    if not isinstance(extends.value, str):
        raise UsageError(f"{extends.origin}: extends: expected one file name")
    try:
        base = path.parent / expanded(extends.value)
    except ValueError as error:
        raise UsageError(f"{extends.origin}: extends: {error}") from error
    if not base.exists():
        raise UsageError(
            f"{extends.origin}: extends: {base}: there is no such file; check the path"
        )
    if base.resolve() in above:
        chain = " -> ".join(file.name for file in (*above, base))
        raise UsageError(
            f"{extends.origin}: extends: goes round in a circle: {chain}; remove one of these lines"
        )
    return base


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path}: more than {MAX_BYTES} bytes; this is no configuration file")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})") from error


def sealed(text: str) -> str:
    """A text of whole lines with the sha256 of it in a comment at the end, for `unsealed`."""
    return f"{text}{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n"


def unsealed(data: bytes) -> str:
    """The text that was sealed; one without a seal, as rayal 0.4 wrote it, is taken as it is.

    Raises ValueError where a bit of it has changed.
    """
    whole = data.decode()
    text, seal, _ = whole.rpartition(SEAL)
    if seal and whole != sealed(text):
        raise ValueError("its content does not match its sha256")
    return text if seal else whole
