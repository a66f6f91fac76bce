"""What every scheme promises; runs over each file in rayal/training/schemes."""

import pytest

from rayal.parts import build, names
from rayal.testing import SchemeContract
from rayal.training.base import TrainingScheme


@pytest.fixture(scope="module", params=names("schemes"))
def scheme(request: pytest.FixtureRequest) -> TrainingScheme:
    made: TrainingScheme = build("schemes", request.param)
    return made


class TestSchemes(SchemeContract):
    @pytest.fixture(autouse=True)
    def _each(self, scheme: TrainingScheme) -> None:
        self.part = scheme
