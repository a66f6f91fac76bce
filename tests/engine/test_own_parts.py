"""Parts of a notebook on Ray: their classes travel with the work."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.workflows.run import start_run
from tests.support.notebook import notebook, own_parts
from tests.support.whole_runs import outcome


@pytest.mark.ray
@pytest.mark.slow
def test_a_notebook_on_ray_is_the_local_run(
    workers: RayEngine, undrawn: None, tmp_path: Path
) -> None:
    """Workers cannot import a notebook: its parts would work in the local engine only."""
    with notebook(tmp_path) as cell:
        x = own_parts(cell)["own_experiment"]()
        for name, engine in (("ray", workers), ("local", LocalEngine(workers.compute))):
            with start_run(x, str(tmp_path / name)) as opened:
                opened.run(lambda engine=engine: nullcontext(engine))

    assert outcome(tmp_path / "ray") == outcome(tmp_path / "local")
