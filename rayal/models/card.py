"""What a weights file says about itself, so that it can be used without the run that made it."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from rayal.data.card import Card, ImageSpec
from rayal.data.images import Decoding
from rayal.data.tasks.base import Task
from rayal.errors import StorageError, UsageError
from rayal.models.base import Model, Precision
from rayal.models.build import build
from rayal.parts import Part
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.settings import wanted
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder
from rayal.storage.location import located

METADATA = "rayal"
"""Key of a safetensors file's metadata under which the card lies, as JSON."""
SIZE = 8
"""Bytes at the start of a safetensors file: how long its header is."""
MOST = 100_000_000
"""Bytes of a header at most, by the format."""


class ModelCard(BaseModel):
    """How to build the network of a weights file, and what it was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[Model, Part("models")]
    """Less its `pretrained` weights, which the file replaces."""
    classes: tuple[str, ...]
    image: ImageSpec
    decoding: Decoding
    """How encoded images become those that it was trained on."""
    precision: Precision = "fp32"
    task: Annotated[Task, Part("tasks")] = Field(default="classification", validate_default=True)

    @classmethod
    def of(
        cls,
        model: Model,
        card: Card,
        precision: Precision,
        task: Task,
        decoding: Decoding | None = None,
    ) -> "ModelCard":
        """The card of a model trained on the prepared dataset that `card` describes; `decoding` is
        how that was made of image files, which does not count where it leads to other shapes: then
        the originals were pixels."""
        channels, *sides = card.image.shape
        made = decoding and (decoding.channels, *(decoding.frame or sides))
        if decoding is None or made != card.image.shape:
            decoding = Decoding(channels=1 if channels == 1 else 3)
        return cls(
            model=model.bare(),
            classes=card.classes,
            image=card.image,
            decoding=decoding,
            precision=precision,
            task=task,
        )

    @classmethod
    def read(cls, folder: Folder, name: str, plugins: Plugins = NO_PLUGINS) -> "ModelCard | None":
        """As `parse`, of a file whose weights are left where they are; raises StorageError where
        there is no such file."""
        return cls.parse(_head(folder, name), f"{folder.url}/{name}", plugins)

    @classmethod
    def parse(cls, data: bytes, source: str, plugins: Plugins = NO_PLUGINS) -> "ModelCard | None":
        """The card in the bytes of a safetensors file; None in a file that is not rayal's.

        Raises UsageError, with the `source`, for a card that this rayal does not understand.
        """
        text = _text(data)
        if text is None:
            return None
        try:
            return cls.model_validate_json(text, context=plugins)
        except ValidationError as error:
            first = error.errors()[0]
            reason = wanted(first)
            raise UsageError(
                f"{source} is of a model that cannot be read here: {reason}"
            ) from error

    def metadata(self) -> dict[str, str]:
        """What a file says beside its weights."""
        return {METADATA: self.model_dump_json()}

    def untrained(self, seed: int = 0) -> nn.Module:
        """A network that the weights fit, on the CPU, its own random and decided by `seed` alone.

        A `pretrained` file is not read. Raises UsageError for images that the architecture does not
        accept.
        """
        return build(self.model.bare(), len(self.classes), self.image, seed)


def usual_names(classes: int) -> tuple[str, ...]:
    """What classes are called that nobody has named."""
    return tuple(f"class-{number}" for number in range(classes))


class Sees(BaseModel):
    """What a weights file says of images and classes, whatever architecture it is of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: tuple[str, ...]
    image: ImageSpec
    decoding: Decoding
    task: Annotated[Task, Part("tasks")] = Field(default="classification", validate_default=True)

    @classmethod
    def read(cls, folder: Folder, name: str) -> "Sees":
        """Of a file that rayal wrote; raises StorageError for any other."""
        text = _text(_head(folder, name))
        try:
            return cls.model_validate_json(text or "")
        except ValidationError as error:
            raise StorageError(
                f"{folder.url}/{name} is damaged; restore it from a copy, or score again"
            ) from error


def _head(folder: Folder, name: str) -> bytes:
    """Of a safetensors file what comes before the weights."""
    place = f"{folder.url}/{name}"
    with storage_errors(place):
        files, path = located(place)
        size = int.from_bytes(files.cat_file(path, 0, SIZE), "little")
        head: bytes = files.cat_file(path, 0, SIZE + min(size, MOST))
    return head


def _text(data: bytes) -> str | None:
    """The card in the bytes of a safetensors file; None where there is none."""
    size = int.from_bytes(data[:SIZE], "little")
    try:
        text: str | None = (
            json.loads(data[SIZE : SIZE + size]).get("__metadata__", {}).get(METADATA)
        )
    except (ValueError, AttributeError, RecursionError):  # of others, or damaged
        return None
    return text
