"""What one forward did with the parameters of a network: the layers whose gradients have norms in
closed form, and the parameters that were used in any other way.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from rayal.models.base import Outputs
from rayal.signals.gradients.convolution import Convolution
from rayal.signals.gradients.layers import BatchNorm, GroupNorm, Layer, LayerNorm, Linear, widened

LAYERS: Mapping[Callable[..., Any], Callable[..., Layer]] = {
    F.conv1d: Convolution,
    F.conv2d: Convolution,
    F.conv3d: Convolution,
    F.linear: Linear,
    F.batch_norm: BatchNorm,
    F.group_norm: GroupNorm,
    F.layer_norm: LayerNorm,
}
"""The torch functions whose parameters have a batched form."""


class Tap(NamedTuple):
    """A layer that ran, where the gradient of its output arrives, the columns of its norms."""

    layer: Layer
    version: int  # of the layer's input: it grows when that is changed in place
    output: GradientEdge
    weight: int | None = None
    bias: int | None = None


class Trace(TorchFunctionMode):
    """One forward, and all that it did with the parameters.

    Layers run on detached parameters. So the gradient of a weight is never computed; an output has
    a gradient only if it depends on the images; and a parameter that is found in the graph all the
    same was used by something that is no torch function.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.names = [name for name, _ in model.named_parameters()]
        self.columns = {id(p): column for column, p in enumerate(model.parameters())}
        self.num_images = len(images)
        self.taps: list[Tap] = []
        self.uses: Counter[int] = Counter()  # by column
        self.unknown: dict[str, str] = {}  # parameter without a batched form -> why
        with self:
            outputs: Outputs = model(images.detach().requires_grad_())
        self.logits = widened(outputs.logits)
        self._refuse_the_rest(list(model.parameters()))

    @property
    def ambiguous(self) -> bool:
        """Whether another axis, with as many places, could be that of the images: T N D, N T D."""
        return any(self.num_images in tap.layer.leading[1:] for tap in self.taps)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        used = [self.columns[id(t)] for t in _tensors((args, kwargs)) if id(t) in self.columns]
        if used and func in LAYERS:
            layer = LAYERS[func](*args, **kwargs)
            if sorted(used) == sorted(self._places(layer).values()):
                args = tuple(self._detached(value) for value in args)
                output = func(*args, **{name: self._detached(v) for name, v in kwargs.items()})
                self._tap(layer, output)
                return output
        result = func(*args, **kwargs)
        if used and any(True for _ in _tensors(result)):  # asking for its shape is no use of it
            self._refuse(used, f"used by {func.__name__}")
        return result

    def _places(self, layer: Layer) -> dict[str, int]:
        """The columns of the layer's weight and bias, where those are parameters."""
        given = {"weight": id(layer.weight), "bias": id(layer.bias)}
        return {name: self.columns[key] for name, key in given.items() if key in self.columns}

    def _detached(self, value: Any) -> Any:
        return value.detach() if id(value) in self.columns else value

    def _tap(self, layer: Layer, output: Tensor) -> None:
        places = self._places(layer)
        self.uses.update(places.values())
        if not output.requires_grad:
            self._refuse(places.values(), "of an input that does not depend on the images")
        elif list(layer.leading[:1]) != [self.num_images]:
            self._refuse(places.values(), "of an input whose first axis is not that of the images")
        else:
            layer.x = layer.x.detach()
            edge = get_gradient_edge(output)
            self.taps.append(Tap(layer, layer.x._version, edge, **places))

    def _refuse_the_rest(self, parameters: Sequence[Tensor]) -> None:
        """What only shows when the forward is over."""
        leaves = {id(leaf) for leaf in _leaves(self.logits)}
        for column, parameter in enumerate(parameters):
            if self.uses[column] > 1:
                self._refuse([column], f"used {self.uses[column]} times")
            if id(parameter) in leaves:
                self._refuse([column], "used by something that is no torch function")
            if not parameter.requires_grad and not self.uses[column]:
                self._refuse([column], "frozen, so that a use of it may not be seen")
        for tap in self.taps:
            if tap.layer.x._version != tap.version:
                self._refuse(self._places(tap.layer).values(), "of an input changed in place")

    def _refuse(self, columns: Iterable[int], reason: str) -> None:
        for column in columns:
            self.unknown.setdefault(self.names[column], reason)


def _tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _leaves(output: Tensor) -> Iterator[Tensor]:
    """The tensors in whose `.grad` a backward from here would end."""
    waiting, found = [output.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        found.add(node)
        waiting.extend(following for following, _ in node.next_functions)
        if hasattr(node, "variable"):
            yield node.variable
