"""XML that people give: no entities, no document types, no depths."""

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from rayal.errors import UsageError

DEEPEST = 32


def parsed(data: bytes) -> Element:
    """The root of a document.

    Raises UsageError for one that is not whole, or that declares anything.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise UsageError(f"the XML is deeper than {DEEPEST} elements; export it again")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _declares
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"the file is no whole XML ({error}); export it again as CVAT for images 1.1"
        ) from error


def _declares(*_: object) -> NoReturn:
    raise UsageError("the XML declares a document type, which no labeling tool does; leave it out")
