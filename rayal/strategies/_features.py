"""What strategies share that look at where units lie in a feature space."""

from collections.abc import Collection
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rayal.data.tasks.base import TaskName
from rayal.location import Location
from rayal.selection import feature_file
from rayal.selection.candidates import Candidates
from rayal.selection.distances import NORMALISE, Made, Numbers, Rows, check_scale, unit_length
from rayal.signals.signal import SignalName
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy


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

    def rows(self, pool: Candidates, order: NDArray[np.intp]) -> tuple[Rows, Rows]:
        """Finite features of the pool in this order, M x D, and of the labeled units, L x D."""
        features, labeled = feature_file.features_of(pool, self.features)
        make = unit_length if self.normalise else _unchanged
        if not self.normalise:
            check_scale((pool.ids, features), (pool.labeled_ids, labeled), way_out=NORMALISE)
        return Made(features, make, order), Made(labeled, make)


def _unchanged(rows: Numbers) -> Numbers:
    return rows
