"""What somebody's file calls the weights of a network, by the network's own names."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Set

from torch import Tensor, nn

from rayal.errors import UsageError, counted, quoted, some
from rayal.models.base import Model
from rayal.models.wrapped import INSIDE

logger = logging.getLogger(__name__)


def in_own_names(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    model: Model,
    source: str,
    *,
    tell: bool = True,
) -> dict[str, Tensor]:
    """Weights with torchvision's names or the network's own, by its own; without `left_out`.

    What DataParallel, Lightning, torch.compile or a module around the network put before its names
    is found by trying: the prefix under which most of them are there. Weights outside of it are
    left out, with a warning where `tell`. Raises UsageError where no name is the network's under
    any prefix, or where as many are under several: then the file holds it more than once.
    """
    every = set(network.state_dict())
    own = [name for name in network.state_dict() if not name.endswith(".num_batches_tracked")]
    prefixes = _before(weights, len(own))
    tried = {prefix: _renamed(every, weights, model, prefix) for prefix in prefixes}
    there = {prefix: len(renamed.keys() & set(own)) for prefix, renamed in tried.items()}
    most = max(there.values())
    best, *others = [prefix for prefix, number in there.items() if number == most]
    others = [prefix for prefix in others if not _same(own, tried[best], tried[prefix])]
    if not most:
        also = f", also without {some(list(tried)[1:])} before them" if len(tried) > 1 else ""
        raise UsageError(
            f"{source}: its {len(weights)} weights, first {some(list(weights)[:3])}, have names"
            f" that {model.part_name()} has not{also}; this architecture's are {some(own[:3])}:"
            " give the file's own, or rename its weights"
        )
    if others:
        raise UsageError(
            f"{source} holds the network {1 + len(others)} times, under {some([best, *others])};"
            " save one of them alone"
        )
    outside = [name for name in weights if not name.startswith(best)]
    if outside and tell:
        logger.warning(
            "%s: the network is under %s; %s left out: %s",
            *(
                source,
                quoted(best),
                counted(len(outside), "weight beside it is", "weights beside it are"),
                some(outside),
            ),
        )
    return tried[best]


def _before(weights: Iterable[str], names: int) -> list[str]:
    """What half as many weights begin with as the network has `names`, and nothing at all."""
    counts = Counter(
        name[: place + 1] for name in weights for place, sign in enumerate(name) if sign == "."
    )
    return ["", *(prefix for prefix, count in counts.items() if 2 * count >= names)]


def _renamed(
    own: Set[str], weights: Mapping[str, Tensor], model: Model, prefix: str
) -> dict[str, Tensor]:
    renamed = dict[str, Tensor]()
    for name, weight in weights.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix):
            continue
        if inner in own:
            renamed[inner] = weight
        elif INSIDE + inner in own:
            renamed[INSIDE + inner] = weight
        elif not inner.startswith(model.left_out):
            renamed[_rename(inner, model.torchvision_prefixes)] = weight
    return renamed


def _same(own: Iterable[str], ones: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return all(ones.get(name) is others.get(name) for name in own)


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
