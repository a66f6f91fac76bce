"""What the threads of torch do while they wait for each other: they spin, or they sleep.

They spin for milliseconds, which is fastest where nothing else runs. Where other threads of this
process have work, it takes from these: of a pass that decodes, more than the model itself.
"""

from concurrent.futures import Executor

import torch

SHARED = 2**17
"""Numbers, so many that torch divides the work on them among its threads."""


def let_sleep(executor: Executor) -> None:
    """From now on they sleep, as long as the threads of this executor live.

    OpenMP lets them where it counts more threads than there are cores. So the executor's thread
    that does this becomes the first of a second team, which then has nothing to do. Results are
    the same. Where OMP_WAIT_POLICY says what they do, and on one thread, nothing changes.
    """
    executor.submit(torch.zeros, SHARED).result()
