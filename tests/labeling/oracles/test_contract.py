"""What every oracle promises; runs over each file in rayal/labeling/oracles."""

import pytest

from rayal.labeling.oracles.base import Oracle
from rayal.parts import build, names
from rayal.testing import OracleContract

OPTIONS: list[dict[str, object]] = [
    *({"name": name} for name in names("oracles") if name != "recorded"),  # see test_recorded.py
    {"name": "clicks", "tolerance": 2, "holes": "traced", "background": 0, "void": "kept"},
    {"name": "people", "tiles": [2, 3]},
]


@pytest.fixture(scope="module", params=OPTIONS, ids=lambda options: "-".join(map(str, options)))
def oracle(request: pytest.FixtureRequest) -> Oracle:
    made: Oracle = build("oracles", request.param)
    return made


class TestOracles(OracleContract):
    @pytest.fixture(autouse=True)
    def _each(self, oracle: Oracle) -> None:
        self.part = oracle
