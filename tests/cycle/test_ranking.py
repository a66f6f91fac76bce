"""The streamed ranking is that of sorting the whole pool in memory."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.cycle import ranking, shard_file
from rayal.cycle.ranking import Highest, highest, mark, ranked
from rayal.errors import DataError, StorageError
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates, take_highest, tie_secret
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids

SHARD = st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.25, 3.0, 1e300]), max_size=9)
SOME = st.lists(SHARD)
FEW = st.lists(SHARD, max_size=4)
"""Of which each block of a unit is a look at all."""


def written(folder: Folder, *shards: dict[str, float], bad: int = 0) -> Pass:
    """A pass of these scores by id; each shard has some units that could not be decoded."""
    files = []
    for number, units in enumerate(shards):
        columns = {"score.own": np.array([*units.values()], np.float64)}
        missing = {f"bad-{number}-{n}": "empty file" for n in range(bad)}
        data = shard_file.encode(list(units), columns if units else {}, missing)
        files.append(folder.write(f"shard-{number:05d}.parquet", data))
    units = sum(map(len, shards)) + bad * len(shards)
    return Pass(units=units, columns=("own",), shards=tuple(files))


def named(shards: list[list[float]]) -> list[dict[str, float]]:
    return [
        {f"unit-{s}-{n}": score for n, score in enumerate(shard)} for s, shard in enumerate(shards)
    ]


def in_memory(shards: list[dict[str, float]], budget: float, seed: int) -> list[str]:
    """What `take_highest` picks from the whole pool."""
    pool = {unit: score for shard in shards for unit, score in shard.items()}
    units = sorted(pool)
    values = np.array([pool[unit] for unit in units], np.float64)
    scored = Candidates(Ids(units), values)
    return list(scored.ids[take_highest(scored, budget, np.random.default_rng(seed))])


@settings(deadline=None, max_examples=60)
@given(SOME, st.integers(0, 40), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_highest_are_those_of_the_whole_pool(values, count, bad, random):
    """A large pool would be labeled otherwise than a small one; ties, and any order of shards."""
    shards = named(values)
    expected = in_memory(shards, count, seed=3)
    with TemporaryDirectory() as path:
        result = written(Folder(path), *shards, bad=bad)
        files = list(result.shards)
        random.shuffle(files)
        result = result.model_copy(update={"shards": tuple(files)})
        secret = tie_secret(np.random.default_rng(3))
        found = highest(Folder(path), result, {"own": secret}, count)["own"]

    assert expected == found["id"].to_pylist()
    by_id = {unit: score for shard in shards for unit, score in shard.items()}
    assert [by_id[unit] for unit in expected] == found["score"].to_pylist()


@settings(deadline=None, max_examples=40)
@given(FEW, st.integers(1, 6), st.booleans())
def test_blocks_are_the_whole_ranking(values, first, narrow):
    """A unit at the edge of a block would be taken twice or passed over."""
    shards = named(values)
    expected = in_memory(shards, 1e9, seed=5)
    with TemporaryDirectory() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", 1 if narrow else 2**27)
        result, secret = written(Folder(path), *shards, bad=1), tie_secret(np.random.default_rng(5))
        blocks = list(ranked(Folder(path), result, "own", secret, first))
    sizes = [block.num_rows for block in blocks]

    assert expected == [unit for block in blocks for unit in block["id"].to_pylist()]
    assert all(size == (first if narrow else first << n) for n, size in enumerate(sizes[:-1]))


def test_only_what_is_eligible_is_ranked(tmp_path: Path) -> None:
    """What is labeled would be bought again, or push out what is not; and of a class that becomes
    full on the way the rest of the pool would be read for nothing."""
    units = {f"unit-{n:03d}": float(n % 7) for n in range(100)}
    folder, taken = Folder(tmp_path), set[str]()
    result, secret = written(folder, units), tie_secret(np.random.default_rng(0))

    def eligible(rows: pa.Table) -> np.ndarray:
        return np.array([unit not in taken for unit in rows["id"].to_pylist()], bool)

    taken |= {unit for unit, score in units.items() if score == 6}
    blocks = ranked(folder, result, "own", secret, 10, eligible=eligible)
    first = next(blocks)["id"].to_pylist()
    taken |= {unit for unit, score in units.items() if score in (4, 5)}
    second = next(blocks)["id"].to_pylist()

    assert {5.0} == {units[unit] for unit in first} and 10 == len(first)
    assert [3.0] * 14 + [2.0] * 6 == [units[unit] for unit in second]


def test_asked_for_columns_belong_to_the_unit(tmp_path: Path) -> None:
    """The cap of a class would count another unit's class."""
    folder, rng = Folder(tmp_path), np.random.default_rng(0)
    columns = {
        "score.own": rng.permutation(50).astype(float),
        "predicted": np.arange(50, dtype=np.int32),
        "keep.features": np.arange(100, dtype=np.float16).reshape(50, 2),
    }
    files = [
        folder.write(
            f"{start}.parquet",
            shard_file.encode(
                [f"{unit:02d}" for unit in range(start, start + 25)],
                {name: values[start : start + 25] for name, values in columns.items()},
                {"z": "missing"},
            ),
        )
        for start in (0, 25)
    ]
    result = Pass(units=50, columns=("own",), shards=files)
    blocks = ranked(folder, result, "own", 1, 7, ["predicted", "keep.features"])
    rows = [row for block in blocks for row in block.to_pylist()]

    assert list(range(49, -1, -1)) == [row["score"] for row in rows]
    for row in rows:
        assert int(row["id"]) == row["predicted"]
        assert [2 * int(row["id"]), 2 * int(row["id"]) + 1] == row["keep.features"]


