"""Which modules of a classifier are the last at each of its lowest resolutions.

N images, C channels, * their sides: H W of pictures, D H W of volumes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import le
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

LEVELS = 4
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class _Seen(NamedTuple):
    """An output N C * on the way from the images to the pooling."""

    path: str
    output: Tensor
    version: int
    """Of the output when it was made: it grows when that is changed in place."""


def stages(net: nn.Module, run: Callable[[], object]) -> dict[str, int]:
    """Path -> channels of the modules that are last at the four lowest resolutions, high to low.

    `run` does one forward; meta tensors do. Modules of the outermost sequence are looked at. None
    are given where there is no clear sequence: fewer than three resolutions, one that rises again,
    as in a U-Net, or channels that are not the second axis. Nor is a module that is called twice,
    or whose output is changed in place later.
    """
    seen, pooled = list[_Seen](), list[str]()

    def note(path: str, module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d):
            pooled.append(path)
        elif not pooled and isinstance(output, Tensor) and output.ndim in (4, 5):
            seen.append(_Seen(path, output, output._version))

    hooks = [m.register_forward_hook(partial(note, path)) for path, m in _trunk(net)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    paths = [each.path for each in seen]
    once = [each for each in seen if paths.count(each.path) == 1]
    last = {
        each.output.shape[2:]: (each.path, each.output.shape[1])
        for each in once
        if each.output._version == each.version
    }
    clear = len(last) >= 3 and _falls([each.output.shape[2:] for each in seen])
    return dict(list(last.values())[-LEVELS:]) if clear else {}


def stages_without_numbers(net: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """The stages for images of this shape, by a forward in which nothing is computed; raises what
    that raises."""
    tensors = [*net.named_parameters(), *net.named_buffers()]
    nothing = torch.empty(1, *shape, device="meta")
    state = {name: tensor.to("meta") for name, tensor in tensors}
    training = net.training
    try:
        with _norms_without_work(net):
            return stages(net.eval(), lambda: functional_call(net, state, (nothing,)))
    finally:
        net.train(training)


@contextmanager
def _norms_without_work(net: nn.Module) -> Iterator[None]:
    """Norms give something new of their input's shape: torch does them on meta tensors operation by
    operation, which takes longer than all else that a network does there."""
    norms = [module for module in net.modules() if isinstance(module, NORMS)]
    for norm in norms:
        norm.forward = torch.empty_like  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _falls(sizes: list[torch.Size]) -> bool:
    """Whether no side ever rises."""
    return all(
        len(after) == len(before) and all(map(le, after, before))
        for before, after in zip(sizes, sizes[1:], strict=False)
    )


def _trunk(net: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network, one after the other, plain sequences taken apart.

    Without norms: what follows them may work in place on their output.
    """
    for name, child in net.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList):
            yield from _trunk(child, f"{path}{name}.")
        elif not isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm)):
            yield f"{path}{name}", child
