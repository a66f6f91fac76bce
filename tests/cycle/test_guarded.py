"""Guards against sorting everything in memory and walking down: the one way of runs and of `rayal
select`, whose own test has the limits of classes and groups."""

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.cycle import ranking, shard_file
from rayal.cycle import walk as walking
from rayal.cycle.guarded import Distances, Limits, Near, Walked, predicted, walk_down
from rayal.errors import DataError
from rayal.runs.passes import Pass
from rayal.selection.candidates import one_each, tie_secret
from rayal.selection.candidates import ranking as in_memory
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

SEED = 5


@dataclass
class Pool:
    """Units of a pass, sorted by id, features on few points: ties, and distances on the edge."""

    ids: list[str]
    scores: np.ndarray
    features: np.ndarray
    costs: np.ndarray
    labeled: list[str]

    @classmethod
    def drawn(cls, units: int, seed: int) -> "Pool":
        rng = np.random.default_rng(seed)
        ids = [f"unit-{n:03d}" for n in range(units)]
        return cls(
            ids,
            rng.integers(0, 4, units) / 4,
            rng.integers(0, 4, (units, 2)).astype(np.float16),
            rng.integers(0, 4, units) / 2,
            [unit for unit in ids if rng.random() < 0.2],
        )

    def written(self, path: Path, shards: int, seed: int = 0) -> tuple[Folder, Pass]:
        """The pass in so many shards, of rows in another order, with bad ones between them."""
        order = np.random.default_rng(seed).permutation(len(self.ids))
        folder, files = Folder(path), []
        for number, rows in enumerate(np.array_split(order, shards)):
            columns = {
                "score.entropy": self.scores[rows],
                "keep.features": self.features[rows],
                "predicted": (rows % 3).astype(np.int32),
            }
            bad = {f"bad-{number}": "empty file"}
            data = shard_file.encode([self.ids[n] for n in rows], columns if len(rows) else {}, bad)
            files.append(folder.write(f"shard-{number}.parquet", data))
        return folder, Pass(units=len(self.ids), columns=("entropy",), shards=tuple(files))

    def walked(
        self, path: Path, shards: int, budget: float, limits: Limits, priced: bool, overshoot: bool
    ) -> Walked:
        folder, result = self.written(path, shards, seed=shards)
        places = Places(Ids(self.ids))
        price = (lambda ids: self.costs[places.of(ids)]) if priced else one_each
        secret = tie_secret(np.random.default_rng(SEED))
        return walk_down(
            *(folder, result, "entropy", secret, budget),
            *(Places(Ids(self.labeled)), limits),
            price=price,
            cheapest=0.0 if priced else 1.0,
            overshoot=overshoot,
        )


def apart(pool: Pool, one: int, other: int) -> float:
    return math.dist(pool.features[one].tolist(), pool.features[other].tolist())


def naive(
    pool: Pool, budget: float, least: float, priced: bool, overshoot: bool
) -> tuple[list[str], list[Near]]:
    """Ids, and what was passed over with the nearest of what was there before it."""
    place = {unit: n for n, unit in enumerate(pool.ids)}
    seen, taken, spent = [place[unit] for unit in pool.labeled], list[int](), 0.0
    over = list[Near]()
    for n in in_memory(Ids(pool.ids), pool.scores, np.random.default_rng(SEED)).tolist():
        if n in seen:
            continue
        near = [(apart(pool, n, c), pool.ids[c], "labeled") for c in seen]
        near = sorted(near) + sorted(
            [(apart(pool, n, c), pool.ids[c], "chosen") for c in taken], key=lambda each: each[0]
        )
        if near and min(near, key=lambda each: each[0])[0] < least:
            distance, unit, of = min(near, key=lambda each: each[0])
            over.append(Near(pool.ids[n], float(pool.scores[n]), unit, of, distance))
            continue
        price = float(pool.costs[n]) if priced else 1.0
        if spent >= budget if overshoot else spent + price > budget:
            break
        taken.append(n)
        spent += price
    return [pool.ids[n] for n in taken], over


def nearest(pool: Pool, ids: list[str]) -> list[tuple[float | None, float | None]]:
    """Of each of these the distance to the nearest labeled one, and to the nearest before it."""
    place = {unit: n for n, unit in enumerate(pool.ids)}
    return [
        (
            min((apart(pool, place[unit], place[c]) for c in pool.labeled), default=None),
            min((apart(pool, place[unit], place[c]) for c in ids[:rank]), default=None),
        )
        for rank, unit in enumerate(ids)
    ]


def told(found: Walked) -> Distances:
    assert found.distances is not None
    return found.distances


