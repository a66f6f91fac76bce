"""What a column of labels means: names, or the numbers of classes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from rayal.errors import DataError, quoted, some
from rayal.storage.columns import is_text, plain


class Labels(NamedTuple):
    """Those of one split."""

    split: str
    ids: Sequence[str]
    labels: Sequence[Any]
    places: Sequence[str] | None = None
    """Where each row is, for messages; None: by its number, from 0."""

    def place(self, row: int) -> str:
        """Where a row is, for messages."""
        if self.places is not None:
            return self.places[row]
        return f"{self.split} row {row} ({quoted(str(self.ids[row]))})"

    def indices(self, classes: Sequence[str]) -> Sequence[Any]:
        """Names become indices; numbers that are none are left for `prepare` to refuse.

        Raises DataError, with the row, for a label that is null or no name of a class.
        """
        index = {name: number for number, name in enumerate(classes)}
        for row, label in enumerate(self.labels):
            if label is None:
                raise DataError(
                    f"{self.place(row)} has no label (null); give it one, or leave it out"
                )
            if isinstance(label, str) and label not in index:
                raise DataError(
                    f"{self.place(row)}: class {quoted(label)} is not among {some(classes)};"
                    " correct it, or set dataset.classes"
                )
        return [index[label] if isinstance(label, str) else label for label in self.labels]


def check_told(classes: Sequence[str] | None, tested: bool) -> None:
    """Raises ValueError where no option, and no test image, tells the classes of a pool without
    labels."""
    if not tested and not classes:
        raise ValueError(
            "without labels and test images nobody tells the classes; set classes to their names"
        )


def check_test_labels(label: object, test_label: object, named: str, none: str) -> None:
    """Raises ValueError where neither option says the labels of test images; `named` is what could
    be there, `none` the option of doing without test images."""
    if label is None and test_label is None:
        raise ValueError(
            f"label: null leaves the test images without labels; set test_label to {named}, or"
            f" {none}"
        )


def check_kind(column: str, kind: pa.DataType) -> None:
    """Raises DataError for a column that holds neither names nor whole numbers."""
    if is_text(kind) or plain(kind) == pa.int64():
        return
    reason = ""
    if pa.types.is_floating(kind):
        reason = ", as pandas makes of whole numbers where one is missing"
    raise DataError(
        f"column {column!r} holds {kind}{reason}; labels are class names or whole numbers: write it"
        " again as string or int64"
    )


def classes_of(pool: Labels, test: Labels) -> tuple[str, ...]:
    """Names that occur in the pool, sorted; or all numbers up to its largest.

    Raises DataError, with the row, where numbers leave some out: then only their owner knows how
    many classes there are. That 0 is not there is no such case.
    """
    used = {label for label in pool.labels if label is not None}
    if any(isinstance(label, str) for label in used):
        return tuple(sorted(used))
    before, most = 0, max(used, default=0)
    for number in sorted(used | {label for label in test.labels if label is not None}):
        if number > most:
            break
        if number > before + 1:
            first = next(each for each in (pool, test) if number in each.labels)
            gap = f"{before + 1} to {number - 1}" if number > before + 2 else f"{number - 1}"
            raise DataError(
                f"{first.place(first.labels.index(number))} is labeled {number}, but no image is"
                f" labeled {gap}; write names instead of numbers, or set dataset.classes to the"
                " names of all classes in the order of their numbers"
            )
        before = max(number, 0)
    return tuple(str(number) for number in range(most + 1))


def names_in(file: str, meta: Mapping[str, str], column: str | None) -> tuple[str, ...] | None:
    """The names of classes that a file's metadata has: a JSON list, or what Hugging Face writes."""
    if "class_names" in meta:
        return _listed(file, meta["class_names"])
    try:
        names = json.loads(meta["huggingface"])["info"]["features"][column]["names"]
        return TypeAdapter(tuple[str, ...]).validate_python(names)
    except (KeyError, TypeError, ValueError):  # nobody promised that there are any
        return None


def _listed(file: str, text: str) -> tuple[str, ...]:
    try:
        return TypeAdapter(tuple[str, ...]).validate_json(text)
    except ValidationError as error:
        raise DataError(
            f"{file}: class_names {quoted(text)} is not a JSON list of names; set dataset.classes"
        ) from error
