"""A pool scoring that is killed: `python killed_score.py OUT SETTINGS_JSON POINT`.

POINT is a pattern of a file in OUT, after whose writing the process sends itself SIGKILL.
"""

import json
import sys

from killed_run import kill_after

from rayal import pool_scoring, session
from rayal.pool_scoring.settings import PoolScoring


class Silent:
    """Watches nothing."""

    def images(self, done: int, total: int) -> None: ...


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    settings = PoolScoring.model_validate(json.loads(fields))
    with pool_scoring.opened(settings, out) as opened:
        opened.run(lambda: session.engine(settings.compute.for_engine()), Silent())


if __name__ == "__main__":
    main(*sys.argv[1:])