@settings(max_examples=50)
@given(
    st.integers(0, 50),
    st.integers(0, 2**20),
    st.integers(1, 4),
    st.sampled_from([0.5, 1, 2.5, 7, 30]),
    st.sampled_from([0.0, 1.0, 1.2, math.sqrt(2), 9.0]),
    st.booleans(),
    st.booleans(),
)
def test_picks_and_distances_are_those_of_a_walk_in_memory(
    units: int,
    seed: int,
    shards: int,
    budget: float,
    least: float,
    priced: bool,
    overshoot: bool,
) -> None:
    """What is bought, and what is told of it, would depend on blocks and shards."""
    pool = Pool.drawn(1 + units, seed)
    with TemporaryDirectory() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", 400)
        patch.setattr(walking, "ROWS", 5)
        limits = Limits(min_distance=least)
        found = pool.walked(Path(path), shards, budget, limits, priced, overshoot)
    ids, over = naive(pool, budget, least, priced, overshoot)

    assert ids == found.ids
    distances = told(found)
    assert nearest(pool, ids) == list(
        zip(distances.labeled.distances, distances.chosen.distances, strict=True)
    )
    last = found.scores[-1] if found.scores and not found.short else -1.0
    surely = [near for near in over if near.score > last]  # what is walked past after the last
    assert surely == distances.too_near[: len(surely)]
    assert distances.too_near == over[: len(distances.too_near)]


def test_the_nearest_of_equals_is_the_first_whatever_the_shards(tmp_path: Path) -> None:
    """A report would name another pair on another machine."""
    pool = Pool.drawn(40, 3)
    limits = Limits(min_distance=0.0)
    found = [
        told(pool.walked(tmp_path / str(shards), shards, 9, limits, False, False))
        for shards in (1, 3, 7)
    ]

    assert found[0] == found[1] == found[2]
    place = {unit: n for n, unit in enumerate(pool.ids)}
    for row, unit in enumerate(pool.walked(tmp_path / "x", 2, 9, limits, False, False).ids):
        distance = found[0].labeled.distances[row]
        first = next(c for c in pool.labeled if apart(pool, place[unit], place[c]) == distance)
        assert first == found[0].labeled.ids[row]


def test_by_hand(tmp_path: Path) -> None:
    """Of four on a line the second is 1 from the first, the third 1 from the labeled one."""
    pool = Pool(
        ["a", "b", "c", "d", "l"],
        np.array([4.0, 3, 2, 1, 9]),
        np.array([[0.0], [1], [9], [4], [10]], np.float16),
        np.ones(5),
        ["l"],
    )
    found = pool.walked(tmp_path, 2, 3, Limits(min_distance=1.5), False, False)

    assert ["a", "d"] == found.ids and 2.0 == found.spent
    assert {"too near": 2} == found.passed_over
    assert "the others are nearer than 1.5 to one of these or of the labeled" == found.short
    assert [10.0, 6.0] == told(found).labeled.distances
    assert (["l", "l"], [None, "a"]) == (told(found).labeled.ids, told(found).chosen.ids)
    assert [None, 4.0] == told(found).chosen.distances
    assert [Near("b", 3.0, "a", "chosen", 1.0), Near("c", 2.0, "l", "labeled", 1.0)] == told(
        found
    ).too_near


def test_zero_passes_nothing_over(tmp_path: Path) -> None:
    """Whoever wants to see distances before choosing one would lose units: even equal ones stay."""
    pool = Pool.drawn(30, 1)
    pool.features[:] = 2
    watched = pool.walked(tmp_path / "a", 3, 12, Limits(min_distance=0.0), False, False)
    free = pool.walked(tmp_path / "b", 3, 12, Limits(), False, False)

    assert free.ids == watched.ids and {"too near": 0} == watched.passed_over
    assert [0.0] * 11 == told(watched).chosen.distances[1:]


def test_all_too_near(tmp_path: Path) -> None:
    """A run that buys nothing has to be told why."""
    pool = Pool.drawn(20, 2)
    found = pool.walked(tmp_path, 2, 5, Limits(min_distance=99.0), False, False)

    assert [] == found.ids and {"too near": 20 - len(pool.labeled)} == found.passed_over
    assert "all are nearer than 99.0 to a labeled one" == found.short


def test_the_first_of_very_many_passed_over_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The features of a whole pool that is too near would fill the memory."""
    monkeypatch.setattr(walking, "SHOWN", 3)
    pool = Pool.drawn(40, 4)
    found = pool.walked(tmp_path, 2, 5, Limits(min_distance=99.0), False, False)

    assert naive(pool, 5, 99.0, False, False)[1][:3] == told(found).too_near


def test_a_feature_that_is_no_number_is_named(tmp_path: Path) -> None:
    """No distance is below a limit where one is NaN: near-duplicates would be bought in silence."""
    pool = Pool.drawn(10, 0)
    pool.labeled, pool.features[3] = ["unit-003"], np.nan

    with pytest.raises(DataError, match="features of unit 'unit-003' are not all finite"):
        pool.walked(tmp_path, 1, 3, Limits(min_distance=1.0), False, False)


def test_predicted_classes_of_some_units(tmp_path: Path) -> None:
    """The balance that people see would be of other units."""
    pool = Pool.drawn(30, 0)
    folder, result = pool.written(tmp_path, 4)

    assert [7 % 3, 29 % 3, 0] == predicted(
        folder, result, Ids(["unit-007", "unit-029", "unit-000"])
    )
    file = folder.write("bare.parquet", shard_file.encode(["a"], {"score.x": np.ones(1)}, {}))
    bare = Pass(units=1, columns=("x",), shards=(file,))
    assert predicted(folder, bare, Ids(["a"])) is None
