"""The control of a sweep: random selection beside strategies that are compared.

Without it nobody can tell whether a strategy helps. It costs no labels, as a simulated sweep has
them all, and no first training, which it shares with the other arms of its seed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rayal.storage.folder import Json

CONTROL = "random"
VARIED = "strategy"


def controls(arms: Sequence[Json], default: str) -> list[Json]:
    """The arms of random selection that are missing among these: one for all that have the same
    settings but their strategy. None where strategies are not varied; `default` is the strategy
    of arms that vary no more than its fields."""
    known = dict[str, Json]()
    there = set[str]()
    for arm in arms:
        if VARIED not in arm:
            continue
        rest = {key: value for key, value in arm.items() if key != VARIED}
        key = json.dumps(rest, sort_keys=True)
        known.setdefault(key, rest)
        if _name(arm[VARIED], default) == CONTROL:
            there.add(key)
    return [{**rest, VARIED: CONTROL} for key, rest in known.items() if key not in there]


def _name(strategy: Any, default: str) -> str:
    """Of a strategy as a space spells it."""
    if isinstance(strategy, Mapping):
        return str(strategy.get("name", default))
    return str(strategy)
