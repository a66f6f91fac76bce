"""Label Studio's run lengths against a reader bit by bit, and what is none of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rayal.labeling.label_studio.brush_rle import BadRle, decode_brush, encode_brush

SIZES = (3, 4, 8, 16)


def values_of(rle: list[int]) -> list[int]:
    """All values, as the format is described, one bit after the other."""
    bits = iter("".join(f"{byte:08b}" for byte in rle))

    def number(size: int) -> int:
        return int("".join(next(bits) for _ in range(size)), 2)

    count, word = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    values = list[int]()
    while len(values) < count:
        repeats, length = number(1), number(sizes[number(2)]) + 1
        values += [number(word)] * length if repeats else [number(word) for _ in range(length)]
    return values


def written(values: list[int], blocks: list[tuple[bool, int]], sizes: tuple[int, ...]) -> list[int]:
    """Run lengths with these blocks: whether it repeats one value, and how many there are."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    at = 0
    for repeats, length in blocks:
        kind = next(kind for kind, size in enumerate(sizes) if length <= 2**size)
        bits += f"{int(repeats)}{kind:02b}{length - 1:0{sizes[kind]}b}"
        stored = values[at : at + 1] if repeats else values[at : at + length]
        bits += "".join(f"{value:08b}" for value in stored)
        at += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def test_by_hand() -> None:
    """One pixel of two is drawn: 8 values in two blocks of 4."""
    rle = encode_brush(np.array([[True, False]]))

    assert [0, 0, 0, 8, 0b00111_001, 0b0_0011_011, 0b1_1111_100] == rle[:7]
    assert [255] * 4 + [0] * 4 == values_of(rle)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_there_and_back(drawn: np.ndarray) -> None:
    """A brush mask would not be what was drawn."""
    rle = encode_brush(drawn)

    assert (np.repeat(drawn.ravel(), 4) * 255).tolist() == values_of(rle)
    assert (decode_brush(rle, drawn.shape) == drawn).all()


def test_long_runs() -> None:
    """A run of more values than the longest length says would end too early."""
    drawn = np.zeros((300, 200), bool)
    drawn[100:] = True

    assert (decode_brush(encode_brush(drawn), drawn.shape) == drawn).all()


def test_what_the_editor_writes() -> None:
    """Its strokes have smooth edges, in blocks of values that differ; alpha alone counts."""
    values = [0, 0, 0, 0, 9, 9, 9, 127, 1, 2, 3, 128, 255, 255, 255, 255]
    rle = written(values, [(True, 4), (False, 8), (True, 4)], (2, 3, 5, 16))

    assert [[False, False], [True, True]] == decode_brush(rle, (2, 2)).tolist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rle: rle[:-2], "end too early"),
        (lambda rle: rle[:3], "end before the first"),
        (lambda rle: [], "end before the first"),
        (lambda rle: [*rle[:3], 99, *rle[4:]], "are of 99 values, and an image 3 high and 5 wide"),
        (lambda rle: [*rle[:-1], 256], "no list of bytes"),
        (lambda rle: [*rle[:-1], "a"], "no list of bytes"),
        (lambda rle: None, "no list of bytes"),
        (lambda rle: [*rle[:4], 0b00001_001, *rle[5:]], "have 2 bits instead of 8"),
    ],
)
def test_what_is_none(change, reason: str) -> None:
    """Damage would become a mask that nobody has drawn, or an endless loop."""
    drawn = np.eye(3, 5) > 0
    with pytest.raises(BadRle, match=reason):
        decode_brush(change(encode_brush(drawn)), drawn.shape)


@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_bytes(noise: list[int]) -> None:
    """Some file would end the command with a traceback."""
    head = encode_brush(np.zeros((3, 5), bool))[:6]
    for rle in (noise, head + noise):
        try:
            assert decode_brush(rle, (3, 5)).shape == (3, 5)
        except BadRle:
            pass
