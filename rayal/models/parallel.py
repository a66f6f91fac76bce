"""The workers that train one model together: how many they are, and what they tell each other.

The only place that talks to `torch.distributed`. Whoever starts the workers brings them together
first; a process that nobody brought together with others is one worker, and all here is free for
it: nothing is copied, sent or awaited. All workers have to call the same functions in the same
order, with tensors on the device that they train on. B rows of this worker.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.functional import pad
from torch.nn.parallel import DistributedDataParallel

from rayal.errors import ClusterError


def workers() -> int:
    """Processes that train this model together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(value: Tensor) -> Tensor:
    """The sum of all workers' values, without gradient; the same bits on every worker."""
    value = value.detach()
    if workers() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """The mean of all workers' values, with the gradient of this worker's own: the mean of these
    gradients, which the model's weights get, is that of the mean."""
    if workers() == 1:
        return value
    return value + (total(value) / workers() - value.detach())


def averaged(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean of all workers' tensors, each of the same shape on all, without gradient: for
    gradients that do not go through `averaging`. In one message; the same bits on every worker."""
    if workers() == 1 or not tensors:
        return list(tensors)
    flat = total(torch.cat([tensor.flatten() for tensor in tensors])) / workers()
    return _shaped(flat, tensors)


def first(value: Tensor) -> Tensor:
    """Worker 0's value, of the same shape and type on all: what only one worker may decide."""
    value = value.detach()
    if workers() > 1:
        value = value.clone()
        dist.broadcast(value, src=0)
    return value


def first_bytes(data: bytes, device: torch.device) -> bytes:
    """Worker 0's bytes; what the others give is not looked at."""
    if workers() == 1:
        return data
    size = int(first(torch.tensor(len(data), device=device)))
    own = torch.zeros(size, dtype=torch.uint8)
    if size and dist.get_rank() == 0:
        own = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return first(own.to(device)).cpu().numpy().tobytes()


def check_same(number: int, what: str, device: torch.device) -> None:
    """Raises ClusterError, on every worker, where they are not at the same number of something."""
    if workers() == 1:
        return
    spread = total(torch.tensor([number, number**2], dtype=torch.float64, device=device))
    mean, square = (spread / workers()).tolist()
    if square != mean**2:
        raise ClusterError(
            f"the workers of one training are at different {what}s, this one at {number}; they"
            " start again from the last checkpoint by the same command"
        )


def rows(*parts: Tensor) -> tuple[Tensor, ...]:
    """The rows of all workers, by rank, of each of these tensors (B ...), without gradient.

    Workers may have unequal numbers of rows, or none; each of the tensors has B. The numbers are
    waited for.
    """
    parts = tuple(part.detach() for part in parts)
    if workers() == 1:
        return parts
    count, device = len(parts[0]), parts[0].device
    counts = _stacked(torch.tensor([count], device=device)).flatten().tolist()
    missing = max(counts) - count
    whole = []
    for part in parts:
        stack = _stacked(pad(part, (*(0, 0) * (part.ndim - 1), 0, missing)))
        whole.append(torch.cat([of[:n] for of, n in zip(stack, counts, strict=True)]))
    return tuple(whole)


def rows_with_gradient(part: Tensor) -> Tensor:
    """`rows` of one tensor, with the gradient of this worker's own, all rows over its own times as
    large: the mean over workers, each by its share of the rows, is that of a mean over all rows."""
    if workers() == 1:
        return part
    rank = dist.get_rank()
    whole, ranks = rows(part, torch.full((len(part),), rank, device=part.device))
    own = part.detach() + (part - part.detach()) * (len(whole) / len(part))
    place = int((ranks < rank).sum())
    return torch.cat([whole[:place], own, whole[place + len(part) :]])


def _stacked(tensor: Tensor) -> Tensor:
    """A tensor of the same shape on all workers, stacked by rank."""
    parts = [torch.empty_like(tensor) for _ in range(workers())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.stack(parts)


def averaging(module: nn.Module) -> nn.Module:
    """The module with its gradients averaged over all workers; itself where there is only one, or
    where nothing of it is trained.

    Batch norm normalises each worker's part by itself. DDP's own copying of buffers is off: it
    would overwrite them between two forward passes of one step; see `share_buffers`.
    """
    if workers() == 1 or not any(weight.requires_grad for weight in module.parameters()):
        return module
    with warnings.catch_warnings():
        # what torch 2.15 asks for instead is not there before
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(module, broadcast_buffers=False)


def share_buffers(module: nn.Module) -> None:
    """Gives all workers worker 0's floating-point buffers, the running statistics, in one message.

    Counters are the same everywhere.
    """
    if workers() == 1:  # asked first: to look for buffers takes longer than a step of a small head
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = first(torch.cat([buffer.flatten() for buffer in buffers]))
    for buffer, values in zip(buffers, _shaped(flat, buffers), strict=True):
        buffer.copy_(values)


def _shaped(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """What was flattened and joined, in the shapes of these."""
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
