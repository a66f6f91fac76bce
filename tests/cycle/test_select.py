"""The select stage of a run: what is streamed or lies in files is chosen as from memory."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from rayal.cycle import shard_file
from rayal.cycle.offer import Offer
from rayal.cycle.select import agreement, choose
from rayal.errors import DataError
from rayal.parts import build
from rayal.randomness import numpy_generator
from rayal.runs.results import Scored
from rayal.selection.candidates import Candidates
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.workflows.select import select
from rayal.workflows.select.request import Request

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
