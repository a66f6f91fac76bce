"""The cycle: what is bought when, and what must not depend on anything but the seed."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from rayal.cycle import shard_file
from rayal.cycle.answers import check_answers
from rayal.cycle.candidates import candidates
from rayal.cycle.first_units import first_units
from rayal.cycle.loop import run
from rayal.cycle.offer import Offer
from rayal.cycle.steps import Steps
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, UsageError
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.oracles.simulated import Simulated
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.selection.progress import UNDER_WAY
from rayal.storage.folder import Folder
from tests.support.doubles import Silent
from tests.support.whole_runs import go as whole_run
from tests.support.whole_runs import short


class Told(Silent):
    """Writes down what it hears."""

    def __init__(self):
        self.stages, self.passes = [], []

    def stage(self, cycle, stage):
        self.stages.append((cycle, stage))

    def further(self, done, total):
        self.passes.append((done, total))

    def ended(self, cycle, result):
        assert self.stages[-1] == (cycle, result.stage)


def go(x, folder):
    """Runs to the end: the pool, every cycle's picks, the last weights, and what was told."""
    told = Told()
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), told)
        picks = [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]
        return pool, picks, ledger.stage(pool.cycle, "train").read("weights.safetensors"), told


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """What `go` says of a short run, and its folder."""
    folder = tmp_path_factory.mktemp("plain")
    return (*go(short(tiny), folder), folder)


def test_buys_the_budget_cycle_by_cycle(tiny, tmp_path):
    """Labels would be bought too early, twice or not at all; the last cycle takes what is left."""
    x = short(tiny, budget={"initial": 20, "per_cycle": 25, "total": 60})
    pool, picks, _, told = go(x, tmp_path)
    bought = list(pool.bought.values())

    assert [bought.count(cycle) for cycle in (-1, 0, 1)] == [20, 25, 15]
    assert (pool.cycle, pool.spent, len(pool.labels)) == (2, 60, 60)
    assert [tuple(pool.labels)[20:45], tuple(pool.labels)[45:]] == picks
    assert told.stages == [
        (0, "initial"),
        *(
            (cycle, s)
            for cycle in (0, 1)
            for s in ("train", "evaluate", "score", "select", "label")
        ),
        (2, "train"),
        (2, "evaluate"),
    ]
    assert told.passes == [(done, 2) for done in (0, 1, 2)] * 2


def test_picks_that_a_stage_kept_go_when_it_is_recorded(tiny, tmp_path, monkeypatch):
    """Every cycle would leave a file, and one that was killed in between for ever."""
    x, asked = short(tiny), []
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        steps = Steps(x, x.dataset.open(), ledger, LocalEngine(x.compute), Told())
        steps.begin(lambda: first_units(x, steps.store))
        pool, folder = ledger.state(0), ledger.stage(0, "select")
        steps.learn(pool)
        chosen = steps.choose(pool, 20)
        folder.write(f"core_set{UNDER_WAY}", b"{}")

        def label(ids, out, earlier, known):
            asked.append(folder.names())
            raise KeyboardInterrupt

        monkeypatch.setattr(steps, "label", label)
        with pytest.raises(KeyboardInterrupt):
            steps.buy(pool, chosen)

    assert [["chosen.csv", "done.json", "started.json"]] == asked


def test_labels_are_the_true_ones(tiny, plain):
    """A model would train on other units' labels, and only lose some accuracy by it."""
    pool, *_ = plain
    truth = short(tiny).dataset.open().labels("pool")

    assert {unit: truth[unit] for unit in pool.labels} == pool.labels


def test_a_run_repeats_itself(tiny, plain, tmp_path):
    """The same seed would give another result."""
    assert plain[1:3] == go(short(tiny), tmp_path)[1:3]


def test_strategies_of_one_seed_share_the_first_cycle(tiny, plain, tmp_path):
    """Paired comparisons would compare different initial sets and initial weights."""
    cod, *_, folder = plain
    random, _, _, _ = go(short(tiny, strategy="random"), tmp_path / "random")
    other, _, _, _ = go(short(tiny, seed=1), tmp_path / "other")
    first = [frozenset(list(pool.labels)[:20]) for pool in (cod, random, other)]
    trained = [
        (run / "cycle-000/train/weights.safetensors").read_bytes()
        for run in (folder, tmp_path / "random", tmp_path / "other")
    ]

    assert first[0] == first[1] != first[2]
    assert trained[0] == trained[1] != trained[2]


