"""Tools that know images by their file names: which units a name stands for."""

from collections.abc import Sequence

from rayal.errors import UsageError, quoted
from rayal.labeling.exchange.base import Asked, Item
from rayal.parts import suggest


def items_of(name: str, asked: Asked) -> Sequence[Item]:
    """What an image is of; several items where they are regions of it.

    Raises UsageError for a name that is not of this request.
    """
    file = name.replace("\\", "/").rpartition("/")[2]
    if found := asked.by_image.get(file):
        return found
    known = asked.by_image if len(asked.by_image) < 1000 else ()  # to look for likeness takes long
    near = suggest(file, known) if known else ""
    hint = f", {near}" if near.startswith("did you mean") else "; leave it out"
    raise UsageError(f"{quoted(name)} is no image of this request{hint}")


def check_size(name: str, items: Sequence[Item], height: object, width: object) -> None:
    """Raises UsageError where the tool had the image in another size."""
    if (height, width) != items[0].size:
        rows, columns = items[0].size
        raise UsageError(
            f"{quoted(name)} is {height}x{width}, and {rows}x{columns} was handed out; label the"
            " image as it was"
        )
