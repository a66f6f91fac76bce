"""Units to label next, chosen from the scores of a pool."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rayal.api.scores import Scores
from rayal.errors import DataError, UsageError, quoted
from rayal.experiment import config
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.shown import as_html
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Strategy
from rayal.workflows import select as selecting
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.id_file import PerUnit, read_costs, read_groups, read_ids
from rayal.workflows.select.request import Request as Request
from rayal.workflows.select.selection import Selection

if TYPE_CHECKING:  # takes long to import
    import pandas as pd

Path = str | os.PathLike[str]

SHOWN = 10
"""Picks that a notebook shows, half of them the first ones and half the last."""


def select(
    scores: Scores | Path,
    strategy: str | Mapping[str, Any] | Strategy | None = None,
    budget: float | None = None,
    *,
    labeled: Iterable[str] | Path = (),
    seed: int = 0,
    per_class: int | None = None,
    groups: Mapping[str, Any] | Path | None = None,
    per_group: int | None = None,
    costs: Mapping[str, float] | Path | None = None,
    min_distance: float | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> "Picks":
    """The units that a strategy would label next, exactly and in order of preference.

    `scores` are what `rayal.score` returned, or the folder of a pass: the `out` of `rayal score`,
    or `cycle-000/score` of a run. `strategy` is a name, a mapping of name and options, or an
    instance; it may be left out where the scores are of one. `budget` counts units, or is in the
    unit of `costs`.

    `labeled` are ids that are not chosen, and from which strategies such as core_set keep away;
    `costs` are by id, one for every unit, as are `groups`, of each of which at most `per_group` are
    chosen, and at most `per_class` of a predicted class. `min_distance` is the least Euclidean
    distance between the features of two units. Each of the three may be a file as well: of ids
    (.txt, .csv, .parquet), or with columns id and cost, id and group. `seed` breaks ties, and draws
    where a strategy draws.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(net[1].weight)
    >>> scores = rayal.score(net, torch.tensor([[9.0, 0], [1, 2], [5, 5]]), ids=["a", "b", "c"])
    >>> picks = rayal.select(scores, "entropy", 2)
    >>> picks.ids, [round(score, 3) for score in picks.scores], picks.predicted
    (['c', 'b'], [0.693, 0.582], [0, 1])
    >>> rayal.select(scores, "entropy", 2, labeled=["c"]).ids
    ['b', 'a']

    Raises UsageError where the scores lack what is asked for, DataError where ids, costs or groups
    do not fit them.
    """
    named = Plugins(plugins)
    url = scores.url if isinstance(scores, Scores) else os.fspath(scores)
    parts = scores.parts if isinstance(scores, Scores) else {}
    done = FinishedPass(url)
    if budget is None:
        raise UsageError("budget is not given; give the number of units, or what they may cost")
    fields = {
        "strategy": _strategy(done, parts, strategy),
        "budget": budget,
        "seed": seed,
        "labeled": _name(labeled, "labeled"),
        "costs": _name(costs, "costs"),
        "groups": _name(groups, "groups"),
        "per_class": per_class,
        "per_group": per_group,
        "min_distance": min_distance,
    }
    given = {key: value for key, value in fields.items() if value is not None}
    request = config.from_keywords(given, [], Request, named)
    known = selecting.Known(labeled=_labeled(labeled), costs=_costs(costs), groups=_groups(groups))
    found = selecting.select(url, request, known=known)
    return Picks(found, named_classes=bool(done.classes))


def select_files(scores: str, request: Request, out: str) -> "Picks":
    """As `select`, all of whose arguments are files; written to `out`.csv and `out`.parquet, beside
    which large files may lie meanwhile."""
    picks = Picks(selecting.select(scores, request, beside=selecting.beside(out)))
    picks.write(out)
    return picks


class Picks:
    """K units, best first, and why.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(net[1].weight)
    >>> scores = rayal.score(net, torch.tensor([[9.0, 0], [1, 2], [5, 5]]), "margin")
    >>> picks = rayal.select(scores, budget=2)
    >>> len(picks), picks.ids, picks.spent, picks.reasons[0]
    (2, ['2', '1'], 2.0, 'highest score by margin')
    >>> list(picks.table())
    ['rank', 'id', 'score', 'predicted', 'reason']
    """

    def __init__(self, selection: Selection, named_classes: bool = True) -> None:
        self._selection, self._named = selection, named_classes

    @property
    def ids(self) -> list[str]:
        """K ids."""
        return self._selection.ids

    @property
    def scores(self) -> list[float] | None:
        """K scores; None for a strategy without scores."""
        return self._selection.scores

    @property
    def reasons(self) -> list[str]:
        """Why each was chosen, in words."""
        return self._selection.reasons

    @property
    def predicted(self) -> list[str] | list[int] | None:
        """The most probable class of each, by its name or, where classes have none, its number;
        None where the pass does not say."""
        predicted = self._selection.predicted
        return predicted if self._named or predicted is None else [*map(int, predicted)]

    @property
    def spent(self) -> float:
        """What they cost, in the budget's unit."""
        return self._selection.spent

    @property
    def passed_over(self) -> Mapping[str, int]:
        """How many units were left out on the way down, by cause."""
        return self._selection.passed_over

    @property
    def lines(self) -> list[str]:
        """What `rayal select` says at the end."""
        return self._selection.lines()

    def table(self) -> "pd.DataFrame":
        """A row per unit: rank (from 1), id, score, predicted, reason."""
        found = self._selection.table().to_pandas()
        if self.predicted is not None:
            found["predicted"] = self.predicted
        return found

    def write(self, out: Path) -> None:
        """The table as `out`.csv, for people, and `out`.parquet, for programs; a path or a URL."""
        selecting.write(self._selection, os.fspath(out))

    def __len__(self) -> int:
        return len(self.ids)

    def _repr_html_(self) -> str:
        table: str = self.table().to_html(index=False, border=0, max_rows=SHOWN)
        return as_html("\n".join(self.lines)) + table

    def __repr__(self) -> str:
        cost = f"{self.spent:g}{self._selection.shortfall}"
        return f"<Picks: {len(self)} units, cost {cost}, first {', '.join(self.ids[:3])}>"


