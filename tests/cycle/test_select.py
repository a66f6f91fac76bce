"""The select stage of a run: what is streamed or lies in files is chosen as from memory."""

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from rayal.cycle import shard_file
from rayal.cycle.offer import Offer
from rayal.cycle.picks import agreement
from rayal.cycle.pool_selection import forget_under_way
from rayal.cycle.select import choose
from rayal.errors import DataError
from rayal.parts import build
from rayal.randomness import numpy_generator
from rayal.runs.results import Scored
from rayal.selection import progress
from rayal.selection.candidates import Candidates
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.workflows.select import select
from rayal.workflows.select.request import Request
from tests.support.local_machines import Local

NAMES = ["core_set", "entropy", "badge", "margin", "prob_cover"]
UNITS, WIDTH, CLASSES = 90, 4, 3
IDS = [f"unit-{n:02d}" for n in range(UNITS)]
LABELED = IDS[::9]


def columns(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "predicted": rng.integers(0, CLASSES, UNITS).astype(np.int32),
        "score.entropy": rng.integers(0, 5, UNITS) / 4,
        "score.margin": rng.random(UNITS),
        "keep.features": rng.normal(size=(UNITS, WIDTH)).astype(np.float16),
        "keep.probs": rng.dirichlet(np.ones(CLASSES), UNITS).astype(np.float16),
    }


def written(folder: Folder, shards: int) -> Scored:
    """A pass over all units, the labeled ones too, and an undecodable one in each shard."""
    order, files = np.random.default_rng(shards).permutation(UNITS), []
    for number, rows in enumerate(np.array_split(order, shards)):
        part = {name: values[rows] for name, values in columns().items()}
        data = shard_file.encode([IDS[n] for n in rows], part, {f"bad-{number}": "empty file"})
        files.append(folder.write(f"shard-{number:05d}.parquet", data))
    result = Scored(columns=NAMES, shards=files, units=UNITS + shards)
    folder.write_sealed("done.json", {"result": result.to_json()})
    return result


def offer(x: Any, bought: Collection[str]) -> Offer:
    """Every unit costs 1: the dataset is not asked."""
    return Offer(x, cast(Any, None), bought)


def in_memory(name: str, budget: float, seed: int, cycle: int) -> list[str]:
    """What the strategy selects from a pool that holds everything."""
    strategy, of = build("strategies", name), columns()
    rows = [n for n in range(UNITS) if IDS[n] not in LABELED]
    seen = [IDS.index(unit) for unit in LABELED]
    own = of.get(f"score.{name}")
    pool = Candidates(
        Ids(IDS[n] for n in rows),
        None if own is None else own[rows],
        kept={signal: of[f"keep.{signal}"][rows] for signal in strategy.kept()},
        labeled_ids=Ids(LABELED if strategy.scans_labeled else []),
        labeled={s: of[f"keep.{s}"][seen] for s in strategy.kept() if strategy.scans_labeled},
    )
    rng = numpy_generator(seed, cycle, "select", name)
    return list(strategy.select(pool, budget, rng))


@pytest.mark.parametrize("shards", [1, 5])
@pytest.mark.parametrize("first", NAMES)
def test_chooses_as_from_memory(
    tiny: Callable[..., Any], tmp_path: Path, first: str, shards: int
) -> None:
    """A large pool would be labeled otherwise than a small one, or by what observers keep."""
    others = [name for name in NAMES if name != first]
    x = tiny(strategy=first, observers=others, seed=4)
    scored, out = Folder(tmp_path / "score"), Folder(tmp_path / "select")
    result = written(scored, shards)
    found = choose(x, 2, 20, scored, result, offer(x, LABELED), {}, out)
    expected = {name: in_memory(name, 20, 4, 2) for name in NAMES}

    assert expected[first] == list(found.ids) and 20.0 == found.cost
    for other in others:
        shared = len({*expected[first]} & {*expected[other]}) / 20
        assert shared == found.agreement[first][other]
    assert ["chosen.csv"] == [path.name for path in (tmp_path / "select").iterdir()]


