"""Formats in which a word of their own stands for what cannot be labeled."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from rayal.errors import UsageError, quoted
from rayal.labeling.exchange.base import Format

Word = Annotated[str, Field(pattern=r"^\S+$")]


class Skipping(Format):
    """Files of a tool that has no way of its own to leave an image out."""

    skip: Word = "SKIP"
    """What stands in place of a class where an image cannot be labeled."""

    def check(self, classes: Sequence[str]) -> None:
        if self.skip in classes:
            raise UsageError(
                f"oracle.format.skip: {quoted(self.skip)} is a class of the dataset too; set it to"
                " another word"
            )
        if blank := [each for each in classes if not each.strip()]:
            raise UsageError(f"the class {quoted(blank[0])} has no name that people can write")
