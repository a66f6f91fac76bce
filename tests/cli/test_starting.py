"""rayal/cli/starting.py: the demo. `init` is in tests/workflows/test_init.py, and both, as they are
installed, in tests/test_wheel.py."""

from pathlib import Path

from rayal.api.experiments import DEMO
from rayal.experiment import config

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_demo_is_the_configuration_that_readme_explains() -> None:
    """Two files that say different things under one name: of `rayal demo` and `rayal run` of
    configs/digits/cod.yaml, each would refuse the folder of the other."""
    assert config.load(CONFIGS / "digits" / "cod.yaml") == config.load(DEMO)