def balanced(tiny, initial, seed=0):
    """The first units of digits and how many there are of each class."""
    budget = {"initial": initial, "per_cycle": 20, "total": 500, "balanced": True}
    x = tiny(budget=budget, seed=seed)
    store = x.dataset.open()
    units, classes = first_units(x, store), store.labels("pool")
    return units, np.bincount([classes[unit] for unit in units], minlength=10)


@pytest.mark.parametrize("initial", [1, 20, 27, 103])
def test_a_balanced_start_has_equally_many_of_every_class(tiny, initial):
    """A low-budget protocol would start from another set than the paper's."""
    units, counts = balanced(tiny, initial)

    assert len(set(units)) == len(units) == counts.sum() == initial
    assert counts.max() - counts.min() <= 1


def test_a_balanced_start_is_of_the_seed(tiny):
    """Strategies of one seed would start apart, or all seeds alike; more labels keep the first."""
    units, _ = balanced(tiny, 30)

    assert units == balanced(tiny, 30)[0] == balanced(tiny, 45)[0][:30]
    assert set(units) != set(balanced(tiny, 30, seed=1)[0])
    assert units[:10] != sorted(units[:10])


def test_a_balanced_start_goes_on_without_an_exhausted_class(tiny, monkeypatch):
    """A rare class would end the start early, or be drawn twice."""
    store = short(tiny).dataset.open()
    ids = store.pool.ids()
    classes = dict.fromkeys(ids, 0) | dict.fromkeys(ids[:3], 1) | dict.fromkeys(ids[3:9], 2)
    monkeypatch.setattr(Simulated, "known_classes", lambda *_: classes)
    budget = {"initial": 20, "per_cycle": 20, "total": 60, "balanced": True}
    units = first_units(short(tiny, budget=budget), store)

    assert 20 == len(set(units)) and set(ids[:9]) < set(units)
    assert [3, 3, 3] == np.bincount([classes[unit] for unit in units[:9]]).tolist()


def test_only_an_oracle_that_knows_classes_can_balance(tiny):
    """People would be asked for the class of every image before the first is chosen."""

    class People(Oracle):
        def answer(self, store, ids, out):
            raise AssertionError("asked")

    budget = {"initial": 20, "per_cycle": 20, "total": 60}
    with pytest.raises(ValidationError, match="set it to false, or oracle to simulated"):
        short(tiny, oracle=People(), budget={**budget, "balanced": True})
    x = short(tiny, oracle=People(), budget=budget)

    assert 20 == len(first_units(x, x.dataset.open()))


def test_candidates_are_new_in_every_cycle(tiny):
    """Every cycle would score the same subset, or the subset would hold labeled units."""
    x = tiny(candidates=100)
    store = x.dataset.open()
    labeled = {unit: 0 for unit in first_units(x, store)}

    known = {*labeled, "test"}
    first, again, second = (candidates(x, store, known, cycle) for cycle in (0, 0, 1))

    assert first == again and len(set(first)) == len(set(second)) == 100
    assert not labeled.keys() & set(first) and set(first) != set(second)


def test_observers_are_recorded_and_change_nothing(tiny, plain, tmp_path):
    """Watching another strategy would change the run that is watched."""
    _, picks, weights, *_ = plain
    _, observed, same, _ = go(
        short(tiny, observers=["entropy", "random", "cod"]), tmp_path / "observed"
    )
    with Ledger(
        Folder(tmp_path / "observed"),
        short(tiny, observers=["entropy", "random", "cod"]).identity(),
    ) as ledger:
        agreement = ledger.result(1, Chosen).agreement["cod"]

    assert picks == observed and weights == same
    assert agreement["cod#2"] == 1.0 and 0 <= agreement["random"] < agreement["cod#2"]


def test_kept_predictions_choose_what_a_second_forward_chooses(tiny, plain, tmp_path):
    """Reading the last pass instead of running the previous model would change COD's choice."""
    _, kept, *_ = plain
    everything = short(tiny, candidates=10_000)  # a subset that happens to be all: nothing is kept
    _, forwarded, _, _ = go(everything, tmp_path / "forwarded")

    assert [set(ids) for ids in kept] == [set(ids) for ids in forwarded]


def test_an_exhausted_pool_ends_the_run(tiny, tmp_path):
    """A budget that the pool cannot fill would run for ever."""
    x = short(
        tiny,
        dataset={"name": "digits", "limit_pool": 50, "limit_test": 50},
        budget={"initial": 20, "per_cycle": 20, "total": 500},
    )
    pool, picks, _, _ = go(x, tmp_path)

    assert len(pool.labels) == 50
    assert [len(ids) for ids in picks] == [20, 10]


