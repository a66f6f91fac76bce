"""What a piece of work results in, and how that becomes JSON and back: that of rayal 0.4."""

from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_serializer

from rayal.storage.folder import FileRecord, Json


def _metric(value: Any) -> Any:
    """A number, or one for each class, as it is: 5 stays 5."""
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(number is None or isinstance(number, int | float) for number in numbers):
        raise ValueError("a metric is a number, or a list of numbers")
    return value


Metric = Annotated[Any, BeforeValidator(_metric)]

File = Annotated[FileRecord, PlainSerializer(FileRecord._asdict)]
"""A file that a stage wrote into its folder."""


class Result(BaseModel):
    """What a piece of work results in: frozen, and the same after JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> Json:
        """What `from_json` reads."""
        return self.model_dump()

    @classmethod
    def from_json(cls, written: Json) -> Self:
        """The result that was written, less what this rayal does not know.

        Raises ValidationError for JSON of anything else.
        """
        known = cls.model_fields.keys()
        return cls.model_validate({key: value for key, value in written.items() if key in known})


R = TypeVar("R", bound=Result)


LATER = tuple(
    "again log members table evidence passed_over short predicted distances held_out best"
    " class_counts pool_counts explored drawn_from".split()
)
"""Fields that are left out where they hold nothing, as rayal 0.4 has them not."""


class StageResult(Result):
    """What a stage of a run results in."""

    stage: ClassVar[str]
    """The stage's name, and that of its folder."""

    def decides(self) -> list[str]:
        """What of it later stages build on, the same whenever the stage is done again in the same
        way."""
        return []

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: Any) -> Json:
        written: Json = handler(self)
        return {key: value for key, value in written.items() if key not in LATER or value}
