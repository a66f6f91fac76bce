"""Masks as Label Studio's brush has them: run lengths of an image's RGBA values, as bits.

32 bits: how many values there are, 4 for a pixel, row by row; 5 bits: the bits of a value - 1; four
times 4 bits: the bits of a length - 1. Then blocks until all values are there: 1 bit, whether the
block repeats one value; 2 bits, which of the four is the size of its length; the length - 1; the
one value, or all of them. The fourth value of a pixel, alpha, says how much of it is drawn.

H rows, W columns.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PLANES = 4
WORD = 8
SIZES = (3, 4, 8, 16)
"""Bits of a length."""
DRAWN = 128
"""Alpha of a pixel that is drawn by half: the editor smooths the edges of a stroke."""
HEAD = 32 + 5 + 4 * len(SIZES)
"""Bits in front of the first block."""


class BadRle(ValueError):
    """These are not the run lengths of an image of this size; the message is the reason."""


def encode_brush(drawn: NDArray[np.bool_]) -> list[int]:
    """What is drawn, H W, as the bytes of its run lengths."""
    flat = drawn.ravel()
    cuts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bits = [f"{flat.size * PLANES:032b}{WORD - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for begin, end in pairwise([0, *cuts.tolist(), flat.size]):
        bits += _repeated(255 if flat[begin] else 0, PLANES * (end - begin))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [*int(text, 2).to_bytes(len(text) // 8, "big")]


def _repeated(value: int, count: int) -> list[str]:
    """Blocks of one value, as the largest lengths can say it."""
    blocks = []
    while count > 0:
        part = min(count, 2 ** SIZES[-1])
        kind = next(kind for kind, size in enumerate(SIZES) if part <= 2**size)
        blocks.append(f"1{kind:02b}{part - 1:0{SIZES[kind]}b}{value:0{WORD}b}")
        count -= part
    return blocks


def decode_brush(rle: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What is drawn, H W.

    Raises BadRle for what are no bytes, end too early, or belong to an image of another size.
    """
    bits = np.unpackbits(_bytes(rle))
    values = np.empty(shape[0] * shape[1] * PLANES, np.uint8)
    if len(bits) < HEAD:
        raise BadRle("its run lengths end before the first")
    count, word = _number(bits, 0, 32), _number(bits, 32, 5) + 1
    sizes = [_number(bits, 37 + 4 * kind, 4) + 1 for kind in range(len(SIZES))]
    if count != len(values):
        raise BadRle(
            f"its run lengths are of {count} values, and an image {shape[0]} high and {shape[1]}"
            f" wide has {len(values)}"
        )
    if word != WORD:
        raise BadRle(f"its values have {word} bits instead of {WORD}")
    _unroll(bits, sizes, values)
    return values.reshape(*shape, PLANES)[..., -1] >= DRAWN


def _unroll(bits: NDArray[np.uint8], sizes: list[int], values: NDArray[np.uint8]) -> None:
    """Fills in all values."""
    at, place = HEAD, 0
    while place < len(values):
        size = sizes[_number(bits, at + 1, 2)]
        end = place + _number(bits, at + 3, size) + 1
        repeats, at = bits[at], at + 3 + size
        stored = bits[at : at + (WORD if repeats else WORD * (end - place))]
        if end > len(values) or len(stored) % WORD or not len(stored):
            raise BadRle("its run lengths end too early, or go on behind the last pixel")
        packed = np.packbits(stored)
        if not repeats and len(packed) < end - place:
            raise BadRle("its run lengths end too early")
        values[place:end] = packed
        place, at = end, at + len(stored)


def _number(bits: NDArray[np.uint8], at: int, size: int) -> int:
    if at + size > len(bits):
        raise BadRle("its run lengths end too early")
    return int.from_bytes(np.packbits(bits[at : at + size]).tobytes(), "big") >> (-size % 8)


def _bytes(rle: Sequence[int]) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes(rle), np.uint8)
    except (TypeError, ValueError) as error:
        raise BadRle(f"its run lengths are no list of bytes: {error}") from error
