"""`rayal select` picks what sorting the pool and walking down picks; bad files are refused."""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.cycle import ranking
from rayal.cycle import shard_file as scores
from rayal.errors import ClusterError, DataError, UsageError
from rayal.experiment import config
from rayal.parts import build
from rayal.randomness import numpy_generator
from rayal.selection.candidates import ranking as in_memory
from rayal.storage.folder import Folder, Json
from rayal.storage.ids import Ids
from rayal.workflows.select import select, write
from rayal.workflows.select.request import Request
from rayal.workflows.select.selection import Selection
from tests.support.doubles import priced

ENTROPY = build("strategies", "entropy")


@dataclass
class Pool:
    """Units of a pass: sorted by id, but for what is asked of them."""

    ids: list[str]
    scores: np.ndarray
    predicted: np.ndarray
    features: np.ndarray
    costs: np.ndarray
    groups: list[str]
    labeled: list[str] = field(default_factory=list)

    @classmethod
    def drawn(cls, units: int, seed: int = 0, levels: int = 6, width: int = 2) -> "Pool":
        """Few different scores, features on few points: ties and distances on the edge."""
        rng = np.random.default_rng(seed)
        ids = [f"unit-{n:03d}" for n in range(units)]
        return cls(
            ids,
            rng.integers(0, levels, units) / 4,
            rng.integers(0, 3, units).astype(np.int32),
            rng.integers(0, 4, (units, width)).astype(np.float16),
            rng.integers(0, 5, units) / 2,
            [str(n) for n in rng.integers(0, 4, units)],
            [unit for unit in ids if rng.random() < 0.15],
        )

    def write(self, path: Path, shards: int = 3, seed: int = 0, name: str = "entropy") -> str:
        """The pass, in so many shards, and files beside it; returns the pass's URL."""
        order = np.random.default_rng(seed).permutation(len(self.ids))
        folder, files = Folder(path / "out/scores"), []
        for number, rows in enumerate(np.array_split(order, shards)):
            columns = {
                "predicted": self.predicted[rows],
                f"score.{name}": self.scores[rows],
                "keep.features": self.features[rows],
            }
            bad = {f"bad-{number}": "empty file"}
            data = scores.encode([self.ids[n] for n in rows], columns if len(rows) else {}, bad)
            files.append(folder.write(f"shard-{number:05d}.parquet", data)._asdict())
        result = {"columns": [name], "shards": files, "units": len(self.ids) + shards}
        folder.write_sealed("done.json", {"result": result})
        pq.write_table(pa.table({"id": self.ids, "cost": self.costs}), path / "costs.parquet")
        pa.csv.write_csv(pa.table({"id": self.ids, "group": self.groups}), path / "groups.csv")
        (path / "labeled.txt").write_text("".join(f"{unit}\r\n" for unit in self.labeled))
        return str(path / "out")