def test_equal_keys_are_ordered_by_id(monkeypatch) -> None:
    """Of a billion units two may have the same key; a block would end in the middle of them."""
    monkeypatch.setattr(ranking, "tie_keys", lambda ids, _: np.zeros(len(ids), np.uint64))
    table = pa.table({"id": list("dacbe"), "score": [1.0] * 5})
    first = Highest(2, 0)
    first.add(table)
    second = Highest(2, 0, mark(first.rows()))
    second.add(table.slice(0, 3))
    second.add(table.slice(3))

    assert ["a", "b"] == first.rows()["id"].to_pylist()
    assert ["c", "d"] == second.rows()["id"].to_pylist()


def test_holds_no_more_than_it_has_to(monkeypatch) -> None:
    """The ids of a billion units would be in memory, and each cost a hash."""
    keyed, held = [], []
    real = ranking.tie_keys
    monkeypatch.setattr(ranking, "tie_keys", lambda i, s: keyed.append(len(i)) or real(i, s))
    top, rng = Highest(10, 0), np.random.default_rng(0)
    for shard in range(50):
        ids = [f"{shard}-{n}" for n in range(1000)]
        top.add(pa.table({"id": ids, "score": rng.random(1000)}))
        held.append(sum(part.num_rows for part in top._parts))

    assert 10 == top.rows().num_rows
    assert max(held) < 20 and sum(keyed) < 200


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, None])
def test_what_is_no_score_is_refused(tmp_path: Path, score: float | None) -> None:
    """A file from elsewhere would have its failures selected first, as NaN sorts first (G01)."""
    table = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "status": ["ok", "ok", "ok", "missing"],
            "score.own": pa.array([1.0, score, score, None], pa.float64()),
        }
    )
    pq.write_table(table, data := io.BytesIO())
    file = Folder(tmp_path).write("0.parquet", data.getvalue())
    result = Pass(units=4, columns=("own",), shards=[file])
    with pytest.raises(
        DataError, match="the own score of unit 'b' is .*; score again, with anothe"
    ):
        highest(Folder(tmp_path), result, {"own": 1}, 2)
    again = written(Folder(tmp_path / "another"), {"a": 1.0, "b": 2.0})
    assert ["b"] == highest(Folder(tmp_path / "another"), again, {"own": 1}, 1)["own"][
        "id"
    ].to_pylist()


def test_a_strategy_without_scores_is_refused(tmp_path: Path) -> None:
    """A user's strategy that neither scores nor selects would end in a traceback (G05)."""
    result = written(Folder(tmp_path), {"a": 1.0})
    with pytest.raises(DataError, match="'other' gave no scores"):
        highest(Folder(tmp_path), result, {"other": 1}, 2)


def test_a_damaged_shard_is_noticed(tmp_path: Path) -> None:
    """A flipped bit would choose other units without a word (B05)."""
    folder = Folder(tmp_path)
    result = written(folder, {"a": 1.0, "b": 2.0})
    name = result.shards[0].name
    data = bytearray(folder.read(name))
    data[20] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match="sha256"):
        highest(folder, result, {"own": 1}, 2)
