"""The random share of purchases: uniform, by its own stream, before the strategy, and judged by the
model that had not seen it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import rayal
from rayal.cycle.explore import Draw, draw, with_draw
from rayal.cycle.shard_file import matrix, shards
from rayal.experiment.experiment import Experiment
from rayal.randomness import derive, unit_keys
from rayal.report.reasons import Reason, reasons
from rayal.runs.results import Chosen, Evaluated, Labeled, Scored
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from tests.cycle.test_guarded import Pool
from tests.support import scenes
from tests.support.finished_sweep import finish
from tests.support.people import answer, requests, run_with, truthful
from tests.support.whole_runs import chosen, go, outcome, passed, result, short, sixty, stopped_at

UNITS, SHARDS = 40, 3


@pytest.fixture(scope="module")
def x(tiny: Callable[..., Experiment]) -> Experiment:
    return short(tiny, strategy="entropy", explore=0.1)


def with_seed(x: Experiment, seed: int) -> Experiment:
    return x.model_copy(update={"seed": seed})


def test_the_first_in_a_seeded_order_whatever_the_shards(x: Experiment, tmp_path: Path) -> None:
    """As a sort in memory of all that is not labeled; others on another machine would be no draw
    that anybody can repeat."""
    pool = Pool.drawn(UNITS, seed=1)
    free = sorted({*pool.ids} - {*pool.labeled})
    secret = derive(x.seed, 2, "explore")
    keys = dict(zip(free, unit_keys(free, secret).tolist(), strict=True))
    expected = sorted(free, key=keys.__getitem__)[:5]
    scores = dict(zip(pool.ids, pool.scores.tolist(), strict=True))

    for number in (1, SHARDS, 7):
        folder, of = pool.written(tmp_path / str(number), number, seed=number)
        found = draw(x, 2, 50, folder, of, pool.labeled)

        assert expected == [*found.ids] and len(free) == found.drawn_from
        assert [scores[unit] for unit in expected] == [*found.scores]


def test_each_candidate_is_drawn_as_often(x: Experiment, tmp_path: Path) -> None:
    """The weight of each is one over its probability: where that is not m/M, or pairs come together
    more often than chance has it, estimates are biased or their intervals too short."""
    pool = replace(Pool.drawn(20, seed=0), labeled=[])
    folder, of = pool.written(tmp_path, 1)
    draws, size = 1000, 5
    counts = np.zeros((20, 20))
    for seed in range(draws):
        at = [pool.ids.index(unit) for unit in draw(with_seed(x, seed), 0, 50, folder, of, ()).ids]
        counts[np.ix_(at, at)] += 1
    single, pairs = np.diag(counts), counts[np.triu_indices(20, 1)]

    assert draws * size == single.sum()
    once, twice = size / 20, size * (size - 1) / (20 * 19)
    assert abs(single / draws - once).max() < 5 * np.sqrt(once * (1 - once) / draws)
    assert abs(pairs / draws - twice).max() < 5 * np.sqrt(twice * (1 - twice) / draws)


def test_another_draw_in_each_cycle_and_for_each_seed(x: Experiment, tmp_path: Path) -> None:
    """One order for all would draw what earlier cycles drew, or the same in all seeds."""
    pool = replace(Pool.drawn(UNITS, seed=0), labeled=[])
    folder, of = pool.written(tmp_path, 1)
    drawn = [
        draw(with_seed(x, seed), cycle, 50, folder, of, ()).ids
        for seed, cycle in ((0, 0), (0, 1), (1, 0))
    ]

    assert 3 == len({tuple(each) for each in drawn})


def test_of_few_candidates_all_are_drawn_and_of_none_none(x: Experiment, tmp_path: Path) -> None:
    """The end of a pool would be an error."""
    pool = Pool.drawn(3, seed=0)
    folder, of = pool.written(tmp_path, 1)

    assert {*pool.ids} == {*draw(x, 0, 100, folder, of, ()).ids}
    assert 0 == len(draw(x, 0, 100, folder, of, pool.ids).ids)


def test_marks_and_places_by_hand(x: Experiment, tmp_path: Path) -> None:
    """What the strategy chose keeps its order and its columns; whoever labels cannot tell from its
    place what was drawn."""
    out, total = Folder(tmp_path), 10
    rows = [(n + 1, f"unit-{n}", -n / 4, f"{n}") for n in range(8)]
    table = csv_file.dump(["rank", "id", "score", "predicted"], rows)
    theirs = Chosen(
        ids=tuple(unit for _, unit, *_ in rows),
        cost=8,
        table=out.write("chosen.csv", table.encode()),
    )
    drawn = Draw(["=a", "b"], [-3.5, None], 40)
    places = set()
    for seed in range(40):
        out.write("chosen.csv", table.encode())
        found = with_draw(with_seed(x, seed), 0, theirs, drawn, out)
        written = csv_file.parse(out.read("chosen.csv", found.table)).to_pylist()
        by_id = {row["id"]: row for row in written}

        assert theirs.ids == tuple(unit for unit in found.ids if unit.startswith("unit"))
        assert (("=a", "b"), 40, 0.05) == (found.explored, found.drawn_from, found.propensity)
        assert [*found.ids] == [*by_id] and 10.0 == found.cost
        assert [str(n + 1) for n in range(total)] == [row["rank"] for row in written]
        marks = {"explored": "1", "propensity": "0.05", "predicted": ""}
        assert {"score": "-3.5", **marks}.items() <= by_id["=a"].items()
        assert {"score": "", **marks}.items() <= by_id["b"].items()
        marks = {"explored": "0", "propensity": "", "predicted": "1"}
        assert {"score": "-0.25", **marks}.items() <= by_id["unit-1"].items()
        places |= {int(by_id[unit]["rank"]) - 1 for unit in drawn.ids}

    assert {*range(total)} == places


def test_nothing_is_drawn_without_it(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Runs that do not ask for it choose, and write, as before."""
    out = tmp_path / "run"
    go(short(tiny, strategy="entropy"), out)
    picked = (out / "cycle-000/select/chosen.csv").read_text().splitlines()

    assert "rank,id,score" == picked[0]
    assert "explored" not in (out / "cycle-000/select/done.json").read_text()
    assert "explored" not in (out / "cycle-001/evaluate/done.json").read_text()


