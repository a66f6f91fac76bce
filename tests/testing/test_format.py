"""The contract of formats finds what is wrong with one: each of these breaks one promise."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Format, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder
from rayal.testing.checking import broken
from rayal.testing.format import FormatContract


class Right(Format):
    """A JSON object of the request's name, and units and labels."""

    labels = frozenset({"classes"})

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        out.write("units.json", json.dumps({"request": asked.name, "labels": {}}).encode())

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        return (f"Fill in {place}/units.json.",)

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        try:
            content = json.loads(data)
            request, labels = content["request"], content["labels"]
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError("no whole JSON; save it again") from error
        if request != asked.name:
            yield Problem("request", "is another one; give it there")
            return
        for unit, label in labels.items():
            yield Answer(unit, unit, label)


class Crashes(Right):
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        json.loads(data)
        yield from super().read(data, asked)


class TakesSuggestions(Right):
    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        labels = {unit: asked.classes[int(s.predicted or 0)] for unit, s in suggestions.items()}
        out.write("units.json", json.dumps({"request": asked.name, "labels": labels}).encode())


class LosesSigns(Right):
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        for found in super().read(data, asked):
            strange = isinstance(found, Answer) and str(found.label) == "Straße"
            yield found._replace(label="Strasse") if strange else found  # type: ignore[call-arg]


class LosesSkips(Right):
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        for found in super().read(data, asked):
            if isinstance(found, Problem) or found.label is not None:
                yield found


class TakesOthers(Right):
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        yield from super().read(data.replace(b"0123456789abcdef", asked.name.encode()), asked)


class TakesHalf(Right):
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        half = data.rpartition(b'", "')[0] + b'"}}'
        try:
            yield from super().read(data, asked)
        except UsageError:
            cut = data + b'"}}' if data.endswith(b': "c') else half
            yield from super().read(cut, asked)


class SaysNothing(Right):
    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        return ("Label them.",)


class WritesNothing(Right):
    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        pass


def told(part: Format) -> str:
    """All that the suite says of a part, whose tool writes what `Right` reads."""

    class Suite(FormatContract):
        def answered(self, asked: Asked, request: Folder, labels: Mapping[str, Any]) -> bytes:
            return json.dumps({"request": asked.name, "labels": labels}).encode()

    return "\n".join(broken(Suite, part))


def test_one_that_is_right() -> None:
    """Users would be told of faults that their format has not."""
    assert "" == told(Right())


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Crashes(), "raises JSONDecodeError"),
        (TakesSuggestions(), "promises no answer before people gave one"),
        (LosesSigns(), "promises answers as they are"),
        (LosesSkips(), "promises every answer"),
        (TakesOthers(), "promises to refuse the file of another request"),
        (TakesHalf(), "promises no other answers of a file that is cut off"),
        (SaysNothing(), "promises to say where the request is"),
        (WritesNothing(), "promises files for the tool"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Format) else "",
)
def test_what_is_wrong_is_found(part: Format, says: str) -> None:
    """A user's own format would lose labels, and its author not know."""
    assert says in told(part)
