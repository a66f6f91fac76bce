"""What every fit promises; runs over all strategies that ask for one."""

import pytest

from rayal.parts import names
from rayal.testing import Broken, FitContract, check
from rayal.testing.side import Outside, SideSpec, _SideFitting
from tests.support.doubles import small_strategy


def fitting():
    """The names of those that fit something."""
    made = {name: small_strategy(name) for name in names("strategies")}
    return [name for name, strategy in made.items() if strategy.fits()]


@pytest.fixture(scope="module", params=[None, *fitting()])
def strategy(request):
    return Outside() if request.param is None else small_strategy(request.param)


class TestFits(FitContract):
    @pytest.fixture(autouse=True)
    def _each(self, strategy):
        self.part = strategy


class Forgets(_SideFitting):
    @property
    def parts(self):
        return {"companion": self.companion}


class ForgetsSpec(SideSpec):
    def start(self, companion, scene):
        return Forgets(companion, self.lr)


class Touches(_SideFitting):
    def step(self, batch, step):
        next(self.scene.model.parameters()).data.add_(1)
        return super().step(batch, step)


class TouchesSpec(SideSpec):
    def start(self, companion, scene):
        made = Touches(companion, self.lr)
        made.scene = scene
        return made


class Wants(Outside):
    side: SideSpec

    def score(self, s):
        return -s.companion(type(self.side))(s.images)


@pytest.mark.parametrize(
    "side, promise",
    [(ForgetsSpec(), "to continue from its state"), (TouchesSpec(), "companions as they are")],
)
def test_what_breaks_a_promise_is_told(side, promise):
    """An author would learn of it from other picks after a crash."""
    with pytest.raises(Broken, match=promise):
        check(Wants.model_construct(side=side))
