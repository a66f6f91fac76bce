"""The experiment of a run folder as any later reader takes it, without its classes."""

from typing import Any

import yaml
from pydantic import ValidationError

from rayal.blame import told
from rayal.errors import StorageError
from rayal.labeling.budget import Budget
from rayal.settings import wanted
from rayal.storage import yaml_file
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json

NAME = "experiment.yaml"
WRITTEN_ANEW = "give the run's own command again, which writes it anew"
"""What helps where the file cannot be read."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Of files that are read often: the one in C takes a tenth of the time, and is there as a rule."""
PARTS = ("dataset", "task", "scheme", "strategy")
"""Of an experiment, what every reader needs to know the name of."""


class ExperimentFile:
    """`experiment.yaml`, read whenever somebody asks: it may be written anew meanwhile.

    Every method raises StorageError where it cannot be read or is damaged.
    """

    def __init__(self, folder: Folder) -> None:
        """Of a run folder."""
        self._folder = folder
        self._parsed: tuple[str, Json] | None = None  # reading YAML takes longer than a small file

    def text(self) -> str:
        """As it was written."""
        with suggesting(WRITTEN_ANEW):
            data = self._folder.read(NAME)
        try:
            return yaml_file.unsealed(data)
        except ValueError as error:
            raise self._damaged(error) from error

    def fields(self) -> Json:
        """The resolved configuration, to look at and not to change."""
        text = self.text()
        if self._parsed is None or self._parsed[0] != text:
            self._parsed = text, self._parse(text)
        return self._parsed[1]

    def budget(self) -> Budget:
        """What the run may spend."""
        try:
            return Budget.model_validate(self.fields()["budget"])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ("budget", *first["loc"])))
            raise self._damaged(f"{where}: {wanted(first)}") from error

    def check(self) -> None:
        """Looks at what every reader needs."""
        if missing := _missing(self.fields()):
            raise self._damaged(f"{missing} is missing")
        self.budget()

    def _parse(self, text: str) -> Json:
        try:
            fields: Any = yaml.load(text, LOADER)
        except (yaml.YAMLError, RecursionError) as error:
            raise self._damaged(told(error)) from error
        if not isinstance(fields, dict):
            raise self._damaged("it holds no experiment")
        return fields

    def _damaged(self, reason: Exception | str) -> StorageError:
        why = " ".join(str(reason).split())
        return StorageError(
            f"{self._folder.url}/{NAME} is damaged ({why}); restore it from a copy, or"
            f" {WRITTEN_ANEW}"
        )


def _missing(fields: Json) -> str | None:
    """The first field of an experiment without which nothing can be told of a run."""
    for key in ("name", "seed", "budget", *PARTS):
        if key not in fields:
            return key
    parts = {key: fields[key] for key in PARTS}
    named = {k for k, p in parts.items() if isinstance(p, dict) and isinstance(p.get("name"), str)}
    return next((f"{key}.name" for key in PARTS if key not in named), None)
