"""ActiveLab by hand, against a loop, and against cleanlab where that is installed."""

import numpy as np
import pytest

from rayal.errors import UsageError
from rayal.labeling.agreement import Agreement
from rayal.labeling.oracles.simulated import Simulated
from rayal.labeling.trust import Trust, scaled, temperature
from rayal.labeling.votes import Vote
from rayal.selection.candidates import Candidates
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.strategies.active_lab import ActiveLab
from rayal.workflows.warnings import warnings
from tests.labeling.test_trust import said_of, world
from tests.support.recorded import write_votes

UNITS, NEW = 40, 30


def pool_of(table, probs, closed=()):
    """Candidates of which the first have the votes of a table; those in `closed` are labeled ones
    that cannot be asked for again."""
    ids = np.array([f"unit-{row:03d}" for row in range(len(probs))])
    votes = {
        str(ids[row]): [Vote(str(ids[row]), int(c), f"{j}") for j, c in enumerate(said) if c >= 0]
        for row, said in enumerate(table)
    }
    seen = np.isin(np.arange(len(ids)), [*closed])
    return Candidates(
        Ids(ids[~seen].tolist()),
        None,
        kept={"probs": probs[~seen]},
        labeled_ids=Ids(ids[seen].tolist()),
        labeled={"probs": probs[seen]},
        votes=votes,
    )


def whole_world(seed):
    table, labeled = world(seed, UNITS)
    _, new = world(seed + 100, NEW)
    return table, np.concatenate([labeled, new])


def test_where_nobody_was_asked_twice_by_hand():
    """A sure label would be asked for before an unsure one, or a labeled unit before a new one that
    is as unsure."""
    probs = np.array([[0.8, 0.2], [0.1, 0.9], [0.5, 0.5], [0.7, 0.3]])
    scores = ActiveLab().weighed(pool_of([[0], [0]], probs))

    # labeled: (2 p + 1/2) / 3; new: (max p + 1/2) / 2
    np.testing.assert_allclose([-2.1 / 3, -0.7 / 3, -0.5, -0.6], scores)
    chosen = ActiveLab().select(pool_of([[0], [0]], probs), 3, np.random.default_rng(0))
    assert ["unit-001", "unit-002", "unit-003"] == list(chosen)


def test_without_votes_it_is_least_confidence():
    """The first pass of a pool that nobody has labeled would have no order."""
    _, probs = world(3)
    scores = ActiveLab().weighed(pool_of([], probs))

    np.testing.assert_array_equal(np.argsort(-scores), np.argsort(probs.max(axis=1)))


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_loop(seed):
    """A labeled unit would be weighed with another one's votes."""
    table, probs = whole_world(seed)
    said = said_of(table)
    heat = temperature(said.counts(UNITS, 4), probs[:UNITS])
    p = scaled(probs, heat)
    trust = Trust.of(said, p[:UNITS])
    order = list(dict.fromkeys(j for row in table for j, c in enumerate(row) if c >= 0))
    weight = {j: trust.annotators[n] for n, j in enumerate(order)}
    mean = np.mean([*weight.values()])
    expected = []
    for row in range(UNITS + NEW):
        if row < UNITS:
            known = trust.model + sum(weight[j] for j, c in enumerate(table[row]) if c >= 0)
            quality = trust.quality[row]
        else:
            known, quality = trust.model, max(p[row])
        expected.append(-(known * quality + mean / 4) / (known + mean))

    np.testing.assert_allclose(expected, ActiveLab().weighed(pool_of(table, probs)))


def test_units_that_cannot_be_asked_for_again_count_for_the_weights():
    """Those with the most votes say most about annotators, and none would be looked at."""
    table, probs = whole_world(0)
    closed = [row for row in range(UNITS) if sum(c >= 0 for c in table[row]) == 3]
    rest = [row for row in range(UNITS + NEW) if row not in closed]
    expected = ActiveLab().weighed(pool_of(table, probs))[rest]

    np.testing.assert_allclose(expected, ActiveLab().weighed(pool_of(table, probs, closed)))


