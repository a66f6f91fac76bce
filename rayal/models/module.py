"""What any module of torch says of itself, and how it is asked and left as it was.

N images, C classes, H rows, W columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rayal.data.tasks.base import Task
from rayal.errors import UsageError
from rayal.parts import find


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """All of these are in eval mode inside, and as they were after."""
    before = {each: each.training for module in modules for each in module.modules()}
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for each, training in before.items():
            each.training = training


def first_weight(module: nn.Module) -> Tensor:
    """The first parameter of floating-point numbers, whose device and type images need; an empty
    tensor of a module without any."""
    return next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))


def image_channels(module: nn.Module) -> int | None:
    """The channels that its first convolution takes; None of a module without any."""
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
    return None if first is None else first.in_channels


def task_of(logits: Tensor) -> Task:
    """What a network is for that returns these: to classify images, N C, or pixels, N C H W."""
    task: Task = find("tasks", "segmentation" if logits.ndim > 2 else "classification")()
    return task


def check_sized(module: nn.Module) -> None:
    """Raises UsageError for a lazy layer, which the first images would give its size for good."""
    for each in (module.named_parameters(), module.named_buffers()):
        for name, value in each:
            if is_lazy(value):
                raise UsageError(
                    f"{type(module).__name__} has a lazy layer, {name.rpartition('.')[0]!r}, whose"
                    " size is not known yet; give it its size, or run the module once on images of"
                    " yours"
                )
