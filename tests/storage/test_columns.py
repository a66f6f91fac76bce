"""rayal/storage/columns.py: one kind for every encoding of the same thing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rayal.storage.columns import FILE, as_text, held, plain, tensor_pixels, tensor_shape

PIXELS = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)  # N C H W


@pytest.mark.parametrize(
    "kind, expected",
    [
        (pa.large_string(), pa.string()),
        (pa.dictionary(pa.int32(), pa.string_view()), pa.string()),
        (pa.binary_view(), pa.binary()),
        (pa.large_list(pa.uint8()), pa.binary()),
        (pa.uint64(), pa.int64()),
        (pa.struct({"path": pa.string(), "bytes": pa.large_binary()}), FILE),
        (pa.struct({"path": pa.int64(), "bytes": pa.binary()}), None),
        (pa.list_(pa.int64()), None),
        (pa.bool_(), None),
        (pa.float64(), None),
    ],
)
def test_kinds(kind: pa.DataType, expected: pa.DataType | None) -> None:
    """Two files that say the same would not be one pool; or two that do not would be."""
    assert (kind if expected is None else expected) == plain(kind)


def test_lists_of_bytes_are_bytes() -> None:
    """Offsets of slices would cut images out of the middle of others."""
    lists = pa.array([[9], [1, 2], None, [], [3]], pa.list_(pa.uint8()))
    whole = [b"\x09", b"\x01\x02", None, b"", b"\x03"]

    assert whole == held(lists).to_pylist()
    assert whole[1:4] == held(lists.slice(1, 3)).to_pylist()
    assert whole[1:] + whole == held(pa.chunked_array([lists.slice(1), lists])).to_pylist()
    values = pa.array([7, 1, 2], pa.uint8()).slice(1)
    assert [b"\x01\x02"] == held(pa.ListArray.from_arrays([0, 2], values)).to_pylist()


@pytest.mark.parametrize(
    "ids", [[1, -2], ["1", "-2"], pa.array(["1", "-2"], pa.string_view()).dictionary_encode()]
)
def test_ids_as_text(ids: Any) -> None:
    """A list of ids would not name the rows that it was made of."""
    column = pa.chunked_array([ids if isinstance(ids, pa.Array) else pa.array(ids)])

    assert ["1", "-2"] == as_text(column).to_pylist()


def tensors(axes: tuple[int, ...], **options: Any) -> pa.ExtensionArray:
    """PIXELS with these of its axes C H W in memory."""
    stored = np.ascontiguousarray(PIXELS.transpose(0, *(axis + 1 for axis in axes)))
    kind = pa.fixed_shape_tensor(pa.uint8(), stored.shape[1:], **options)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), PIXELS[0].size)
    return pa.ExtensionArray.from_storage(kind, flat)


@pytest.mark.parametrize(
    "array",
    [
        tensors((0, 1, 2)),
        tensors((1, 2, 0)),
        tensors((1, 2, 0), permutation=[2, 0, 1]),
        tensors((0, 2, 1), dim_names=["C", "W", "H"]),
    ],
)
def test_pixels_in_any_order_of_axes(array: pa.ExtensionArray) -> None:
    """Images would be stripes."""
    assert (3, 4, 5) == tensor_shape(array.type)
    np.testing.assert_array_equal(PIXELS, tensor_pixels(array))
    np.testing.assert_array_equal(PIXELS[1:], tensor_pixels(array.slice(1)))


def test_what_holds_no_pixels() -> None:
    """Floats have no known range, and of five axes none knows which are rows."""
    grey = pa.fixed_shape_tensor(pa.uint8(), [4, 5])

    assert (1, 4, 5) == tensor_shape(grey)
    assert None is tensor_shape(pa.fixed_shape_tensor(pa.float32(), [3, 4, 5]))
    assert None is tensor_shape(pa.fixed_shape_tensor(pa.uint8(), [4, 4, 4]))
    assert None is tensor_shape(pa.fixed_shape_tensor(pa.uint8(), [1, 3, 4, 4]))
    assert None is tensor_shape(pa.list_(pa.uint8()))
