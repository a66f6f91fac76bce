"""What every strategy promises; runs over each file in rayal/strategies."""

import pytest

from rayal.parts import build, find, names
from rayal.testing import StrategyContract
from tests.support.doubles import small_strategy, strategies_for


@pytest.fixture(scope="module", params=strategies_for("classification"))
def strategy(request):
    return small_strategy(request.param)


class TestStrategies(StrategyContract):
    @pytest.fixture(autouse=True)
    def _each(self, strategy):
        self.part = strategy


@pytest.mark.parametrize("name", names("strategies"))
def test_is_found_by_its_name(name):
    """A resumed run would select with other hyperparameters than it started with."""
    strategy = build("strategies", name)

    assert build("strategies", strategy.model_dump(mode="json")) == strategy


@pytest.mark.parametrize("name", names("strategies"))
def test_documents_itself(name):
    """A reader would not know formula and direction of a score, nor where a method comes from."""
    kind = find("strategies", name)

    assert kind.__doc__ and len(kind.__doc__.splitlines()[0]) > 20
    assert all(field.description for field in kind.model_fields.values())
