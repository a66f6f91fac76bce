"""Units to label next, chosen from the scores of a pool."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rayal.api.opened_run import Run
from rayal.api.picks import Picks
from rayal.api.scores import Scores
from rayal.errors import DataError, UsageError, counted, quoted
from rayal.experiment import config
from rayal.labeling.exchange.base import Format
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.ledger import stage_folder
from rayal.runs.results import Scored
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Strategy
from rayal.workflows import select as selecting
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.id_file import PerUnit, read_costs, read_groups, read_ids
from rayal.workflows.select.request import Request as Request
from rayal.workflows.select.selection import Selection
from rayal.workflows.select.to_label import ToLabel, asking

Path = str | os.PathLike[str]


def select(
    scores: Scores | Run | Path,
    strategy: str | Mapping[str, Any] | Strategy | None = None,
    budget: float | None = None,
    *,
    cycle: int | None = None,
    labeled: Iterable[str] | Path | None = None,
    seed: int = 0,
    per_class: int | None = None,
    groups: Mapping[str, Any] | Path | None = None,
    per_group: int | None = None,
    costs: Mapping[str, float] | Path | None = None,
    min_distance: float | None = None,
    out: Path | None = None,
    request: str | Mapping[str, Any] | Format | None = None,
    classes: Sequence[str] | None = None,
    address: str | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Picks:
    """The units that a strategy would label next, exactly and in order of preference.

    `scores` are what `rayal.score` returned, a `Run` with the `cycle` whose pass is meant, or the
    folder of a pass: the `out` of `rayal score`, or `cycle-000/score` of a run. `strategy` is a
    name, a mapping of name and options, or an instance; it may be left out where the scores are of
    one. `budget` counts units, or is in the unit of `costs`.

    `labeled` are ids that are not chosen, and from which strategies such as core_set keep away;
    `costs` are by id, one for every unit, as are `groups`, of each of which at most `per_group` are
    chosen, and at most `per_class` of a predicted class. `min_distance` is the least Euclidean
    distance between the features of two units; 0 excludes none, and the distances are told. Each of
    the three may be a file as well: of ids (.txt, .csv, .parquet), or with columns id and cost, id
    and group. `seed` breaks ties, and draws where a strategy draws. With `out` the picks are
    written as `Picks.write` does, and large files may lie beside it meanwhile. With `request`, the
    name of a labeling tool's format such as "csv", or a mapping of name and options, they are also
    handed to people, as `Picks.write_request` does; `classes` are the names of the classes where
    the pass knows none, or others.

    With the `address` of a Ray cluster, host:port, its machines hold what the pass kept, each a
    part of the pool; core_set, badge, prob_cover and typiclust (clustering: exact) pick the same
    units there. The scores must lie where all of them can read. A call that was killed goes on from
    OUT.picks.json, given again with the same `out`.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(net[1].weight)
    >>> scores = rayal.score(net, torch.tensor([[9.0, 0], [1, 2], [5, 5]]), ids=["a", "b", "c"])
    >>> picks = rayal.select(scores, "entropy", 2)
    >>> picks.ids, [round(score, 3) for score in picks.scores], picks.predicted
    (['c', 'b'], [0.693, 0.582], [0, 1])
    >>> rayal.select(scores, "entropy", 2, labeled=["c"]).ids
    ['b', 'a']

    Raises UsageError where the scores lack what is asked for, DataError where ids, costs or groups
    do not fit them, ClusterError where the machines have too little memory.
    """
    named = Plugins(plugins)
    url = _url(scores, cycle)
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
    asked = config.from_keywords(given, [], Request, named)
    if request is not None and out is None:
        raise UsageError("request is written beside out; give out, the path of the selection")
    people = None if request is None else asking(url, request, classes, named)
    known = selecting.Known(labeled=_labeled(labeled), costs=_costs(costs), groups=_groups(groups))
    place = None if out is None else os.fspath(out)
    found = selecting.select(url, asked, place, known, address)
    picks = Picks(found, bool(done.classes), url)
    if place is not None:
        _write(picks, found, place, people)
    return picks


def _write(picks: Picks, found: Selection, place: str, people: ToLabel | None) -> None:
    """Nothing where people could not be handed all of it."""
    if people is not None:
        people.check(found, place)
    picks.write(place)
    if people is not None:
        people.write(found, place)


def _url(scores: Any, cycle: int | None) -> str:
    """The folder of the pass."""
    if isinstance(scores, Run):
        begun = range(scores.record.begun())
        if cycle is None or cycle not in begun:
            raise UsageError(
                f"cycle is {quoted(cycle)}, and {scores.url} has begun"
                f" {counted(len(begun), 'cycle')}; say"
                " whose pass is meant, from cycle=0 on"
            )
        return stage_folder(scores.record.folder, begun[cycle], Scored.stage).url
    if cycle is not None:
        raise UsageError("cycle is for the passes of a Run; leave it out for other scores")
    if not isinstance(scores, Scores | str | os.PathLike):
        raise UsageError(
            f"scores are {type(scores).__name__}; give what rayal.score returned, the folder of a"
            " pass, or a Run and a cycle"
        )
    return scores.url if isinstance(scores, Scores) else os.fspath(scores)


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
    if isinstance(asked, Mapping):
        return dict(asked)
    if not isinstance(asked, str | Strategy):
        raise UsageError(
            f"strategy is {quoted(asked)}; give a name, a mapping of name and options, or an"
            " instance"
        )
    return asked


def _is_file(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _name(given: Any, kind: str) -> str | None:
    """What messages call it."""
    if given is None:
        return None
    return os.fspath(given) if _is_file(given) else kind


def _labeled(given: Any) -> Ids:
    if given is None:
        return Ids()
    if _is_file(given):
        return read_ids(os.fspath(given))
    if not isinstance(given, Iterable):
        raise UsageError(f"labeled is {quoted(given)}; give ids, or a file of them")
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
