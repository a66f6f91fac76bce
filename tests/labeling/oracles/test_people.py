"""People as an oracle: what they are asked, when the run goes on, what it costs."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from rayal.errors import LabelsPending, UsageError
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.oracles.base import Label
from rayal.labeling.oracles.people import People
from rayal.labeling.request import Request
from rayal.labeling.votes import Vote, parse_votes
from rayal.parts import build
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared

STORE = prepared(False)
UNITS = STORE.pool.ids()[:4]


def people(**options: Any) -> People:
    made: People = build("oracles", {"name": "people", **options})
    return made


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "my run/cycle-000/initial")


def waits(oracle: People, out: Folder) -> str:
    with pytest.raises(LabelsPending) as caught:
        oracle.answer(STORE, UNITS, out)
    return str(caught.value)


def test_it_waits_for_all(out: Folder) -> None:
    """A run would train on half of what was asked, or not say where the request is."""
    oracle, request = people(), Request(out)
    first = waits(oracle, out).split("\n")
    request.tell([Vote(unit, 3, "ann", 2.0) for unit in UNITS[1:]])
    second = waits(oracle, out)
    Request(out).tell([Vote(UNITS[0], None, "ann")])
    answers = oracle.answer(STORE, UNITS, out)
    evidence = oracle.evidence(out)

    assert "waiting for 4 labels, 0 in" == first[0]
    assert first[1].endswith(
        "/my run/cycle-000/initial-asked/request: HOW.md there says how to answer it"
    )
    run = Path(out.url).parents[1]
    assert f"  answers  rayal labels add '{run}' FILE" == first[2]
    assert second.startswith("waiting for 1 label, 3 in\n")
    assert [*UNITS] == [*answers] and Label(None, 1.0) == answers[UNITS[0]]
    assert 4 == len(parse_votes(out.read("votes.parquet", evidence["votes.parquet"])))
    assert {} == oracle.answer(STORE, [], out / "x") and {} == oracle.evidence(out / "x")


@pytest.mark.parametrize(("wait", "needed"), [(0.5, 2), (0.51, 3), (0.01, 1), (1.0, 4), ("all", 4)])
def test_it_waits_for_a_share(out: Folder, wait: Any, needed: int) -> None:
    """A run would go on with less than was said, or never."""
    oracle, request = people(wait=wait), Request(out)
    for at in range(needed):
        waits(oracle, out)
        request.tell([Vote(UNITS[at], 3)])

    assert [*UNITS[:needed]] == [*oracle.answer(STORE, UNITS, out)]


def test_who_decides_not_to_wait(out: Folder) -> None:
    """An annotator who left would hold a run up for ever."""
    waits(people(), out)
    Request(out).tell([Vote(UNITS[0], 3)])
    waits(people(), out)

    assert [UNITS[0]] == [*people(wait=0.25).answer(STORE, UNITS, out)]


def test_seconds_are_paid(out: Folder) -> None:
    """What annotators work would not be what the budget counts."""
    oracle = people(cost="seconds", seconds_per_unit=6, votes=2)
    waits(oracle, out)
    Request(out).tell([Vote(u, 3, name, 2.5) for u in UNITS for name in ("ann", "bob")])

    assert {5.0} == {label.cost for label in oracle.answer(STORE, UNITS, out).values()}
    assert [6.0, 6.0] == oracle.costs(STORE, UNITS[:2]).tolist()
    assert [1.0] == people().costs(STORE, UNITS[:1]).tolist()


@pytest.mark.parametrize(
    ("oracle", "unit", "told"),
    [
        (
            {"cost": "seconds"},
            "seconds",
            "seconds_per_unit: is required where cost is seconds; say",
        ),
        (
            {"cost": "seconds", "seconds_per_unit": 3},
            "samples",
            "unit: samples, but oracle 'people'",
        ),
        ({}, "seconds", "budget.unit: seconds, but oracle 'people' counts costs in samples; give"),
        ({"votes": 2, "consensus": "unanimous"}, "samples", "oracle.disputed: ask, but votes that"),
    ],
)
def test_what_contradicts(tiny: Any, oracle: Any, unit: Any, told: str) -> None:
    """Two hundred images would be labeled before anybody sees that nothing can come of it."""
    budget = {"initial": 20, "per_cycle": 20, "total": 60, "unit": unit}
    with pytest.raises((ValidationError, UsageError)) as caught:
        tiny(oracle={"name": "people", **oracle}, budget=budget, strategy="margin")
    (error,) = caught.value.errors()  # type: ignore[union-attr]

    assert told in f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def test_labels_that_a_format_cannot_carry() -> None:
    """Masks would be asked for in a table."""
    with pytest.raises(
        UsageError, match="oracle.format: csv cannot carry masks, which are the lab"
    ):
        people().check(prepared(True).card)


def test_how_people_are_asked_may_change(tiny: Any) -> None:
    """A run that was begun with another tool, or waits for all, could not go on."""
    oracles = {"name": "people"}, {"name": "people", "wait": 0.5, "images": "linked"}
    first, second = (tiny(oracle=each, strategy="margin") for each in oracles)
    other = tiny(oracle={"name": "people", "votes": 2}, strategy="margin")

    assert isinstance(first, Experiment) and first.identity() == second.identity()
    assert first.identity() != other.identity()


class Untimed(Csv):
    """A table without a column of seconds."""

    times: ClassVar[bool] = False


def test_a_format_without_times() -> None:
    """Every file would be refused after the images were labeled."""
    oracle = People(format=Untimed(), cost="seconds", seconds_per_unit=3)
    budget = Budget(initial=20, per_cycle=20, total=60, unit="seconds")
    (problem,) = oracle.contradictions(budget)

    assert ("oracle", "cost") == problem.key and "seconds, but files of " in problem.problem
    assert not [*oracle.model_copy(update={"format": Csv()}).contradictions(budget)]
