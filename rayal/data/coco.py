"""What COCO's JSON calls things: a file of images, categories, and annotations of both.

All raise UsageError with the reason, which whoever has the file's name adds it to.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rayal.errors import UsageError, quoted

TABLES = "images", "annotations", "categories"
"""The lists of a file."""


def no_list(name: str) -> UsageError:
    """Of a file in which one of TABLES is not there, or is none."""
    return UsageError(f"the file has no list of {name}; export it as COCO instances")


def check_ids(name: str, ids: Sequence[Any]) -> None:
    """Refuses ids, of what this table has, that are no numbers or texts, or there twice."""
    if strange := [each for each in ids if not isinstance(each, int | str)]:
        raise UsageError(f"{name} have the id {quoted(strange[0])}; export it again")
    if len({*ids}) < len(ids):
        (twice, _), *_ = Counter(ids).most_common(1)
        raise UsageError(f"two {name} have the id {quoted(twice)}; leave out one of them")


def names_of(categories: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Id -> name."""
    return {row["id"]: str(row.get("name")) for row in categories}


def name_of(number: Any, names: Mapping[Any, str]) -> str:
    """The name of an annotation's `category_id`; refuses one that the file has not."""
    if not isinstance(number, int | str) or number not in names:
        raise UsageError(f"has the category_id {quoted(number)}, which the file has not; add it")
    return names[number]
