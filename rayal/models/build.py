"""A network of a model: its weights random, decided by a seed, and then those of somebody's file.

C classes.
"""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError, some
from rayal.models import weights as files
from rayal.models.base import Model
from rayal.models.contract import checked_network
from rayal.models.naming import in_own_names

SOME = 2
"""Classes of a network whose number of them is not known yet."""

logger = logging.getLogger(__name__)


def build(
    model: Model, num_classes: int, image: ImageSpec, seed: int, *, headless: bool = False
) -> nn.Module:
    """A network on the CPU: random weights decided by `seed` alone, then the pretrained ones.

    Where nobody will ask its last layer (`headless`), that may be random without a warning.

    Torch's global generators are left as they were. Raises UsageError for images that the
    architecture does not accept, for pretrained weights that do not fit, and for a user's own
    network that breaks its contract.
    """
    if reason := model.takes(image):
        raise UsageError(f"model {model.part_name()!r}: {reason}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        network = model.network(num_classes, image)
    if model.is_foreign():
        network = checked_network(network, model, num_classes, image)
    if model.pretrained:
        _load_pretrained(network, model.pretrained, model, tell=not headless)
    return network


def load_whole(
    network: nn.Module, weights: Mapping[str, Tensor], model: Model, source: str
) -> None:
    """Loads the weights of a file, `source`, by torchvision's names or rayal's, the last layer's
    too.

    Raises UsageError with the first that do not fit and, where the classes are all the difference,
    their number in the file.
    """
    renamed, last = in_own_names(network, weights, model, source), _last_weights(network)
    classes, own = _num_classes(renamed, last), _num_classes(last, last)
    if classes not in (None, own) and not files.misfits(network, renamed | last):
        raise UsageError(
            f"{source} is for {classes} classes, not for {own}; give weights for {own}"
        )
    files.put(network, renamed, source)


def load_trunk(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Loads all weights but those of the last layer, which stays as it is; those of the file may be
    for other classes, and have the network's own names.

    Raises UsageError with the first that do not fit.
    """
    files.put(network, {**weights, **_last_weights(network)}, source)


def count_classes(
    weights: Mapping[str, Tensor], model: Model, image: ImageSpec, source: str
) -> int:
    """The classes that the last layer in somebody's file is for.

    Raises UsageError where the file has no such layer as the architecture.
    """
    network = build(model.bare(), SOME, image, seed=0)
    last = _last_weights(network)
    renamed = in_own_names(network, weights, model, source, tell=False)
    classes = _num_classes(renamed, last)
    if classes is None:
        others = [name for name in renamed if name not in network.state_dict()]
        beside = f"; it has {some(others)}, which this architecture has not" if others else ""
        raise UsageError(
            f"{source} has not the last layer of {model.part_name()}, {' and '.join(last)}, so that"
            f" the number of its classes is not known{beside}; give the file's own architecture and"
            " options, or weights with that layer"
        )
    return classes


def _load_pretrained(network: nn.Module, location: str, model: Model, tell: bool) -> None:
    """Start from a file, which may be for other classes, or of the trunk alone.

    A last layer that differs in the number of classes alone, or that is absent, keeps its random
    weights, with a warning where `tell`; so do absent `heads`, always with one. Any other
    difference raises UsageError.
    """
    weights = in_own_names(network, model.weights(network), model, location)
    last = _last_weights(network)
    classes, own = _num_classes(weights, last), _num_classes(last, last)
    if classes is not None and classes != own:
        if tell:
            logger.warning(
                "%s is for %s classes, this network for %s: its last layer stays random",
                *(location, classes, own),
            )
        weights |= last
    absent = _absent(network, weights, [tuple(last), *model.heads])
    if absent and not files.misfits(network, weights | absent):
        if tell or not set(absent) <= set(last):
            logger.warning(
                "%s has no head: %d weights of this network, from %s on, stay random",
                *(location, len(absent), next(iter(absent))),
            )
        weights |= absent
    files.put(network, weights, location)


def _absent(
    network: nn.Module, weights: Mapping[str, Tensor], parts: Sequence[str | tuple[str, ...]]
) -> dict[str, Tensor]:
    """The network's weights of those parts, by prefix, of which there is nothing in `weights`."""
    state = network.state_dict()
    missing = tuple(part for part in parts if not any(name.startswith(part) for name in weights))
    return {n: w for n, w in state.items() if any(n.startswith(part) for part in missing)}


def _last_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of the last layer, by their names in the network."""
    last = network.classifier
    assert isinstance(last, nn.Module)
    (path,) = (name for name, module in network.named_modules() if module is last)
    return {f"{path}.{name}": value for name, value in last.state_dict().items()}


def _num_classes(weights: Mapping[str, Tensor], last: Mapping[str, Tensor]) -> int | None:
    """C of a layer among the weights that differs from `last` in C at most; None if none does."""
    theirs = {name: weights[name].shape for name in last if name in weights}
    sizes = {shape[:1] for shape in theirs.values()}
    if len(sizes) != 1 or any(theirs.get(name, [])[1:] != w.shape[1:] for name, w in last.items()):
        return None
    return sizes.pop()[0]
