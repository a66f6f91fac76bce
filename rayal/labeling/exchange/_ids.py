"""What a spreadsheet may have made of an id: a number (1E+05, lost zeros), a date (3-Feb), another
case or form of its signs. Recognised, so that a message can say it; never taken for the id."""

import re
import unicodedata
from collections.abc import Collection, Hashable, Iterator
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property

from rayal.labeling.exchange._table import plain

NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?(e[+-]?[0-9]{1,4})?", re.IGNORECASE)
DIGITS = 15
"""Of a number that a spreadsheet keeps."""
MONTHS = [
    {"jan", "january", "januar"},
    {"feb", "february", "februar"},
    {"mar", "march", "mrz", "mär", "märz"},
    {"apr", "april"},
    {"may", "mai"},
    {"jun", "june", "juni"},
    {"jul", "july", "juli"},
    {"aug", "august"},
    {"sep", "sept", "september"},
    {"oct", "okt", "october", "oktober"},
    {"nov", "november"},
    {"dec", "dez", "december", "dezember"},
]
MONTH = {name: number for number, names in enumerate(MONTHS, start=1) for name in names}
DATE = re.compile(r"[\s./-]*(?:(?:[0-9]+|[^\W\d_]+)[\s./-]*){2,3}")
MIDNIGHT = re.compile(r"[ T]00:00(:00)?$")


class Meant:
    """Ids, to be found again by what became of them."""

    def __init__(self, units: Collection[str]) -> None:
        self.units = units

    def by(self, text: str) -> str | None:
        """The one id that this was, perhaps; None where none or several may have become it."""
        found = {unit for key in _keys(text) for unit in self._index.get(key, ())}
        found = found or {unit for unit in self.units if _rounded(unit, text)}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def twins(self) -> frozenset[str]:
        """Ids that become one in a spreadsheet, or look like what became of another."""
        shared = [units for units in self._index.values() if len(units) > 1]
        quoted = {unit for unit in self.units if plain(unit) != unit and plain(unit) in self.units}
        return frozenset().union(*shared, quoted, map(plain, quoted))

    @cached_property
    def _index(self) -> dict[Hashable, set[str]]:
        found = dict[Hashable, set[str]]()
        for unit in self.units:
            for key in _keys(unit):
                found.setdefault(key, set()).add(unit)
        return found


def _keys(text: str) -> Iterator[Hashable]:
    """What a text has in common with those that may become it."""
    yield "text", unicodedata.normalize("NFC", text).strip().casefold()
    for number in _numbers(text):
        yield "number", number
    for date in _dates(text):
        yield "date", date


def _numbers(text: str) -> set[Decimal]:
    """The number that it is, its sign before the fraction read both ways."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return set()
    return {Decimal(text.replace(",", ".")), Decimal(re.sub("[.,]", "", text))}


def _rounded(unit: str, text: str) -> bool:
    """Whether the text is the number that the id is, with fewer digits."""
    if not (NUMBER.fullmatch(unit) and NUMBER.fullmatch(text.strip())):
        return False
    whole, shown = Decimal(unit.replace(",", ".")), Decimal(text.strip().replace(",", "."))
    digits = len(shown.normalize().as_tuple().digits)
    kept = Context(DIGITS, ROUND_DOWN), Context(max(digits, 1), ROUND_HALF_EVEN)
    fewer = "e" in text.casefold() or len(whole.as_tuple().digits) > DIGITS
    return fewer and any(each.create_decimal(whole) == shown for each in kept)


def _dates(text: str) -> set[tuple[int, ...]]:
    """Day and month, and these with the year, in any order; none where it is no date."""
    text = MIDNIGHT.sub("", text.strip().casefold())
    if len(text) > 30 or not DATE.fullmatch(text):
        return set()
    words = re.findall(r"[0-9]+|[^\W\d_]+", text)
    numbers = [int(word) if word.isdecimal() else MONTH.get(word, 0) for word in words]
    if min(numbers) < 1 or all(word.isdecimal() for word in words) and len(words) < 2:
        return set()
    years = [number for number in numbers if number > 999]
    short = {tuple(sorted(number % 100 for number in numbers))}
    return short | {tuple(sorted(n for n in numbers if n not in years))} if years else short