def naive(pool: Pool, r: Request) -> tuple[list[str], dict[str, int], bool]:
    """Ids by sorting and walking down; what was passed over; whether the end is a tie."""
    rng = numpy_generator(r.seed, r.cycle, "select", "entropy")
    order = in_memory(Ids(pool.ids), pool.scores, rng)
    place = {unit: n for n, unit in enumerate(pool.ids)}
    labeled = pool.labeled if r.labeled else []
    centres, taken = [place[unit] for unit in labeled], list[int]()
    classes, groups = Counter[int](), Counter[str]()
    spent, over, tie, rest = 0.0, list[int](), False, False

    def full_class(n: int) -> bool:
        return r.per_class is not None and classes[pool.predicted[n]] >= r.per_class

    def full_group(n: int) -> bool:
        return r.per_group is not None and groups[pool.groups[n]] >= r.per_group

    for n in order:
        if pool.ids[n] in labeled:
            continue
        near = r.min_distance is not None and any(
            math.dist(pool.features[n], pool.features[c]) < r.min_distance
            for c in (*centres, *taken)
        )
        if full_class(n) or full_group(n) or near:
            over.append(n)
            continue
        price = pool.costs[n] if r.costs else 1.0
        if spent + price > r.budget:
            tie = bool(taken) and pool.scores[n] == pool.scores[taken[-1]]
            break
        spent += price
        taken.append(n)
        classes[pool.predicted[n]] += 1
        groups[pool.groups[n]] += 1
    else:
        rest = spent + (min(pool.costs) if r.costs else 1) <= r.budget
    ranks = {n: rank for rank, n in enumerate(order)}
    before = [n for n in over if rest or (taken and ranks[n] < ranks[taken[-1]])]
    causes = {"labeled": len(labeled)}
    if r.per_class is not None:
        causes["class full"] = sum(full_class(n) for n in before)
    if r.per_group is not None:
        causes["group full"] = sum(full_group(n) and not full_class(n) for n in before)
    if r.min_distance is not None:
        causes["too near"] = sum(not (full_group(n) or full_class(n)) for n in before)
    return [pool.ids[n] for n in taken], causes, tie


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 50),
    st.integers(0, 2**20),
    st.integers(1, 4),
    st.one_of(st.integers(1, 60), st.sampled_from([0.5, 2.5, 7.5])),
    st.none() | st.integers(1, 6),
    st.none() | st.integers(1, 6),
    st.none() | st.sampled_from([1.0, 1.2, math.sqrt(2), 2.5]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3, 6]),
)
def test_picks_what_walking_down_the_whole_pool_picks(
    units, seed, shards, budget, per_class, per_group, min_distance, costs, labeled, levels
):
    """Caps, costs and distances would hold for the units of a block, not of the pool."""
    pool = Pool.drawn(1 + units, seed, levels)
    with TemporaryDirectory() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", 400)  # some rows: several blocks
        url = pool.write(Path(path), shards, seed)
        request = Request(
            strategy=ENTROPY,
            budget=budget,
            seed=seed % 5,
            labeled=f"{path}/labeled.txt" if labeled else None,
            costs=f"{path}/costs.parquet" if costs else None,
            per_class=per_class,
            groups=f"{path}/groups.csv" if per_group else None,
            per_group=per_group,
            min_distance=min_distance,
        )
        found = select(url, request)
    ids, causes, tie = naive(pool, request)

    assert ids == found.ids
    assert causes == found.passed_over
    by_id = dict(zip(pool.ids, pool.scores, strict=True))
    assert [by_id[unit] for unit in ids] == found.scores
    classes = dict(zip(pool.ids, pool.predicted.tolist(), strict=True))
    assert [str(classes[unit]) for unit in ids] == found.predicted
    prices = dict(zip(pool.ids, pool.costs, strict=True))
    assert (sum(prices[unit] for unit in ids) if costs else len(ids)) == found.spent
    for unit, reason in zip(ids, found.reasons, strict=True):
        at_edge = tie and by_id[unit] == by_id[ids[-1]]
        best = "highest score by entropy"
        assert (f"{best}; tie broken by seed" if at_edge else best) == reason


@pytest.mark.parametrize("name", ["core_set", "badge", "typiclust"])
def test_strategies_that_select_themselves_know_labels_and_costs(tmp_path: Path, name: str) -> None:
    """Core-set would pick beside what is labeled, or what is dear as if it were free."""
    strategy = build("strategies", name)
    pool = Pool.drawn(60, seed=1, width=5)
    rng = np.random.default_rng(0)
    pool.features = rng.normal(size=(60, 5)).astype(np.float16)
    pool.costs = rng.integers(1, 4, 60) / 2
    probs = rng.dirichlet(np.ones(4), 60).astype(np.float16)
    picked = []
    for shards in (1, 4):
        url = pool.write(tmp_path / str(shards), shards, seed=shards)
        _keep(Folder(url) / "scores", name, dict(zip(pool.ids, probs, strict=True)))
        at = tmp_path / str(shards)
        request = Request(
            strategy=strategy,
            budget=9.5,
            seed=3,
            labeled=f"{at}/labeled.txt",
            costs=f"{at}/costs.parquet",
        )
        picked.append(select(url, request, f"{at}/work/picks"))
        assert [] == list((at / "work").iterdir())
    place = {unit: n for n, unit in enumerate(pool.ids)}
    good = [unit for unit in pool.ids if unit not in pool.labeled]
    rows, seen = ([place[unit] for unit in units] for units in (good, pool.labeled))
    scans = strategy.scans_labeled
    kept = {"features": pool.features, "probs": probs}
    known = scores.Candidates(
        Ids(good),
        None,
        priced(good, pool.costs[rows]),
        {s: kept[s][rows] for s in strategy.kept()},
        Ids(pool.labeled if scans else []),
        {s: kept[s][seen] for s in strategy.kept()} if scans else {},
    )
    chosen = strategy.select(known, 9.5, numpy_generator(3, 0, "select", name))

    assert list(chosen) == picked[0].ids == picked[1].ids
    assert [f"{name} pick {n + 1}" for n in range(len(chosen))] == picked[0].reasons
    assert None is picked[0].scores and 8 < picked[0].spent <= 9.5
    assert {"labeled": len(pool.labeled)} == picked[0].passed_over


