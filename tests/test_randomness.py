"""rayal.randomness: a stream depends on its key and on nothing else."""

import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rayal.randomness import (
    derive,
    numpy_generator,
    shuffled,
    torch_generator,
    unit_keys,
    unit_uniforms,
)

KEYS = st.lists(st.integers() | st.text(max_size=5), max_size=4).map(tuple)
IDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=20)


def test_streams_never_change() -> None:
    """Every published result would be another one: change these numbers with a major version."""
    assert 6274752650675379668 == derive(0, 1, "train")
    assert 2847183694713211083 == derive()
    assert [28584908240586162, 5261334288945829745] == unit_keys(["a", "b"], 0, "tie").tolist()
    assert 0.0015495909807370367 == unit_uniforms(["a"], 0, "tie")[0]
    assert [0.4681856422211177, 0.5563318032820567] == numpy_generator(0, "x").random(2).tolist()
    assert [41, 99, 23] == torch.randint(100, (3,), generator=torch_generator(0, "x")).tolist()


def test_streams_are_the_same_in_every_process() -> None:
    """A resumed run, or another worker, would draw other numbers (N03)."""
    script = r"""
from rayal.randomness import derive, numpy_generator, unit_keys
print(derive(3, "\u00e9"), numpy_generator(3).random(), unit_keys(["\u00e9", "b"], 3).tolist())
"""
    elsewhere = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [derive(3, "é"), numpy_generator(3).random(), unit_keys(["é", "b"], 3).tolist()]

    assert " ".join(map(str, here)) + "\n" == elsewhere.stdout


@given(KEYS, KEYS)
@example(("1", 2), (1, "2"))
@example((1, 2), (12,))
@example(("ab",), ("a", "b"))
def test_keys_do_not_collide(first: tuple[int | str, ...], second: tuple[int | str, ...]) -> None:
    """Two stages would draw the same numbers."""
    assert (first == second) == (derive(*first) == derive(*second))
    assert 0 <= derive(*first) < 2**63


@pytest.mark.parametrize("other", [(2, 3, "train"), (1, 4, "train"), (1, 3, "score"), ("1", 3)])
def test_a_generator_depends_on_every_part_of_its_key(other: tuple[int | str, ...]) -> None:
    """Cycles, stages or seeds would share their randomness."""
    drawn = numpy_generator(1, 3, "train").random(4)
    weights = torch.rand(4, generator=torch_generator(1, 3, "train"))

    assert (drawn == numpy_generator(1, 3, "train").random(4)).all()
    assert weights.equal(torch.rand(4, generator=torch_generator(1, 3, "train")))
    assert not (drawn == numpy_generator(*other).random(4)).any()
    assert not weights.equal(torch.rand(4, generator=torch_generator(*other)))


def test_nothing_is_global() -> None:
    """One stage's draws would shift another's, so a resumed run would differ."""
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = numpy_generator(1), torch_generator(1)
    unit_uniforms(["a"], 1)
    interleaved = [first.random(), torch.rand(1, generator=second).item(), first.random()]

    assert numpy_generator(1).random(2).tolist() == [interleaved[0], interleaved[2]]
    assert torch_before.equal(torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()


@given(IDS, st.randoms(use_true_random=False))
def test_a_unit_keeps_its_number(ids: list[str], rng: st.DrawFn) -> None:
    """Ties would be broken differently with other shards or another order (I2, G02)."""
    expected = dict(zip(ids, unit_keys(ids, 5, "tie").tolist(), strict=True))
    shuffled = rng.sample(ids, len(ids))
    cut = len(ids) // 3
    shards = np.concatenate([unit_keys(s, 5, "tie") for s in (shuffled[:cut], shuffled[cut:])])

    assert expected == dict(zip(shuffled, shards.tolist(), strict=True))


@given(IDS)
def test_unit_keys_agree_with_integer_arithmetic(ids: list[str]) -> None:
    """Byte order of the machine, or rounding, would decide which unit is labeled."""
    secret = blake2b(repr((7, "x")).encode(), digest_size=8).digest()
    seed = (int.from_bytes(secret, "little") // 2).to_bytes(8, "little")
    expected = [
        int.from_bytes(blake2b(unit.encode(), digest_size=8, key=seed).digest(), "little")
        for unit in ids
    ]

    assert expected == unit_keys(ids, 7, "x").tolist()
    assert [(key >> 11) / 2**53 for key in expected] == unit_uniforms(ids, 7, "x").tolist()


def test_uniforms_are_uniform_and_independent() -> None:
    """Random subsets would prefer some units: Kolmogorov-Smirnov and correlation at 10^5 units."""
    ids = [f"train-{i:05d}" for i in range(100_000)]
    x, y = unit_uniforms(ids, 0, "candidates"), unit_uniforms(ids, 1, "candidates")
    distance = np.abs(np.sort(x) - np.arange(len(ids)) / len(ids)).max()

    assert 0 <= x.min() and x.max() < 1
    assert distance < 1.63 / len(ids) ** 0.5  # the critical value at p = 0.01; the draw is fixed
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.01
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.01


@given(IDS, KEYS, st.data())
def test_an_order_of_some_is_that_of_all(ids: list[str], key: tuple, data: st.DataObject) -> None:
    """A subset that is drawn where some units are left out would be another one."""
    some = [unit for unit in ids if data.draw(st.booleans())]
    order = shuffled(ids, *key)

    assert sorted(ids) == sorted(order)
    assert shuffled(some, *key) == [unit for unit in order if unit in some]
    assert ["a", "c", "b"] == shuffled(["a", "b", "c"], 0, "order")