def test_a_run_whose_guards_let_nothing_through_ends_and_stays_ended(tiny, tmp_path, caplog):
    """It would train again and again on the same labels, or end without a word; given again it must
    not begin anew."""
    x, told = short(tiny, strategy="margin", guards={"min_distance": 1e4}), Told()
    pool = whole_run(x, tmp_path)

    assert (0, 20) == (pool.cycle, len(pool.labels))
    assert 1 == caplog.text.count("0 units for 20 samples: all are nearer than 10000.0")
    assert "looser guards, and another --out" in caplog.text
    assert pool == whole_run(x, tmp_path, told) and [] == told.stages
    looser = short(tiny, strategy="margin", guards={"min_distance": 0})
    assert 60 == len(whole_run(looser, tmp_path / "other").labels)


def test_a_cycle_that_buys_less_is_followed_by_another(tiny, tmp_path, caplog):
    """One cycle that guards cut short would end a run, or its rest be bought against them: 10
    classes with one of each in a cycle are 10 of 20."""
    x = short(
        tiny,
        strategy="margin",
        guards={"per_class": 1},
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    pool, picks, _, _ = go(x, tmp_path)

    assert 40 == len(pool.labels) and all(1 <= len(ids) <= 10 for ids in picks)
    assert "units for 20 samples: the others are of a class that has its 1" in caplog.text


def test_a_run_without_guards_is_as_before_them(tiny, tmp_path):
    """What later stages follow from, and an older rayal reads, would be other bytes."""
    go(short(tiny, observers=["margin"]), tmp_path)
    select = tmp_path / "cycle-000/select"
    result = json.loads((select / "done.json").read_text())["result"]

    assert ["ids", "cost", "sold_out", "agreement", "table"] == [*result]
    assert b"rank,id,score" == (select / "chosen.csv").read_bytes().splitlines()[0]
    assert ["chosen.csv", "done.json", "started.json"] == sorted(p.name for p in select.iterdir())
    shard = shard_file.read_shard(Folder(tmp_path / "cycle-000/score"), "shard-00000.parquet")
    assert ["id", "status", "score.cod", "score.margin", "probs"] == shard.column_names


@pytest.fixture
def crooked(monkeypatch):
    """A strategy whose select returns what the test says."""
    from rayal.strategies.entropy import Entropy

    def select(picks: Any) -> None:
        monkeypatch.setattr(Entropy, "select", lambda _, pool, *__: picks(pool.ids))

    return select


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        (lambda ids: [ids[0], ids[0]], "selected a unit twice"),
        (lambda ids: [ids[0], "absent"], "selected 'absent', which is not on offer"),
        (lambda ids: [f"{ids[0]}/0"], "selected 'digit-.*/0', which is not on offer"),
        (lambda ids: np.arange(3), "select returns units, of images their ids"),
        (lambda ids: ids[:21], "spent 21 of 20"),
        (lambda ids: ids[:3], "selected 3 units, the budget buys 20 or more"),
        (lambda ids: [], "selected 0 units"),
        (lambda ids: [ids[:2], ids[2]], "selected Ids.*: select returns units"),
        (lambda ids: ids[100_000], "raised IndexError in select"),
        (lambda ids: None, "raised TypeError in select"),
    ],
)
def test_a_wrong_selection_is_refused(tiny, tmp_path, crooked, picks, message):
    """A user's own strategy would spend the budget on duplicates or more than there is; selecting
    nothing would pass for the end of the pool (G05)."""
    crooked(picks)

    with pytest.raises(DataError, match=f"'entropy' .*{message}"):
        go(short(tiny, strategy="entropy"), tmp_path)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (
            lambda s: s.log_probs.sum(1)[:3],
            r"scores of shape \(3,\) for 256 units: score returns one number",
        ),
        (lambda s: s.log_probs, "has one value per image, got shape"),
        (lambda s: s.log_probs.sum(1) * 1j, "gave torch.complex64 as scores"),
        (lambda s: "best", "gave str as scores"),
        (lambda s: None, "gave NoneType as scores"),
        (
            lambda s: s.log_probs.sum(1) / 0,
            "'digit-.* the score -inf, and all that it read of the model is finite",
        ),
        (lambda s: 1 // 0, "raised ZeroDivisionError"),
        (lambda s: s.lgits, "raised AttributeError: .*'lgits'"),
    ],
)
def test_wrong_scores_are_refused(tiny, tmp_path, monkeypatch, score, message):
    """A user's own strategy would end the run in a traceback, or choose by nonsense (G05, G06)."""
    from rayal.strategies.entropy import Entropy

    monkeypatch.setattr(Entropy, "score", lambda self, s: score(s))
    with pytest.raises(DataError, match=message) as refused:
        go(short(tiny, strategy="entropy"), tmp_path)

    assert "entropy" in str(refused.value)
    assert not (tmp_path / "cycle-000/score/done.json").exists()


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (None, r"answered with NoneType; answer\(\) returns a dictionary"),
        ([("a", Label(0, 1))], "answered with list"),
        ({"a": Label(0, 1)}, "answered for 1 unit, 2 were asked; 'b' is among 1"),
        ({"a": 0, "b": 1}, r"answered 'a' with 0; an answer is a Label\(value, cost\)"),
        ({"a": Label(0, 1), "b": Label(0, float("nan"))}, "asks nan for 'b'; .* finite"),
        ({"a": Label(0, 1), "b": Label(0, -1)}, "asks -1 for 'b'"),
        ({"a": Label(0, 1), "b": Label(0, None)}, "asks None for 'b'"),
    ],
)
def test_an_answer_that_is_none_is_refused(answers, told):
    """A user's own oracle would end in a traceback, or spend what is no number."""
    with pytest.raises(DataError, match=f"the oracle {told}"):
        check_answers(answers, ["a", "b"])
    check_answers({"a": Label(0, 1), "b": Label(None, 0)}, ["a", "b"])