def _strategy(
    done: FinishedPass,
    parts: Mapping[str, Strategy],
    asked: str | Mapping[str, Any] | Strategy | None,
) -> Any:
    """As it was asked to score, where it is called by the name of its column."""
    there = done.result.columns
    if asked is None:
        if len(there) != 1:
            raise UsageError(f"the scores are of {', '.join(there)}; name one of them as strategy")
        asked = there[0]
    if isinstance(asked, str) and asked in there:
        return parts.get(asked) or dict((done.result.options or {}).get(asked, {"name": asked}))
    return asked if isinstance(asked, str | Strategy) else dict(asked)


def _is_file(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _name(given: Any, kind: str) -> str | None:
    """What messages call it."""
    if given is None:
        return None
    return os.fspath(given) if _is_file(given) else kind


def _labeled(given: Any) -> Ids:
    if _is_file(given):
        return read_ids(os.fspath(given))
    return Ids(dict.fromkeys(_text(unit, "labeled") for unit in given))


def _costs(given: Any) -> PerUnit[np.float64] | None:
    if given is None or _is_file(given):
        return None if given is None else read_costs(os.fspath(given))
    units = _units(given, "costs")
    for unit, cost in given.items():
        if (
            isinstance(cost, bool)
            or not isinstance(cost, int | float | np.number)
            or not 0 <= cost < np.inf
        ):
            raise DataError(
                f"the cost of {quoted(unit)} is {quoted(cost)}; it must be a number, 0 or more"
            )
    return PerUnit(units, np.array([*given.values()], np.float64))


def _groups(given: Any) -> PerUnit[np.int64] | None:
    if given is None or _is_file(given):
        return None if given is None else read_groups(os.fspath(given))
    numbers: dict[Any, int] = {}
    codes = [numbers.setdefault(group, len(numbers)) for group in given.values()]
    return PerUnit(_units(given, "groups"), np.array(codes, np.int64))


def _units(given: Any, kind: str) -> Places:
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{kind} are {type(given).__name__}; give them by id, as a dict, or a file"
        )
    return Places(Ids(_text(unit, kind) for unit in given))


def _text(unit: Any, kind: str) -> str:
    """An id; whole numbers are written out, as `rayal.score` does with the ids that it is given."""
    if isinstance(unit, int | np.integer) and not isinstance(unit, bool):
        return str(unit)
    if not isinstance(unit, str):
        raise UsageError(f"{kind}: {quoted(unit)} is no id; give strings, as in scores.ids")
    return str(unit)