def test_a_knapsack_is_filled_where_units_differ_in_cost(tmp_path: Path) -> None:
    """The dearest of the best would eat the budget that buys two others."""
    pool = Pool.drawn(3)
    pool.scores, pool.costs = np.array([10.0, 9.0, 9.0]), np.array([8.0, 5.0, 5.0])
    url, qbc = pool.write(tmp_path, name="qbc"), build("strategies", "qbc")
    costs = f"{tmp_path}/costs.parquet"
    found = select(url, Request(strategy=qbc, budget=10, costs=costs))

    assert (["unit-001", "unit-002"], 10) == (sorted(found.ids), found.spent)
    assert [9.0, 9.0] == found.scores
    assert ["unit-000"] == select(url, Request(strategy=qbc, budget=1)).ids
    with pytest.raises(UsageError, match="qbc does not rank units.*per_class"):
        Request(strategy=qbc, budget=10, costs=costs, per_class=1)


def _keep(folder: Folder, name: str, probs: dict[str, np.ndarray]) -> None:
    """Adds probabilities to the shards of a pass, and takes away its scores."""
    result, files = folder.read_json("done.json")["result"], []
    for file in result["shards"]:
        good = scores.read_good(folder, file["name"], ["id", "keep.features"])
        ids = good["id"].to_pylist()
        columns = {"keep.features": scores.matrix(good["keep.features"])}
        columns["keep.probs"] = np.stack([probs[unit] for unit in ids])
        data = scores.encode(ids, columns, {f"bad-{file['name']}": "empty file"})
        files.append(folder.write(file["name"], data)._asdict())
    folder.remove("done.json")
    folder.write_sealed("done.json", {"result": {"columns": [name], "shards": files, "units": 1}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget": 0}, "budget: should be greater than 0, got 0"),
        ({"budget": math.nan}, "budget: should be a finite number"),
        ({"per_class": 0}, "per_class: should be greater than 0, got 0"),
        ({"per_group": 2}, "groups and per_group are given together"),
        ({"groups": "x.csv"}, "groups and per_group are given together"),
        ({"min_distance": -1.0}, "min_distance: should be greater than or equal to 0, got -1.0"),
        ({"strategy": "core_set", "per_class": 3}, "core_set does not rank"),
        ({"strategy": "badge", "min_distance": 1.0}, "badge does not rank"),
        ({"strategy": {"name": "entropy", "nope": 1}}, "strategy.nope: there is no such key"),
        (
            {"strategy": {"name": "bald", "passes": 1}},
            "strategy.passes: should be greater than or equal",
        ),
        ({"strategy": "entropie"}, "no 'entropie' in strategies; did you mean 'entropy'"),
    ],
)
def test_what_cannot_be_asked(fields: dict[str, Any], message: str) -> None:
    """A limit that is not kept would be found out after the labels are paid for; a wrong option
    would end in pages of pydantic."""
    with pytest.raises(UsageError, match=message) as refused:
        config.from_options({"strategy": "entropy", "budget": 3, **fields}, [], Request)

    assert 2 == refused.value.exit_code and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("entropy", "entropy ranks units, .*; leave out address"),
        ("typiclust", "typiclust selects in one process, .*; leave out address, or select by"),
        ({"name": "prob_cover", "features": "/x.npz"}, "prob_cover selects in one process"),
    ],
)
def test_what_no_cluster_is_needed_for(tmp_path: Path, strategy: Any, message: str) -> None:
    """A cluster would be joined for nothing, or a pool be read by one process after all."""
    url, part = Pool.drawn(9).write(tmp_path), build("strategies", strategy)
    with pytest.raises(UsageError, match=message):
        select(url, Request(strategy=part, budget=3), address="nowhere:1")
    if strategy == "typiclust":
        part = build("strategies", {"name": strategy, "clustering": "exact"})
        with pytest.raises(ClusterError, match="nowhere:1"):  # asked for, now
            select(url, Request(strategy=part, budget=3), address="nowhere:1")
    else:
        assert strategy != "entropy" or 3 == len(select(url, Request(strategy=part, budget=3)).ids)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("margin", "no scores of .*margin.*, its strategies are entropy .*--strategies margin"),
        ("badge", "no column keep.probs, .* --strategies badge"),
    ],
)
def test_what_the_pass_lacks(tmp_path: Path, strategy: str, message: str) -> None:
    """The user would see a KeyError, and not learn what to score again."""
    url = Pool.drawn(5).write(tmp_path)
    with pytest.raises(UsageError, match=message):
        select(url, Request(strategy=build("strategies", strategy), budget=3))