def test_an_answer_for_a_unit_that_has_its_label(tiny, tmp_path, monkeypatch):
    """The stage would be written, and the run be stuck: its ledger cannot be read any more."""
    known = {"a": Label(0, 1), "old": Label(0, 1)}
    check_answers(known, None, {"older"})
    with pytest.raises(DataError, match="answered for 'old', which was bought before and not ask"):
        check_answers(known, None, {"old"})

    first = short(tiny).dataset.open().pool.ids()
    answer = Simulated.answer

    def more(self, store, ids, out):
        return answer(self, store, first if out.url.endswith("cycle-000/label") else ids, out)

    monkeypatch.setattr(Simulated, "asks_people", True)
    monkeypatch.setattr(Simulated, "answer", more)
    with pytest.raises(DataError, match="which was bought before and not asked for again"):
        go(short(tiny, strategy="random"), tmp_path)
    assert not (tmp_path / "cycle-000/label/done.json").exists()


def test_costs_and_classes_of_an_own_oracle_are_checked(tiny, monkeypatch):
    """One cost for all, or a class that is missing, would end in a traceback of numpy's."""
    store = short(tiny).dataset.open()
    offer = Offer(short(tiny), store, ())
    offer.one_price = False
    for costs in (3, [1.0], [1.0, -1.0], ["a", "b"], [1.0, float("nan")]):
        monkeypatch.setattr(Simulated, "costs", lambda *_, costs=costs: costs)
        with pytest.raises(DataError, match="oracle 'simulated' gave costs .* for 2 units"):
            offer.costs(["a", "b"])
    monkeypatch.setattr(Simulated, "costs", lambda *_: [0, 1.0])
    assert [0, 1] == offer.costs(["a", "b"]).tolist()
    monkeypatch.setattr(Simulated, "known_classes", lambda *_: {})
    x = short(tiny, budget={"initial": 20, "per_cycle": 20, "total": 60, "balanced": True})
    with pytest.raises(DataError, match="oracle 'simulated' knows no class of 'digit-"):
        first_units(x, store)
    monkeypatch.setattr(Simulated, "known_classes", lambda *_: dict.fromkeys(store.pool.ids(), 0))
    assert 20 == len(first_units(x, store))


def test_a_budget_that_buys_no_first_image(tiny, monkeypatch):
    """The first training would have no image, and say so in words of batches."""
    x = short(tiny)
    monkeypatch.setattr(Offer, "costs", lambda self, units: np.full(len(units), 21.0))
    with pytest.raises(UsageError, match="20 samples do not buy .*; set it higher, and use anoth"):
        first_units(x, x.dataset.open())
    higher = short(tiny, budget={"initial": 30, "per_cycle": 20, "total": 60})
    assert 1 == len(first_units(higher, x.dataset.open()))
