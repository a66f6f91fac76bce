"""A file of features by unit id, such as those of a self-supervised encoder.

`.npz` holds the arrays `ids` (N strings) and `features` (N x D); `.parquet` the columns `id`
(string) and `features` (lists of D numbers). Neither can hold code.
"""

import io
import zipfile
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.errors import DataError, counted, quoted
from rayal.selection.candidates import Candidates
from rayal.selection.distances import Rows, check_finite
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)


def features_of(pool: Candidates, location: str) -> tuple[Rows, Rows]:
    """What the file has of the pool, M x D, and of the labeled units, L x D."""
    rows = read_features(location, Ids(chain(pool.ids, pool.labeled_ids)))
    return rows[: len(pool.ids)], rows[len(pool.ids) :]


def read_features(location: str, ids: Ids) -> NDArray[np.float32]:
    """The features of these units, N x D, from an absolute path or URL.

    Raises StorageError for a file that cannot be read; DataError for one of another form, one that
    lacks a unit or has it twice, and for numbers that are not finite.
    """
    folder, _, name = location.rpartition("/")
    kind = name.rpartition(".")[2]
    if kind not in ("npz", "parquet"):
        raise DataError(f"{location} is no .npz or .parquet file; give features in one of these")
    data = Folder(folder or "/").read(name)
    try:
        named, features = _npz(data) if kind == "npz" else _parquet(data)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
        reason = " ".join(str(error).split())  # Arrow's has several lines
        raise DataError(
            f"{location} does not hold ids and features: {reason}; write it again as .npz with the"
            " arrays ids (N strings) and features (N x D), or as .parquet with the columns id and"
            " features (lists of D numbers)"
        ) from error
    if (different := len(named.array.unique())) < len(named):
        raise DataError(
            f"{location} holds {len(named)} ids, {different} of them different; leave one of each"
        )
    places = Places(named).of(ids)
    if len(missing := ids[places < 0]):
        raise DataError(
            f"{location} lacks {len(missing)} of {counted(len(ids), 'unit')},"
            f" the first is {quoted(missing[0])}; add them"
        )
    chosen: NDArray[np.float32] = features[places].astype(np.float32)
    check_finite(ids, chosen, f"features in {location}")
    return chosen


def _npz(data: bytes) -> tuple[Ids, NDArray[Any]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        ids, features = arrays["ids"], arrays["features"]
    if ids.dtype.kind != "U":
        raise ValueError(f"ids are {ids.dtype}, not strings")
    if ids.ndim != 1 or features.ndim != 2 or len(ids) != len(features):
        raise ValueError(f"ids of shape {ids.shape}, features of shape {features.shape}")
    return Ids(map(str, ids)), features


def _parquet(data: bytes) -> tuple[Ids, NDArray[Any]]:
    table = pq.read_table(pa.BufferReader(data), columns=["id", "features"])
    features = table["features"].combine_chunks()
    kind = features.type
    if not any(is_(kind) for is_ in LISTS) or not _is_number(kind.value_type):
        raise ValueError(f"features are {kind}, not lists of numbers")
    values = features.flatten()
    if features.null_count or values.null_count:
        raise ValueError("some features are null")
    if len(sizes := pc.list_value_length(features).unique()) > 1:
        first, other, *_ = sizes.to_pylist()
        raise ValueError(f"some units have {first} features, others {other}")
    return Ids(table["id"]), values.to_numpy().reshape(table.num_rows, -1)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
