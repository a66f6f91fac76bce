"""Columns as other programs write them: one kind for every encoding of the same thing.

| stored as                                                         | is                          |
|-------------------------------------------------------------------|-----------------------------|
| string, large_string, string_view, a dictionary of such           | text                        |
| binary, large_binary, binary_view, a dictionary of such,          | bytes                       |
| list<uint8>                                                       |                             |
| integers of any width                                             | whole numbers               |
| struct<bytes, path>, as Hugging Face has images                   | bytes or, where null, text  |
| a fixed-shape tensor of uint8, C H W, H W C or H W                | pixels                      |

N images, C channels, H rows, W columns.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""What an image of Hugging Face's is: its bytes, or where there are none its address."""

TEXT = (pa.string(), pa.large_string(), pa.string_view())
BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())


def plain(kind: pa.DataType) -> pa.DataType:
    """The kind that stands for all encodings of the same thing; of others the kind itself."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if kind in TEXT:
        return pa.string()
    if kind in BYTES or _is_list_of_bytes(kind):
        return pa.binary()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}:
        same = all(plain(kind.field(f.name).type) in (f.type, pa.null()) for f in FILE)
        return FILE if same else kind
    return kind


def held(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """The same values as string, binary (or the large ones), whatever encodes them; others as they
    are."""
    if isinstance(column, pa.ChunkedArray):
        chunks = [held(chunk) for chunk in column.chunks]
        return pa.chunked_array(chunks, None if chunks else plain(column.type))
    kind = column.type
    if pa.types.is_dictionary(kind):
        return held(column.dictionary).take(column.indices)
    if kind == pa.string_view():
        return column.cast(pa.large_string())
    if kind == pa.binary_view():
        return column.cast(pa.large_binary())
    return _joined(column) if _is_list_of_bytes(kind) else column


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text, or whole numbers in decimal digits, as strings: what ids may be."""
    return held(column).cast(pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings."""
    return bool(plain(kind) == pa.string())


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column holds bytes of any length."""
    return bool(plain(kind) == pa.binary())


def is_file(kind: pa.DataType) -> bool:
    """Whether a column holds bytes or, where these are null, addresses."""
    return bool(plain(kind) == FILE)


def content(value: Any) -> Any:
    """The bytes or the address in a value of a column of images; null is None."""
    if isinstance(value, dict):
        return value["path"] if value["bytes"] is None else value["bytes"]
    return value


def tensor_shape(kind: pa.DataType) -> tuple[int, int, int] | None:
    """C H W of the pixels that a column of tensors holds; None where it is no such column."""
    axes = _axes(kind)
    if axes is None:
        return None
    channels, height, width = ((*kind.shape, 1)[axis] for axis in axes)
    return channels, height, width


def tensor_pixels(array: pa.ExtensionArray) -> NDArray[np.uint8]:
    """The pixels of tensors, N C H W, as a view; none of them null."""
    axes = _axes(array.type)
    assert axes is not None, "tensor_shape says so"
    flat: NDArray[np.uint8] = array.storage.flatten().to_numpy()
    stored = flat.reshape(len(array), *array.type.shape, *([1] * (3 - len(array.type.shape))))
    return stored.transpose(0, *(axis + 1 for axis in axes))


def _axes(kind: pa.DataType) -> tuple[int, int, int] | None:
    """Which axes in memory are C H W; of two axes C is one more, at the end.

    By the names of the axes; else channels are where 1 or 3 of them may be, at the front first.
    """
    if not isinstance(kind, pa.FixedShapeTensorType) or kind.value_type != pa.uint8():
        return None
    order = list(range(len(kind.shape))) if kind.permutation is None else list(kind.permutation)
    if len(order) == 2:
        return 2, order[0], order[1]
    if len(order) != 3:
        return None
    letters = "".join(kind.dim_names or ()).upper()
    if sorted(letters) == ["C", "H", "W"]:  # these are of the memory, whatever the order
        front, rows, columns = (letters.index(letter) for letter in "CHW")
    elif kind.shape[order[0]] in (1, 3):
        front, rows, columns = order
    else:
        rows, columns, front = order
    return (front, rows, columns) if kind.shape[front] in (1, 3) else None


def _is_list_of_bytes(kind: pa.DataType) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(listed and kind.value_type == pa.uint8())


def _joined(array: pa.Array) -> pa.Array:
    """Lists of uint8 as binary: the same memory, read otherwise."""
    array = array.cast(pa.large_list(pa.uint8()))
    values = array.values
    if values.offset:  # its buffer starts before its first value
        values = pa.concat_arrays([values, pa.array([], pa.uint8())])
    buffers = [array.buffers()[0], array.buffers()[1], values.buffers()[1]]
    return pa.Array.from_buffers(pa.large_binary(), len(array), buffers, offset=array.offset)
