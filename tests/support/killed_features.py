"""A pass that keeps features and is killed, as in killed_score.py."""

import json

from rayal.workflows import features, run
from rayal.workflows.features.settings import FeaturePass
from tests.support.killed_run import kill_after
from tests.support.killed_score import Watch


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    x = FeaturePass.model_validate(json.loads(fields))
    with features.start_features(x, out) as work:
        work.run(lambda: run.start_engine(x.compute.for_engine()), Watch(point))
