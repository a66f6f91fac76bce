"""What a training worker does from its start to its end: it fetches orders at the desk.

Apart from who starts it: what is imported here is what the first training waits for.
"""

from typing import Any

import ray
import ray.train
from ray import cloudpickle
from ray.exceptions import ActorDiedError

from rayal.cycle.rounds import Worker
from rayal.engine.described import described
from rayal.engine.desk import Order
from rayal.storage.folder import Json


def work(config: dict[str, Any]) -> None:
    """What each worker does from its start to its end."""
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        device=_gpu() if config["device"] == "cuda" else "cpu",
        threads=config["threads"],
    )
    desk, done = config["desk"], 0
    while (order := _asked(desk.next.remote(done, worker.rank))) is not None:
        result = _done(order, worker)
        if worker.rank == 0 or "error" in result:
            _asked(desk.deliver.remote(order.number, result))
        if "error" in result and worker.size > 1:
            # The others may wait for this worker in a collective: only a failure frees them.
            raise RuntimeError(result["message"])
        done = order.number


def _gpu() -> str:
    """The one that Ray Train gave this worker."""
    from ray.train.torch import get_device

    return str(get_device())


def _asked(answer: Any) -> Any:
    """What the desk answers; None where it is gone, and nobody waits for this worker."""
    try:
        return ray.get(answer)
    except ActorDiedError:
        return None


def _done(order: Order, worker: Worker) -> Json:
    try:
        done = cloudpickle.loads(order.payload).run(worker)
        return {} if done is None else done.to_json()
    except Exception as error:
        return described(error)
