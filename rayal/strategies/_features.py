"""What strategies share that look at where units lie in a feature space."""

from collections.abc import Collection, Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from rayal.data.tasks.base import TaskName
from rayal.location import Location
from rayal.selection import feature_file
from rayal.selection.candidates import Candidates
from rayal.selection.distances import (
    NORMALISE,
    Grid,
    Made,
    Numbers,
    Rows,
    check_magnitudes,
    check_scale,
    largest,
    magnitudes,
    unchanged,
    unit_length,
)
from rayal.selection.holders import Dealt, Holder, Holders, Places
from rayal.signals.signal import SignalName
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy


class FeatureHolder(Holder):
    """Units of a space; `points` are their rows, scaled to length 1 if it is asked for."""

    def __init__(
        self, places: Places, kept: Mapping[str, Rows], normalise: bool, signal: str = "features"
    ) -> None:
        """`signal`: whose rows say where units lie."""
        super().__init__(places, kept)
        self.points = Made(kept[signal], unit_length if normalise else unchanged)

    def reach(self) -> float:
        """The largest magnitude of all points."""
        return largest(self.points)

    def rows(self, places: Places, signal: str = "features") -> Numbers:
        """As of every holder, of its points."""
        return self.points[np.searchsorted(self.places, places)]


class Space(NamedTuple):
    """A pool in a feature space, and the grid on which all distances are exact."""

    holders: Holders
    labeled: Rows
    """L x D."""
    grid: Grid


def space_of(
    pool: Candidates,
    order: Places,
    kind: type[FeatureHolder],
    normalise: bool,
    location: str | None = None,
    signal: SignalName = "features",
) -> Space:
    """The rows of a signal that the pass kept, or the features of a file, by place in this order.

    Raises DataError for rows that are not finite, and without `normalise` for a unit so far out
    that distances between the others would not be exact.
    """
    labeled: Rows | None
    if location is None:
        spread, labeled = pool.lies, pool.labeled.get(signal)
    else:
        rows, labeled = feature_file.features_of(pool, location)
        spread = Dealt({"features": rows})
    holders = spread.holders(order, kind, normalise, signal)
    width = max(holders.ask("width", signal))
    if labeled is None:
        labeled = np.empty((0, width), np.float16)
    of_pool, of_labeled = sizes_of(holders, order, signal), magnitudes(labeled)
    check_magnitudes(pool.ids, of_pool, signal)
    check_magnitudes(pool.labeled_ids, of_labeled, signal)
    if normalise:
        labeled = Made(labeled, unit_length)
        reach = max(largest(labeled), *holders.ask("reach"))
    else:
        groups = (pool.ids, of_pool), (pool.labeled_ids, of_labeled)
        check_scale(*groups, width=width, way_out=NORMALISE)
        reach = max(float(sizes.max(initial=0)) for _, sizes in groups)
    return Space(holders, labeled, Grid.reaching(reach, width))


def sizes_of(holders: Holders, order: Places, signal: str) -> Numbers:
    """N, of each unit of the pool, in the pool's order, the largest magnitude of its row."""
    by_place = holders.whole(holders.ask("magnitudes", signal))
    sizes = np.empty_like(by_place)
    sizes[order] = by_place
    return sizes


class OnFeatures(Strategy):
    """The fields of a strategy that selects by the model's features, or by those of a file."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    scans_labeled: ClassVar[bool] = True
    features: Location | None = None
    """A .npz or .parquet file of features by id; null: those of the model."""
    normalise: bool = True
    """Scale each feature vector to length 1 first, as the official code does."""

    def kept(self) -> frozenset[SignalName]:
        return self.keeps if self.features is None else frozenset()

    def files(self) -> dict[str, str]:
        return {} if self.features is None else {"features": self.features}

    def check(self, ids: Collection[str]) -> None:
        if self.features is not None:
            feature_file.read_features(self.features, Ids(ids))

    def asks_holders(self) -> bool:
        return self.features is None

    def space(self, pool: Candidates, order: Places, kind: type[FeatureHolder]) -> Space:
        """The pool's features, by place in this order."""
        return space_of(pool, order, kind, self.normalise, self.features)
