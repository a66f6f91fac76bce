"""What the model that chose units says of them: shown to people before they answer, never taken
for an answer."""

import io
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.masks import LabelValue
from rayal.labeling.answers import value_type
from rayal.storage.folder import Folder

SUGGESTED = "suggested.parquet"


class Suggestion(NamedTuple):
    """Of one unit."""

    score: float | None
    """The strategy's; None where it gives none."""
    reason: str
    """Why it was chosen, in a few words."""
    predicted: LabelValue | None
    """The class, or the mask, in the file in the geometry of the images that networks see; None
    where there is no model yet."""
    confidence: float | None
    """Probability of the predicted class, or its mean over all pixels, 0 to 1."""


def write_suggestions(asked: Folder, suggestions: Mapping[str, Suggestion]) -> None:
    """Put them into the folder of a request."""
    kind = value_type((unit, each.predicted) for unit, each in suggestions.items())
    columns = {
        "id": pa.string(),
        "score": pa.float64(),
        "reason": pa.string(),
        "predicted": kind,
        "confidence": pa.float64(),
    }
    rows = [(unit, *each) for unit, each in suggestions.items()]
    table = pa.table(
        [list(column) for column in zip(*rows, strict=True)] or [[]] * len(columns),
        schema=pa.schema(columns),
    )
    data = io.BytesIO()
    pq.write_table(table, data)
    asked.write(SUGGESTED, data.getvalue())


def read_suggestions(asked: Folder) -> dict[str, Suggestion]:
    """Those in the folder of a request; none where the units were drawn without a model."""
    if not asked.exists(SUGGESTED):
        return {}
    columns = pq.read_table(io.BytesIO(asked.read(SUGGESTED)), use_threads=False).to_pydict()
    units = columns.pop("id")
    return dict(zip(units, map(Suggestion._make, zip(*columns.values(), strict=True)), strict=True))
