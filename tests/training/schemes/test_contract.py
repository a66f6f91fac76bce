"""What every scheme promises; runs over each file in rayal/training/schemes."""

import pytest

from rayal.parts import build, find, names
from rayal.testing import SchemeContract
from rayal.training.base import TrainingScheme

LEARNING = [name for name in names("schemes") if not find("schemes", name).memorises]
"""Those with epochs, in which something is learned."""


@pytest.fixture(scope="module", params=LEARNING)
def scheme(request: pytest.FixtureRequest) -> TrainingScheme:
    made: TrainingScheme = build("schemes", request.param)
    return made


class TestSchemes(SchemeContract):
    @pytest.fixture(autouse=True)
    def _each(self, scheme: TrainingScheme) -> None:
        self.part = scheme
