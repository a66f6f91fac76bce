"""Asking again: votes of annotators, bought one by one, for units that have a label or none."""

import shutil
from collections import Counter

import pytest

import rayal
from rayal.experiment import config
from rayal.report.reasons import reasons
from rayal.report.runs import Run
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Labeled
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.workflows.plan import prices
from rayal.workflows.plan.cycles import plan_cycles
from tests.support.recorded import write_votes
from tests.support.whole_runs import short

BUDGET = {"initial": 40, "per_cycle": 30, "total": 100, "unit": "votes"}


@pytest.fixture(scope="module")
def votes(tmp_path_factory, tiny):
    """Three votes of each digit, a third of them wrong."""
    file = tmp_path_factory.mktemp("votes") / "votes.csv"
    write_votes(file, short(tiny).dataset.open(), wrong=0.33)
    return str(file)


@pytest.fixture(scope="module")
def asked(tiny, votes):
    """Builds the experiment."""

    def build(strategy="active_lab", **fields):
        return short(
            tiny,
            **{"budget": BUDGET, "oracle": {"name": "recorded", "file": votes}, **fields},
            strategy=strategy,
        )

    return build


def go(x, folder):
    rayal.run(x, folder)
    return Ledger(Folder(folder), {}).state()


@pytest.fixture(scope="module")
def done(asked, tmp_path_factory):
    """The folder of a finished run, and its pool."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return folder, go(asked(), folder)


def test_some_units_are_asked_for_again(done, asked):
    """A strategy that may ask again never would, or a vote would be lost, doubled or unpaid."""
    folder, pool = done
    ledger = Ledger(Folder(folder), {})
    said, again = ledger.votes(), [ledger.result(cycle, Labeled).again for cycle in (0, 1)]
    counts = Counter(len(votes) for votes in said.values())

    assert 100 == pool.spent == sum(len(votes) for votes in said.values())
    assert any(again) and len(said) == 100 - sum(len(votes) - 1 for votes in said.values())
    assert {1, 2} <= counts.keys() <= {1, 2, 3}
    assert said.keys() == pool.labels.keys() | set(pool.refused)
    store = asked().dataset.open()
    recorded = asked().oracle._recorded(store)
    for unit, votes in said.items():
        assert list(recorded[unit][: len(votes)]) == votes


def test_the_label_that_trains_is_what_all_votes_make(done):
    """The second vote would stand alone, and the first have been bought for nothing."""
    folder, pool = done
    said = Ledger(Folder(folder), {}).votes()
    for unit, label in pool.labels.items():
        values = [vote.value for vote in said[unit]]
        most = max(map(values.count, values))

        assert label == next(value for value in values if values.count(value) == most)


def test_a_first_purchase_stays_the_first(done):
    """A unit would change its cycle in every picture of what was bought when."""
    folder, pool = done
    ledger = Ledger(Folder(folder), {})
    for cycle in (0, 1):
        result = ledger.result(cycle, Labeled)
        for unit in result.again:
            assert pool.bought[unit] < cycle
        new = set(ledger.result(cycle, Chosen).ids) - set(result.again)
        assert all(pool.bought[unit] == cycle for unit in new)


def test_what_was_chosen_has_its_score(done):
    """People would see no reason why they are asked again."""
    folder, _ = done
    out = Ledger(Folder(folder), {}).stage(1, "select")
    scores = [float(s) for s in csv_file.parse(out.read("chosen.csv"))["score"].to_pylist()]

    assert scores == sorted(scores, reverse=True) and -1 <= scores[-1] <= scores[0] <= 0


@pytest.mark.parametrize("gone", ["cycle-000/label", "cycle-001/select", "cycle-001/score"])
def test_a_stage_that_is_gone_is_done_again_the_same(done, asked, tmp_path, gone):
    """A killed run would buy other votes, or the same one twice."""
    folder, expected = done
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / gone)

    assert expected == go(asked(), tmp_path / "run")


def test_a_run_that_was_killed_picks_the_same(done, asked, tmp_path):
    """What was asked for before the kill would decide otherwise than what is asked for after it."""
    folder, expected = done
    shutil.copytree(folder, tmp_path / "run")
    for path in (tmp_path / "run").glob("cycle-00[12]"):
        shutil.rmtree(path)

    assert expected == go(asked(), tmp_path / "run")


def test_another_strategy_buys_new_units_alone(asked, tmp_path):
    """The baseline would buy second votes, or be paid otherwise."""
    pool = go(asked("entropy", observers=["active_lab"]), tmp_path / "run")

    assert 100 == len(pool.labels) == pool.spent


def test_a_pool_that_is_sold_out_is_asked_for_again(asked, tmp_path):
    """A run would end with budget left, though every label could be made surer."""
    x = asked(
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 20},
        budget={"initial": 50, "per_cycle": 60, "total": 400, "unit": "votes"},
    )
    pool = go(x, tmp_path / "run")
    said = Ledger(Folder(tmp_path / "run"), {}).votes()

    assert 180 == pool.spent and 60 == len(pool.labels) + len(pool.refused)
    assert {3} == {len(votes) for votes in said.values()}


def test_a_plan_says_the_most_images_that_there_can_be(asked, votes, tmp_path):
    """A plan would end where the pool does, and with it the budget that people are asked for."""
    x = asked(
        dataset={"name": "digits", "limit_pool": 60, "limit_test": 20},
        budget={"initial": 40, "per_cycle": 30, "total": 120, "unit": "votes"},
    )
    store = x.dataset.open()
    planned = list(plan_cycles(x, store.card, prices(x, store)))

    assert [(40, 30), (60, 30), (60, 20), (60, 0)] == [(c.labels, c.bought) for c in planned]
    three = asked(oracle={"name": "recorded", "file": votes, "votes": 3})
    whole = list(plan_cycles(three, store.card, prices(three, store)))
    assert [(13, 10), (23, 10), (33, 0)] == [(c.labels, c.bought) for c in whole]


def test_reports_count_votes(done):
    """A strategy that asks again would be compared at fewer votes than it has cost."""
    folder, pool = done
    record = Record(Folder(folder))
    read = Run.read(record)

    assert "votes" == read.counted and [40, 70, 100] == list(read.points)
    assert [row["labels"] for row in record.cycles()][-1] == len(pool.labels) < 100
    assert {0, 1, 2} <= {reason.rank - 1 for reason in reasons_of(record).values()}


def reasons_of(record):
    x = config.resolved(record.experiment(), record.plugins)
    found = reasons(record, x, 1)
    assert all(-1 <= reason.score <= 0 for reason in found.values())
    return found


def test_votes_from_python(done):
    """Nobody could look at what annotators have said."""
    folder, pool = done
    run = rayal.open_run(folder)
    votes, labels = run.votes(), run.labels()
    last = labels.groupby("id").last()["label"]

    assert 100 == len(votes) == labels["cost"].sum() and {-1, 0, 1} == {*votes["cycle"]}
    assert {"annotator-0", "annotator-1"} <= {*votes["annotator"]}
    assert pool.labels == {unit: int(last[unit]) for unit in pool.labels}