def test_the_options_decide_which_scores_are_taken(tmp_path: Path) -> None:
    """A ranking by 10 passes of dropout would pass for one by 50."""
    folder, ten = Folder(tmp_path), {"name": "bald", "passes": 10}

    def bald(passes: int) -> Json:
        return build("strategies", {"name": "bald", "passes": passes}).model_dump(mode="json")

    columns = {"score.bald": np.array([1.0, 0.0]), "score.bald#2": np.array([0.0, 1.0])}
    file = folder.write("0.parquet", scores.encode(["a", "b"], columns, {}))
    options = {"bald": bald(20), "bald#2": bald(10)}

    def picked(there: list[str], strategy: Any) -> list[str]:
        result = {"columns": there, "shards": [file._asdict()], "units": 1}
        result["options"] = {column: options[column] for column in there}
        folder.write_sealed("done.json", {"result": result})
        request = Request(strategy=build("strategies", strategy), budget=1, per_class=None)
        return select(folder.url, request).ids

    both = list(options)
    assert ["a"] == picked(both, {"name": "bald", "passes": 20}) == picked(["bald"], "bald")
    assert ["b"] == picked(both, ten) == picked(both, "bald") == picked(["bald#2"], ten)
    again = (
        r"""score again with --strategies '\[{"name": "bald", "passes": 50}\]' .* another --out"""
    )
    with pytest.raises(
        UsageError, match=rf'no scores of .*50.*bald#2 {{"name": "bald".*10}}; .*{again}'
    ):
        picked(both, {"name": "bald", "passes": 50})
    with pytest.raises(UsageError, match="no scores of"):
        picked(["bald"], ten)
    options["bald#2"] = bald(30)
    with pytest.raises(UsageError, match="no scores of"):  # which of the two?
        picked(both, "bald")


def test_columns_that_only_limits_need(tmp_path: Path) -> None:
    """A pass without features or classes would end in a KeyError."""
    folder = Folder(tmp_path)
    file = folder.write("0.parquet", scores.encode(["a"], {"score.entropy": np.ones(1)}, {}))
    result = {"columns": ["entropy"], "shards": [file._asdict()], "units": 1}
    folder.write_sealed("done.json", {"result": result})

    with pytest.raises(UsageError, match="keep.features.* keeps features, such as core_set"):
        select(folder.url, Request(strategy=ENTROPY, budget=3, min_distance=1.0))
    with pytest.raises(UsageError, match="predicted.* leave out per_class"):
        select(folder.url, Request(strategy=ENTROPY, budget=3, per_class=1))
    assert ["a"] == select(folder.url, Request(strategy=ENTROPY, budget=3)).ids


