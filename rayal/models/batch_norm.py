"""Batch norm of a network in eval mode that is, for a while, as in train mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rayal.blame import BATCHES
from rayal.errors import UsageError

ALONE = "Expected more than 1 value per channel"
"""How torch begins to say that one image has no variance."""


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises by what it sees, and keeps nothing of that: as in train mode,
    but that running statistics stay as they are.

    Raises UsageError where it sees one image, whose features are single numbers.
    """
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    except ValueError as error:
        if ALONE not in str(error):
            raise
        raise UsageError(
            "a batch of one image cannot be normalised by itself, as `train` asks of batch norm;"
            f" raise {BATCHES}"
        ) from error
    finally:
        for norm, (training, tracks) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, tracks
