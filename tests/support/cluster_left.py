"""What is left on a cluster when others have gone, as JSON; waits a while until that is nothing.

python -m tests.support.cluster_left HOST:PORT
"""

import json
import logging
import sys
import time
from typing import Any

import ray
from ray._private.state import actors
from ray.util import placement_group_table

PATIENCE_SECONDS = 30.0
OF_THE_CLUSTER = {"_StatsActor", "_AutoscalingCoordinatorActor"}
"""Ray Data starts one of each for all jobs of a cluster, which take no core, and leaves them."""


def left() -> dict[str, Any]:
    """The classes of living actors, placement groups that hold something, and cores in use."""
    there, free = ray.cluster_resources(), ray.available_resources()
    living = {a["ActorClassName"] for a in actors().values() if a["State"] != "DEAD"}
    return {
        "actors": sorted(living - OF_THE_CLUSTER),
        "groups": [g["name"] for g in placement_group_table().values() if g["state"] != "REMOVED"],
        "cores": there["CPU"] - free.get("CPU", 0),
    }


if __name__ == "__main__":
    ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
    until = time.monotonic() + PATIENCE_SECONDS
    while (found := left()) != {"actors": [], "groups": [], "cores": 0.0}:
        if time.monotonic() > until:
            break
        time.sleep(0.2)
    print(json.dumps(found))