def test_what_is_no_finished_pass(tmp_path: Path) -> None:
    """Half a pass would be selected from as if it were the pool."""
    url = Pool.drawn(5).write(tmp_path)  # what is the --out of `rayal score`
    request = Request(strategy=ENTROPY, budget=3)
    with pytest.raises(UsageError, match="holds no finished scores; give the --out .* of `rayal"):
        select(str(tmp_path), request)
    Folder(tmp_path).write_sealed("done.json", {"result": {"weights": {}}})
    with pytest.raises(UsageError, match="is not a scoring pass; give the folder of one"):
        select(str(tmp_path), request)
    assert select(url, request).ids == select(f"{url}/scores", request).ids


def test_a_pass_of_nothing_but_bad_images(tmp_path: Path) -> None:
    """It would be said to lack the strategy."""
    folder = Folder(tmp_path)
    file = folder.write("0.parquet", scores.encode([], {}, {"a": "empty file"}))
    result = {"columns": ["entropy"], "shards": [file._asdict()], "units": 1}
    folder.write_sealed("done.json", {"result": result})
    with pytest.raises(DataError, match="no unit that could be decoded"):
        select(folder.url, Request(strategy=ENTROPY, budget=3))


def test_files_of_another_pool(tmp_path: Path) -> None:
    """Nothing would be excluded, and labels bought twice."""
    url = Pool.drawn(5).write(tmp_path)
    (tmp_path / "other.txt").write_text("unit-001\nx\ny\nbad-0\n")
    (tmp_path / "some.csv").write_text("id,cost,group\nunit-001,1,a\nunit-003,2,b\nbad-0,1,c\n")
    with pytest.raises(
        DataError, match=r"other.txt: 2 of 4 ids are not in .*, the first is 'x'; g"
    ):
        select(url, Request(strategy=ENTROPY, budget=3, labeled=f"{tmp_path}/other.txt"))
    (tmp_path / "other.txt").write_text("unit-001\nbad-0\n")
    select(url, Request(strategy=ENTROPY, budget=3, labeled=f"{tmp_path}/other.txt"))
    lacks = r"some.csv lacks 3 of 5 units of .*, the first is 'unit-000'; add them"
    with pytest.raises(DataError, match=lacks):
        select(url, Request(strategy=ENTROPY, budget=3, costs=f"{tmp_path}/some.csv"))
    with pytest.raises(DataError, match=lacks):
        select(url, Request(strategy=ENTROPY, budget=3, groups=f"{tmp_path}/some.csv", per_group=1))
    with (tmp_path / "some.csv").open("a") as file:
        file.writelines(f"unit-00{number},1,a\n" for number in (0, 2, 4))
    select(url, Request(strategy=ENTROPY, budget=3, costs=f"{tmp_path}/some.csv"))
    select(url, Request(strategy=ENTROPY, budget=3, groups=f"{tmp_path}/some.csv", per_group=1))


def test_features_that_are_not_finite_are_named(tmp_path: Path) -> None:
    """NaN is near to nothing: such a unit would always be taken."""
    pool = Pool.drawn(9)
    pool.scores[4], pool.features[4, 1] = 9.0, np.inf
    url = pool.write(tmp_path)
    with pytest.raises(DataError, match="features of unit 'unit-004' are not all finite"):
        select(url, Request(strategy=ENTROPY, budget=3, min_distance=1.0))


STRANGE = ["=cmd()|' /C calc'!A0", "+1", "-2", "@x", "\tx", "\rx", "'", "'=", 'a"b,c\nd', "é", "0"]


def test_files_have_the_ids_as_they_are(tmp_path: Path) -> None:
    """A spreadsheet would run an id as a formula (F06); undoing that would lose another id."""
    found = Selection(STRANGE, [-1.5] * len(STRANGE), ["highest x"] * len(STRANGE), 1.0, {})
    write(found, str(tmp_path / "picks"))
    table = pq.read_table(tmp_path / "picks.parquet")
    text = (tmp_path / "picks.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    again = select(
        _of(tmp_path, STRANGE),
        Request(strategy=ENTROPY, budget=99, labeled=f"{tmp_path}/picks.csv"),
    )

    assert STRANGE == table["id"].to_pylist()
    assert list(range(1, len(STRANGE) + 1)) == table["rank"].to_pylist()
    assert [f"'{unit}" for unit in STRANGE[:8]] == [row["id"] for row in rows[:8]]
    assert STRANGE[8:] == [row["id"] for row in rows[8:]]
    assert {"-1.5"} == {row["score"] for row in rows}
    assert [] == again.ids and {"labeled": len(STRANGE)} == again.passed_over