def naive(run: rayal.Run, cycle: int) -> tuple[list[str], list[str]]:
    """What a cycle that ranks is to draw, and to choose, from its scores and the labels before."""
    labels = run.labels()
    known = {*labels["id"][labels["cycle"] < cycle]}
    scores = run.scores(cycle)
    free = sorted({*scores.index} - known)
    keys = unit_keys(free, derive(run.experiment.seed, cycle, "explore"))
    drawn = [free[at] for at in np.argsort(keys)[:2]]
    rest = scores.loc[[unit for unit in free if unit not in drawn]].iloc[:, 0]
    return drawn, [*rest.sort_values(ascending=False, kind="stable").index[:18]]


def test_the_strategy_chooses_among_what_is_left(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """2 of 20 at random, and the 18 highest scores of the others, in their order."""
    run = rayal.run(short(tiny, strategy="entropy", explore=0.1), tmp_path / "run")
    choices = run.choices()
    for cycle in (0, 1):
        drawn, ranked = naive(run, cycle)
        of_cycle = choices[choices["cycle"] == cycle]

        assert {*drawn} == {*of_cycle["id"][of_cycle["explored"]]}
        assert ranked == [*of_cycle["id"][~of_cycle["explored"]]]
        size = 300 - 20 * (cycle + 1)
        assert np.allclose(of_cycle["propensity"][of_cycle["explored"]], 2 / size)
        assert of_cycle["propensity"][~of_cycle["explored"]].isna().all()
    assert [20, 40, 60] == [*run.curve()["labels"]]


def test_the_same_whatever_shards_and_ends(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Whoever is killed, and continues, must buy what was drawn, and not draw anew."""
    x = short(tiny, strategy="margin", explore=0.2)
    in_one = short(
        tiny, strategy="margin", explore=0.2, compute={**dict(x.compute), "shard_rows": 512}
    )
    go(x, tmp_path / "a")
    go(in_one, tmp_path / "b")
    for cycle, stage in ((0, "label"), (1, "evaluate"), (1, "select")):
        stopped_at(x, tmp_path / "c", cycle, stage)
    go(x, tmp_path / "c")

    assert [2, 1] == [len(passed(tmp_path / name, 0).shards) for name in ("a", "b")]
    assert chosen(tmp_path / "a") == chosen(tmp_path / "b")
    assert outcome(tmp_path / "a") == outcome(tmp_path / "c")


def test_each_model_is_judged_by_what_it_had_not_learned(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """By the weights of the cycle that chose: those of the next one have seen the answers."""
    run = rayal.run(short(tiny, strategy="margin", explore=0.5), tmp_path / "run")
    store = run.experiment.dataset.open()
    truth = store.labels("pool")
    for cycle in (0, 1):
        picks = run.record.result(cycle, Chosen)
        after = run.record.result(cycle + 1, Evaluated)
        assert picks is not None and after is not None
        decoded = store.pool.decode(store.pool.take(picks.explored))
        images = normalise(torch.from_numpy(decoded.images), store.card.image)
        said = run.model(cycle)(images).logits.argmax(dim=1).tolist()
        right = [truth[unit] == each for unit, each in zip(decoded.ids, said, strict=True)]

        assert np.mean(right) == pytest.approx(after.metrics["explored_accuracy"])
        assert 10 == after.explored
    first = run.record.result(0, Evaluated)
    assert first is not None and (None, 0) == (first.metrics["explored_accuracy"], first.explored)


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_weights_stay_until_what_was_drawn_is_judged(
    tiny: Callable[..., Experiment], tmp_path: Path, start: str
) -> None:
    """With `keep.weights: last` the model that is to be judged would be gone."""
    options = {"strategy": "margin", "explore": 0.2, "start": start}
    go(sixty(tiny, 64, **options), tmp_path / "all")
    kept = sixty(tiny, 64, **options, keep={"weights": "last", "shards": "last"})
    stopped_at(kept, tmp_path / "last", 1, "evaluate")
    go(kept, tmp_path / "last")
    curves = [rayal.open_run(tmp_path / name).curve() for name in ("all", "last")]

    assert [*curves[0]["explored_accuracy"][1:]] == [*curves[1]["explored_accuracy"][1:]]
    assert [*curves[0]["accuracy"]] == [*curves[1]["accuracy"]]


def test_guards_keep_the_strategy_apart_from_what_was_drawn(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A near-duplicate of a unit that is bought anyway would be paid for; the draw itself knows no
    guard, or it would be of other units than the rest."""
    options = {"strategy": "margin", "explore": 0.3}
    free = rayal.run(short(tiny, **options, guards={"min_distance": 0}), tmp_path / "free")
    apart = pd.read_csv(tmp_path / "free/cycle-000/select/chosen.csv")
    limit = float(apart["to_labeled"].median())
    guarded = rayal.run(
        short(tiny, **options, guards={"min_distance": limit}), tmp_path / "guarded"
    )
    table = pd.read_csv(tmp_path / "guarded/cycle-000/select/chosen.csv")
    mine = table[table["explored"] == 0]
    first, second = free.choices(), guarded.choices()
    drawn = {*first["id"][first["explored"] & (first["cycle"] == 0)]}

    assert drawn == {*second["id"][second["explored"] & (second["cycle"] == 0)]}
    assert len(mine) and (mine["to_labeled"] >= limit).all()
    assert {*mine["nearest_labeled"]} & drawn
    features = features_of(guarded)
    for row in mine.itertuples():
        far = [np.linalg.norm(features[row.id] - features[unit]) for unit in drawn]
        assert min(far) >= limit - 1e-9
    assert "drawn at random, 1 of 6 among 280" in {r.text for r in reasons_of(guarded).values()}


def reasons_of(run: rayal.Run) -> dict[str, Reason]:
    return reasons(run.record, run.experiment, 0)


def test_core_set_covers_what_was_drawn(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """It would buy the neighbours of what is bought anyway: units that were drawn are its centres,
    as labeled ones are."""
    x = short(tiny, strategy="core_set", explore=0.2)
    go(x, tmp_path / "run")
    run = rayal.open_run(tmp_path / "run")
    choices = run.choices()
    first = choices[choices["cycle"] == 0]
    drawn = [*first["id"][first["explored"]]]
    labels = run.labels()
    centres = [*labels["id"][labels["cycle"] < 0], *drawn]
    features = features_of(run)

    assert [*first["id"][~first["explored"]]] == farthest_first(features, centres, 16)


def features_of(run: rayal.Run) -> dict[str, Any]:
    """Unit -> what the first pass kept of it."""
    folder, of = Folder(f"{run.url}/cycle-000/score"), run.record.result(0, Scored)
    assert of is not None
    rows = pa.concat_tables(shards(folder, of, ["id", "keep.features"]))
    values = matrix(rows["keep.features"]).astype(np.float64)
    return dict(zip(rows["id"].to_pylist(), values, strict=True))


def farthest_first(features: dict[str, Any], centres: list[str], count: int) -> list[str]:
    """Plain greedy k-centre, all distances anew at every step."""
    centres, picked = [*centres], list[str]()
    for _ in range(count):
        known = np.stack([features[unit] for unit in centres])
        rest = sorted({*features} - {*centres})
        far = {unit: ((known - features[unit]) ** 2).sum(axis=1).min() for unit in rest}
        picked.append(max(far, key=far.__getitem__))
        centres.append(picked[-1])
    return picked


def test_people_see_no_difference(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """An annotator who knows what was drawn at random may look at it otherwise, and the estimate
    would be of that."""
    x = short(tiny, strategy="margin", explore=0.3, oracle="people")
    go(short(tiny, strategy="margin", explore=0.3), tmp_path / "simulated")
    out = tmp_path / "people"
    run_with(x, out, lambda: answer(out, truthful(x)))
    run = rayal.open_run(out)
    drawn = {*run.choices()["id"][run.choices()["explored"]]}
    said = {bytes(path.read_bytes()) for folder in requests(out) for path in folder.rglob("*.csv")}
    suggested = pd.read_parquet(out / "cycle-000/label-asked/suggested.parquet")

    assert chosen(out) == chosen(tmp_path / "simulated") and 12 == len(drawn)
    assert not any(b"propensity" in each or b"explored" in each for each in said)
    assert suggested["score"].isna().all()
    assert {"chosen by margin, or at random"} == {*suggested["reason"]}
    simulated = rayal.open_run(tmp_path / "simulated").curve()
    assert [*simulated["explored_accuracy"][1:]] == [*run.curve()["explored_accuracy"][1:]]


def test_units_that_nobody_can_label_are_left_out(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """They would count as wrong; where all of a draw are, there is no estimate, and no error."""
    x, out = short(tiny, strategy="margin", explore=0.1, oracle="people"), tmp_path / "run"
    truth = truthful(x)

    def says(unit: str) -> str:
        done = out / "cycle-000/select/done.json"
        told = json.loads(done.read_text())["result"]["explored"] if done.exists() else ()
        return "SKIP" if unit in told else str(truth(unit))

    run_with(x, out, lambda: answer(out, says))
    estimates = rayal.open_run(out).explored()

    assert [0, 2] == [(result(out, n, Evaluated) or pytest.fail()).explored for n in (1, 2)]
    assert [1] == [*estimates["cycle"]] and [2] == [*estimates["units"]]
    assert 2 == (result(out, 0, Labeled) or pytest.fail()).refused


def test_whoever_asks_gets_both(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Of a single unit there is no share: with `ask(1)` a strategy would never choose."""
    x = short(tiny, strategy="margin", explore=0.1)
    truth = x.dataset.open().labels("pool")
    with rayal.ActiveLearner(x, tmp_path / "asked") as learner:
        for n in (20, 15, 1, 20):
            learner.tell({unit: truth[unit] for unit in learner.ask(n)})
        learner.learn()
        drawn = learner.run.choices().groupby("cycle")["explored"].sum()
        units = learner.run.explored()["units"]

    assert [2, 0, 2] == [*drawn]
    assert [2, 2] == [*units]


def test_plans_and_warnings_say_it(tiny: Callable[..., Experiment]) -> None:
    """Nobody would know what is spent on it; with random it is spent on nothing."""
    plan = rayal.plan(short(tiny, strategy="margin", explore=0.1), probe=False)
    random = rayal.plan(short(tiny, strategy="random", explore=0.1), probe=False)
    without = rayal.plan(short(tiny, strategy="random"), probe=False)
    told = "explore: 0.1, and strategy 'random' draws all units at random anyway"

    assert [30, 32, 32] == [cycle.evaluated for cycle in plan.cycles]
    assert "explore 2 of 20 units of a cycle drawn at random, 4 in all" in str(plan)
    assert any(told in warning for warning in random.warnings)
    assert "explore" not in str(without) and not any(told in each for each in without.warnings)


def test_a_sweep_may_search_it(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """What a random share costs the curve is a question of a sweep: two arms from one first model,
    beside one control for each."""
    fields = short(
        tiny,
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 20},
        budget={"initial": 20, "per_cycle": 10, "total": 30},
        strategy="margin",
    ).model_dump(mode="json")
    space = {"strategy": {"grid_search": ["margin"]}, "explore": {"grid_search": [0, 0.2]}}
    x = rayal.SweptExperiment.model_validate({**fields, "sweep": {"seeds": [0], "space": space}})
    finish(x, tmp_path / "sweep")
    found = rayal.open_sweep(tmp_path / "sweep").table()
    runs = [rayal.open_run(path.parent) for path in (tmp_path / "sweep").rglob("run.json")]
    drawn = {
        (run.experiment.strategy.part_name(), run.experiment.explore): len(run.explored())
        for run in runs
    }

    assert {("margin", 0.0): 0, ("margin", 0.2): 1, ("random", 0.0): 0, ("random", 0.2): 1} == drawn
    assert 4 == len(found)


def test_masks_have_an_estimate_and_no_interval(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The mean of a ratio is no share of units, whose interval would be made up."""
    x = short(
        tiny,
        dataset={"name": "camvid", "root": str(scenes.write(tmp_path / "data", pool=12, test=4))},
        task="segmentation",
        model={"name": "small_segmenter", "width": 4},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 4, "lr": 0.05},
        strategy="entropy",
        budget={"initial": 4, "per_cycle": 4, "total": 8},
        explore=0.5,
    )
    run = rayal.run(x, tmp_path / "run")
    (row,) = run.explored().to_dict("records")

    assert row["value"] == run.curve()["explored_miou"][1] and (2, 8) == (
        row["units"],
        row["drawn_from"],
    )
    assert pd.isna(row["low"]) and pd.isna(row["high"])
    assert "–" in str(rayal.compare(run.url))
