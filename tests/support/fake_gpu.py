"""A GPU that is not there: shapes, types and devices are worked out, numbers are not.

Inside `FakeGpu` whatever is made on "cuda" is a fake tensor, and whatever lies on the CPU is real.
It raises where a GPU would: an operation on tensors of two devices. And where a GPU would be waited
for, which a GPU does in silence: a number that is asked for, a result whose size depends on
numbers, a copy out of memory that is not pinned. Copies to the CPU are counted, for some are meant;
what they bring is ones.

What it cannot show: numbers, the order of work in streams, memory, backward passes (`backward` and
`gradients` put zeros in their place).
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
UPDATES = (aten._fused_sgd_.default, aten._fused_adam_.default)
"""Of weights, in place: for some of them there is no fake."""


class Waited(Exception):
    """The process would wait for the GPU."""


class FakeGpu(TorchDispatchMode):
    """`with fake_gpu() as gpu:`; `gpu.reads` is how many copies to the CPU there were."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.working = True
        self._pinned: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if func is aten.is_pinned.default:
            return any(args[0] is each for each in self._pinned)
        if func is aten._pin_memory.default:
            return self._pin(args[0])
        fakes = [each for each in tensors if isinstance(each, FakeTensor)]
        to = kwargs.get("device")
        if not fakes and (to is None or torch.device(to).type == "cpu"):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        self._check(func, args, kwargs, tensors)
        if to is not None and torch.device(to).type == "cpu":
            self.reads += 1
            kept = kwargs.get("dtype") or fakes[0].dtype
            with unset_fake_temporarily():
                return torch.ones(tuple(fakes[0].shape), dtype=kept)
        if func in UPDATES:
            if not all(each.is_cuda for each in tensors):
                raise RuntimeError(f"{func}: weights and updates on two devices")
            return None
        try:
            return func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise Waited(f"{func} of a GPU's tensor") from error

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Inside, what is done once may wait: weights are loaded."""
        self.working = False
        try:
            yield
        finally:
            self.working = True

    def _pin(self, tensor: Tensor) -> Tensor:
        with unset_fake_temporarily():
            pinned = tensor.clone()
        self._pinned.append(pinned)
        return pinned

    def _check(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]
    ) -> None:
        """Raises Waited for what the fakes of torch let pass."""
        if not self.working:
            return
        real = [each for each in tensors if not isinstance(each, FakeTensor)]
        moved = func is aten._to_copy.default and bool(real)
        copied = func is aten.copy_.default and bool(real)
        if moved or copied:
            silent = kwargs.get("non_blocking") or (copied and len(args) > 2 and args[2])
            if not silent or not any(real[0] is each for each in self._pinned):
                raise Waited("a copy to a GPU of what is not pinned, see rayal.models.device.sent")
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            places = [each for each in args[1] if each is not None]
            filled = func is not aten.index.Tensor and args[2].numel() == 1
            if any(each.dtype == torch.bool for each in places) and not filled:
                raise Waited(f"{func} by truth values")
            if not all(isinstance(each, FakeTensor) for each in places):
                raise Waited(f"{func} of a GPU's tensor by numbers of the CPU")
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise RuntimeError(f"{func} on a GPU with a generator of the CPU")


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Inside, "cuda" is a device, modules can be moved to it, and backward passes are pretended."""
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with (
        warnings.catch_warnings(),
        patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        patch.object(torch.cuda, "is_bf16_supported", lambda: True),
        patch.object(nn.Module, "to", _moved),
        patch.object(torch.autograd, "backward", backward),
        patch.object(torch.autograd, "grad", gradients),
        fakes,
        FakeGpu() as gpu,
    ):
        # torch's own deepcopy of a parameter does
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
        yield gpu


def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
    """In place of a backward pass: zeros for all that the loss depends on."""
    assert loss.requires_grad, "the loss depends on no weight"
    nodes, seen = [loss.grad_fn], set[Any]()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaf.grad = torch.zeros_like(leaf)
        nodes += [following for following, _ in node.next_functions]


def gradients(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """In place of `torch.autograd.grad`: zeros."""
    several = [inputs] if isinstance(inputs, Tensor) else inputs
    return tuple(
        torch.zeros_like(each) if isinstance(each, Tensor) else _at(each) for each in several
    )


def _at(edge: Any) -> Tensor:
    """Zeros like the result of a node of the graph."""
    meta = edge.node._input_metadata[edge.output_nr]
    return torch.zeros(tuple(meta.shape), dtype=meta.dtype, device=meta.device)


def _moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """`Module.to`, which torch does not have for fakes; only where to counts, not how they lie."""
    device = torch._C._nn._parse_to(*args, **kwargs)[0]
    if device is None or device.type == "cpu":
        return module
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                there = torch.empty_like(weight, device=device, requires_grad=False)
                part._parameters[name] = nn.Parameter(there, weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device=device)
    return module
