"""What `oracle: people` refuses of formats before anybody is asked."""

import pytest

from rayal.errors import UsageError
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.people import People

BUDGET = Budget(initial=1, per_cycle=1, total=2)


@pytest.mark.parametrize("form", ["cvat", "coco", "folder"])
def test_images_that_are_linked(form: str) -> None:
    """Files would come back whose images nobody can tell apart."""
    told = [*People(format=form, images="linked").contradictions(BUDGET)]

    assert [("oracle", "images")] == [each.key for each in told]
    assert f"linked, but {form} knows images by the names of their files" in told[0].problem
    assert [] == [*People(format=form, images="copied").contradictions(BUDGET)]
    assert [] == [*People(format="csv", images="linked").contradictions(BUDGET)]


def test_an_option_that_does_not_exist() -> None:
    """A word for skips would be misspelt, and people told another one."""
    with pytest.raises(UsageError, match="skipp"):
        People(format={"name": "csv", "skipp": "X"})  # type: ignore[arg-type]