def test_skips_are_no_votes():
    """A unit that somebody skipped would pass for one of a class."""
    table, probs = whole_world(1)
    plain, skipped = pool_of(table, probs), pool_of(table, probs)
    skipped.votes["unit-000"].append(Vote("unit-000", None, "5"))
    skipped.votes["unit-050"] = [Vote("unit-050", None, "0")]

    np.testing.assert_array_equal(ActiveLab().weighed(plain), ActiveLab().weighed(skipped))


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_cleanlab(seed, monkeypatch):
    """The formula would be ours and not that of the paper's authors."""
    multiannotator = pytest.importorskip("cleanlab.multiannotator")
    from cleanlab.internal import multiannotator_utils

    def counts(labels, num_classes):  # theirs, of labels that are floats, counts other classes
        return np.bincount(np.asarray(labels).astype(int), minlength=num_classes)

    monkeypatch.setattr(multiannotator_utils, "value_counts", counts)
    table, probs = whole_world(seed)
    if seed % 2:
        table = [[c if j == seed % 5 else -1 for j, c in enumerate(row)] for row in table]
        table = [row if max(row) >= 0 else [1, -1, -1, -1, -1] for row in table]
    labels = np.where(np.array(table) < 0, np.nan, table)
    labels = labels[:, ~np.isnan(labels).all(axis=0)]
    found = multiannotator.get_active_learning_scores(labels, probs[:UNITS], probs[UNITS:])

    ours = ActiveLab().weighed(pool_of(table, probs))
    np.testing.assert_allclose(-np.concatenate(found), ours, atol=1e-9)


def test_an_oracle_that_answers_once(tiny, tmp_path):
    """Somebody would wait for second opinions that nobody is ever asked for."""
    x = tiny(strategy="active_lab")
    store = x.dataset.open()
    (warning,) = (told for told in warnings(x, store.card) if "answers once" in told)
    assert "simulated answers once, so that active_lab can ask for new images alone" in warning
    with pytest.raises(UsageError, match="answers once; use recorded or people"):
        Simulated().answer_again(store, ["digit-0000"], {}, Folder(tmp_path))

    write_votes(tmp_path / "votes.csv", store, wrong=0)
    oracle = {"name": "recorded", "file": str(tmp_path / "votes.csv")}
    budget = {"initial": 20, "per_cycle": 20, "total": 60, "unit": "votes"}
    again = tiny(strategy="active_lab", oracle=oracle, budget=budget)
    assert not [told for told in warnings(again, store.card) if "answers once" in told]
    answers = again.oracle.answer_again(store, ["digit-0000"], {}, Folder(tmp_path / "out"))
    assert ["digit-0000"] == list(answers)


@pytest.mark.parametrize(
    ("oracle", "said"),
    [
        ({}, ["the run waits for another annotator; if there is one alone, set it to first (or r"]),
        ({"consensus": "unanimous"}, ["no more of them make a label; set it to refuse or first"]),
        ({"disputed": "first"}, []),
        ({"consensus": "unanimous", "disputed": "refuse"}, []),
    ],
)
def test_one_annotator_who_is_asked_again(tiny, oracle, said):
    """Who labels alone and changes a mind would wait for ever, and nobody have said so."""
    x = tiny(strategy="active_lab", oracle={"name": "people", **oracle})
    card = x.dataset.open().card
    found = [told for told in warnings(x, card) if "oracle.disputed" in told]

    assert len(said) == len(found) and all(map(str.__contains__, found, said))
    once = tiny(strategy="margin", observers=["active_lab"], oracle={"name": "people", **oracle})
    assert not [told for told in warnings(once, card) if "oracle.disputed" in told]


@pytest.mark.parametrize("disputed", ["first", "refuse"])
def test_one_annotator_who_changes_a_mind_ends(disputed):
    """The way out that the warning names would wait as well."""
    rule = Agreement(disputed=disputed)
    label = rule.label([Vote("a", 4, "ann")], [Vote("a", 3, "ann")])

    assert label is not None and label.value == (3 if disputed == "first" else None)
