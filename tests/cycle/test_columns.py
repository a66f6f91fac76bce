"""Columns that a pass has whatever strategies ask for."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from rayal.cycle.columns import Columns
from rayal.data.tasks.classification import Classification
from rayal.errors import DataError


def asked(**keeps: bool) -> Columns:
    return Columns(strategies={}, task=Classification(), cycle=0, batch=2, **keeps)


def signals(features: torch.Tensor) -> Any:
    """Of a network with these features, N D, which are its logits, too."""

    def batch(rows: slice, fill: int) -> Any:
        some = features[rows]
        some = torch.cat([some, some[-1:].repeat(fill, 1)])
        return cast(Any, SimpleNamespace(features=some, logits=some))

    return batch


def test_features_and_classes_are_kept_for_guards() -> None:
    """A strategy that keeps nothing, such as margin, would have nothing to be guarded by; the last
    batch is filled up, which must not be seen."""
    features = torch.tensor([[1.0, 2], [4, 3], [5, 6]])
    found = asked(keeps_features=True, keeps_predicted=True).of(["a", "b", "c"], signals(features))

    assert ["keep.features", "predicted"] == [*found]
    assert np.float16 == found["keep.features"].dtype
    assert features.tolist() == found["keep.features"].tolist()
    assert [1, 0, 1] == found["predicted"].tolist()
    assert {} == asked().of(["a", "b", "c"], signals(features))


def test_features_too_large_to_be_kept_name_the_guard() -> None:
    """No strategy keeps them, so other strategies would not help; without the guard it works."""
    features = torch.tensor([[1.0], [1e6]])

    with pytest.raises(DataError, match="features of 'b' are up to 1e.*or no guards.min_distance"):
        asked(keeps_features=True).of(["a", "b"], signals(features))
    asked().of(["a", "b"], signals(features))