def _of(path: Path, ids: list[str]) -> str:
    folder = Folder(path / "pass")
    columns = {"score.entropy": np.ones(len(ids))}
    file = folder.write("0.parquet", scores.encode(ids, columns, {}))
    result = {"columns": ["entropy"], "shards": [file._asdict()], "units": 1}
    folder.write_sealed("done.json", {"result": result})
    return folder.url


def test_less_than_the_budget_buys_is_explained(tmp_path: Path) -> None:
    """Two of eight came back, and nothing said that no more of the rest may be taken."""
    pool = Pool.drawn(30, 0)
    url = pool.write(tmp_path)
    kinds = len({*pool.predicted.tolist()})

    found = select(url, Request(strategy=ENTROPY, budget=20, per_class=1))
    everything = select(url, Request(strategy=ENTROPY, budget=99))
    apart = select(url, Request(strategy=ENTROPY, budget=20, min_distance=1e3))
    enough = select(url, Request(strategy=ENTROPY, budget=kinds, per_class=1))

    assert kinds == len(found.ids) and {"labeled": 0, "class full": 30 - kinds} == found.passed_over
    assert [
        f"selected     {kinds} units, cost {kinds} of 20: the others are of a class that has its 1",
        f"passed over  {30 - kinds} class full",
    ] == found.lines()[:2]
    assert all(f"{number} 1" in found.lines()[2] for number in {*pool.predicted.tolist()})
    assert "selected     30 units, cost 30 of 99: there are no others" == everything.lines()[0]
    assert "cost 1 of 20: the others are nearer than 1000.0 to one" in apart.lines()[0]
    assert f"selected     {kinds} units, cost {kinds}" == enough.lines()[0]


def test_another_selection_is_kept(tmp_path: Path) -> None:
    """What was sent to annotators would be overwritten by the next selection without a word."""
    first, second, third = (
        Selection([unit], [1.0], ["highest"], 1.0, {"labeled": 0}) for unit in "abc"
    )
    out = str(tmp_path / "picks")

    assert write(first, out) is None is write(first, out)  # the same command again
    assert f"{out}-1" == write(second, out)
    assert f"{out}-2" == write(third, out)
    found = {
        path.name: pq.read_table(path)["id"].to_pylist() for path in tmp_path.glob("*.parquet")
    }
    assert {"picks.parquet": ["c"], "picks-1.parquet": ["a"], "picks-2.parquet": ["b"]} == found
    assert first.csv() == (tmp_path / "picks-1.csv").read_bytes()


def test_a_kept_selection_is_kept_once(tmp_path: Path) -> None:
    """Each kill between the copy and the new files would leave another copy."""
    first, second = (Selection([unit], [1.0], ["x"], 1.0, {"labeled": 0}) for unit in "ab")
    write(first, str(tmp_path / "picks"))
    (tmp_path / "picks-1.csv").write_bytes(first.csv())  # killed after the first copy

    assert f"{tmp_path}/picks-1" == write(second, str(tmp_path / "picks"))
    assert {"picks-1.csv", "picks-1.parquet", "picks.csv", "picks.parquet"} == {
        path.name for path in tmp_path.iterdir()
    }


def test_a_selection_without_scores_has_none_in_its_files() -> None:
    """They would be taken for scores of nought."""
    found = Selection(["a"], None, ["core_set pick 1"], 1.0, {"labeled": 2})

    assert b"rank,id,score,predicted,reason\r\n1,a,,,core_set pick 1\r\n" == found.csv()
    assert [None] == pq.read_table(pa.BufferReader(found.parquet()))["score"].to_pylist()
    assert ["selected     1 unit, cost 1", "passed over  2 labeled"] == found.lines()