@pytest.mark.parametrize("name", NAMES)
def test_select_picks_from_a_runs_pass_what_the_run_picks(
    tiny: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    """`rayal select` on the pass of a run would contradict the run."""
    scored = Folder(tmp_path / "score")
    result = written(scored, 3)
    (tmp_path / "labeled.txt").write_text("\n".join(LABELED))
    x = tiny(strategy=name, seed=4)
    ran = choose(x, 2, 20, scored, result, offer(x, LABELED), {}, Folder(tmp_path / "select"))
    request = Request(
        strategy=build("strategies", name),
        budget=20,
        seed=4,
        cycle=2,
        labeled=str(tmp_path / "labeled.txt"),
    )

    assert list(ran.ids) == select(scored.url, request).ids


@pytest.mark.parametrize("first", NAMES)
def test_machines_that_hold_the_pool_choose_what_this_process_chooses(
    tiny: Callable[..., Any], tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose pool has become large would label other units, or leave files behind."""
    monkeypatch.setattr(progress, "KEEP", 5)
    others = [name for name in NAMES if name != first]
    x = tiny(strategy=first, observers=others, seed=4)
    scored, out = Folder(tmp_path / "score"), Folder(tmp_path / "select")
    result, machines = written(scored, 5), Local(3)
    found = choose(x, 2, 20, scored, result, offer(x, LABELED), {}, out, machines)

    assert in_memory(first, 20, 4, 2) == list(found.ids)
    assert found == choose(x, 2, 20, scored, result, offer(x, LABELED), {}, out)
    assert 3 == machines.held  # for those that do not rank
    assert found == choose(x, 2, 20, scored, result, offer(x, LABELED), {}, out, machines)
    assert 3 == machines.held  # what all had picked is there until the stage is recorded
    forget_under_way(out)
    assert ["chosen.csv"] == out.names()


def test_a_stage_that_was_killed_goes_on_from_the_picks_that_it_kept(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days of picking would be lost, or what another selection or a damaged disk left be picked."""
    monkeypatch.setattr(progress, "KEEP", 5)
    x = tiny(strategy="core_set", seed=4)
    scored, out = Folder(tmp_path / "score"), Folder(tmp_path / "select")
    result, machines, name = written(scored, 5), Local(2), "core_set.picks.json"

    def stage(budget: float = 20) -> list[str]:
        chosen = choose(x, 2, budget, scored, result, offer(x, LABELED), {}, out, machines)
        return list(chosen.ids)

    with monkeypatch.context() as patch:
        patch.setattr("rayal.cycle.picks.csv_file.dump", lambda *_: 1 / 0)
        patch.setattr("rayal.strategies.core_set.farthest_first.__defaults__", (8,))
        with pytest.raises(ZeroDivisionError):
            stage()
    left = out.read_sealed(name)
    assert 5 <= len(left["picks"]) <= 20
    assert in_memory("core_set", 20, 4, 2) == left.pop("chosen")["ids"] == stage()
    changed = {**left, "picks": left["picks"][::-1]}
    out.write_sealed(name, changed)
    assert stage() != in_memory("core_set", 20, 4, 2)  # it believes them, and goes on
    for damage in (left | {"of": {}}, changed | {"of": {**left["of"], "budget": 19.0}}):
        out.write_sealed(name, damage)
        assert stage() == in_memory("core_set", 20, 4, 2)
    out.write(name, b"{}")
    assert stage() == in_memory("core_set", 20, 4, 2)


def test_small_pools_are_not_held(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Every cycle of a small run would wait for processes on all machines."""
    x, scored = tiny(strategy="core_set", seed=4), Folder(tmp_path / "score")
    result, machines = written(scored, 2), Local(3, most=(UNITS + 2) * 2 * WIDTH)
    choose(x, 2, 9, scored, result, offer(x, LABELED), {}, Folder(tmp_path / "out"), machines)
    assert 0 == machines.held
    machines.most -= 1
    choose(x, 2, 9, scored, result, offer(x, LABELED), {}, Folder(tmp_path / "out"), machines)
    assert 1 == machines.held


def test_pools_without_room_on_machines_are_selected_from_files(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """A run on a small cluster would end at a pool that it used to select from."""
    x, scored = tiny(strategy="core_set", seed=4), Folder(tmp_path / "score")
    result, machines, out = written(scored, 5), Local(3, room=100), Folder(tmp_path / "out")
    found = choose(x, 2, 20, scored, result, offer(x, LABELED), {}, out, machines)

    assert in_memory("core_set", 20, 4, 2) == list(found.ids)
    assert 0 == machines.held


def test_images_are_not_compared_with_regions():
    """Agreement would be 0 where there is nothing to agree on."""
    picks = {"polygon": {"a/0", "b/3"}, "random": {"a", "b"}, "other": {"a/0"}, "entropy": {"b"}}
    found = agreement(picks, {"polygon", "other"})

    assert {"polygon": {"other": 1.0}, "random": {"entropy": 1.0}, "other": {}} == found


def test_nothing_is_left_behind_where_a_strategy_fails(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """Features of a large pool would fill the disk, cycle after cycle."""
    folder = Folder(tmp_path / "score")
    part = columns()
    part["keep.features"][3] = np.inf
    file = folder.write("0.parquet", shard_file.encode(IDS, part, {}))
    result = Scored(columns=["core_set"], shards=[file], units=UNITS)
    x = tiny(strategy="core_set")
    with pytest.raises(DataError, match="features of unit 'unit-03'"):
        choose(x, 0, 5, folder, result, offer(x, []), {}, Folder(tmp_path / "out"))

    assert [] == list((tmp_path / "out").iterdir())


GUARDS = {"min_distance": 0.8, "per_class": 6}


@pytest.mark.parametrize("shards", [1, 5])
def test_select_picks_past_the_guards_of_a_run_what_the_run_picks(
    tiny: Callable[..., Any], tmp_path: Path, shards: int
) -> None:
    """`rayal select` on the pass of a run, with the same words, would contradict the run."""
    scored = Folder(tmp_path / "score")
    result, store = written(scored, shards), SimpleNamespace(card=SimpleNamespace(classes="xyz"))
    (tmp_path / "labeled.txt").write_text("\n".join(LABELED))
    x = tiny(strategy="entropy", seed=4, guards=GUARDS)
    offered = Offer(x, cast(Any, store), LABELED)
    ran = choose(x, 2, 20, scored, result, offered, {}, Folder(tmp_path / "select"))
    request = Request(
        strategy=build("strategies", "entropy"),
        budget=20,
        seed=4,
        cycle=2,
        labeled=str(tmp_path / "labeled.txt"),
        **GUARDS,
    )
    found = select(scored.url, request)

    assert list(ran.ids) == found.ids and 0 < len(ran.ids)
    over = {cause: n for cause, n in found.passed_over.items() if n and cause != "labeled"}
    assert over == ran.passed_over and ran.short in found.short
    table = csv_file.parse((tmp_path / "select/chosen.csv").read_bytes()).to_pydict()
    selected = found.table().to_pydict()
    for name in ("nearest_labeled", "nearest_chosen"):
        assert [each or "" for each in selected[name]] == table[name]
    assert selected["to_labeled"] == [*map(float, table["to_labeled"])]
    assert ["xyz"[int(number)] for number in found.predicted or ()] == table["predicted"]
    assert Counter(table["predicted"]) == ran.predicted and max(ran.predicted.values()) <= 6
    assert min(map(float, table["to_labeled"])) == ran.distances["labeled"]["0%"] >= 0.8
    passed = csv_file.parse((tmp_path / "select/passed_over.csv").read_bytes()).to_pydict()
    assert all(float(distance) < 0.8 for distance in passed["distance"])


def test_guards_hold_for_observers_that_rank(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Whether two strategies agree would be told of choices of which one is free and one is not;
    those that select themselves have no guards."""
    scored = Folder(tmp_path / "score")
    result, store = written(scored, 2), SimpleNamespace(card=SimpleNamespace(classes="xyz"))
    picks = {}
    for main in ("entropy", "margin"):
        x = tiny(strategy=main, seed=4, guards=GUARDS)
        out = Folder(tmp_path / main)
        chosen = choose(x, 2, 20, scored, result, Offer(x, cast(Any, store), LABELED), {}, out)
        picks[main] = {*chosen.ids}
    x = tiny(strategy="entropy", observers=["margin", "core_set"], seed=4, guards=GUARDS)
    offered = Offer(x, cast(Any, store), LABELED)
    found = choose(x, 2, 20, scored, result, offered, {}, Folder(tmp_path / "all"))
    free = {*in_memory("core_set", 20, 4, 2)}

    least = min(map(len, picks.values()))
    assert len(picks["entropy"] & picks["margin"]) / least == found.agreement["entropy"]["margin"]
    shared = len(picks["entropy"] & free) / min(len(picks["entropy"]), 20)
    assert shared == found.agreement["entropy"]["core_set"]


@pytest.mark.parametrize(
    ("fields", "budget", "sold_out"),
    [
        ({}, 20, True),
        ({"candidates": 500}, 20, True),  # more than there are: all were looked at
        ({"candidates": 40}, 20, False),  # another cycle draws others
    ],
)
def test_whether_guards_leave_nothing(
    tiny: Callable[..., Any],
    tmp_path: Path,
    fields: dict[str, Any],
    budget: float,
    sold_out: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run in clicks would train for nothing up to its last cycle, or end while there is more; it
    would do either without a word."""
    scored = Folder(tmp_path / "score")
    result, store = written(scored, 2), SimpleNamespace(card=SimpleNamespace(classes="xyz"))
    x = tiny(strategy="entropy", guards={"min_distance": 99}, **fields)
    offered = Offer(x, cast(Any, store), LABELED)
    found = choose(x, 2, budget, scored, result, offered, {}, Folder(tmp_path / "select"))

    assert ((), sold_out) == (found.ids, found.sold_out)
    assert {"too near": 80} == found.passed_over
    assert "0 units for 20 samples: all are nearer than 99.0 to a labeled one" in caplog.text
    assert "use looser guards" in caplog.text
