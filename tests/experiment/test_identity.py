"""One list of what identifies a run: continuing, sweeps and reports agree by it."""

from typing import Any

import pytest

from rayal.experiment.experiment import Experiment
from rayal.experiment.identity import identifying, of_arm
from rayal.report.runs import settings

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "cod",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return Experiment.model_validate(FIELDS).model_dump(mode="json")


def changed(fields: dict[str, Any], key: str) -> dict[str, Any]:
    """With another value at a key such as `compute.device`."""
    first, _, rest = key.partition(".")
    return {**fields, first: changed(fields[first], rest) if rest else "another"}


def test_reports_part_arms_by_what_continuing_compares(fields: dict[str, Any]) -> None:
    """A setting that one of them overlooks would be averaged, or refused when all is computed."""
    keys = [key for key in fields if key not in ("dataset", "compute")]
    keys += [f"{part}.{key}" for part in ("dataset", "compute") for key in fields[part]]
    counted = {key for key in keys if identifying(changed(fields, key)) != identifying(fields)}
    parting = {key for key in keys if settings(changed(fields, key)) != settings(fields)}

    assert parting == counted - {"name", "seed", "observers", "fine_tune"}
    assert {"compute.device", "compute.score_batch", "dataset.name", "scheme"} <= parting
    assert counted.isdisjoint(
        {"tracking", "max_bad", "dataset.root", "compute.scorers", "compute.engine"}
    )


def test_old_experiments_are_read(fields: dict[str, Any]) -> None:
    """A report of runs that an earlier rayal made would end in a traceback."""
    old = {key: value for key, value in fields.items() if key not in ("compute", "observers")}

    assert {"strategy", "scheme"} <= of_arm(old).keys()


def test_what_was_recorded_before_a_field_came_still_continues(fields: dict[str, Any]) -> None:
    """All runs and sweeps of an earlier rayal would be refused, and their trials be others."""
    before = {key: value for key, value in fields["compute"].items() if key != "compile"}

    assert identifying({**fields, "compute": before}) == identifying(fields)
    compiled = {**fields, "compute": {**before, "compile": True}}
    assert identifying(compiled) == {**identifying(fields), "compute.compile": True}
    old_augment = {k: v for k, v in fields["scheme"]["augment"].items() if k != "padding"}
    old = {**fields, "scheme": {**fields["scheme"], "augment": old_augment}}
    assert identifying(old) == identifying(fields)
    assert identifying({k: v for k, v in fields.items() if k != "fine_tune"}) == identifying(fields)
    reflected = changed(fields, "scheme.augment.padding")
    assert "another" == identifying(reflected)["scheme"]["augment"]["padding"]
