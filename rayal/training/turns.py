"""Mirrorings and turns by right angles, which move pixels and change none.

N images, C channels, * their sides: 2 of pictures, 3 of volumes. All that a square or a cube can be
laid on itself by is an order of its axes and a choice of those that are mirrored: 8 ways for a
square, 48 for a cube. In half of them an even number of swaps and mirrorings comes together: these
are the turns, 4 and 24.
"""

import torch
from torch import Tensor

from rayal.models.device import sent

ORDER, MIRRORED = 2, 3
"""Random numbers of an image at most: for the order of its axes, for those that are mirrored."""
TURN_DRAWS = ORDER + MIRRORED


def turned(images: Tensor, draws: Tensor, *, mirror: bool, rotate: bool) -> Tensor:
    """Each image, N C *, after what its row of `draws` (N TURN_DRAWS, in [0, 1), CPU) decides.

    `mirror`: every axis by chance, 1/2 each. `rotate`: one of all turns, each as likely, for which
    all sides have to be equal. Both: one of all ways. On any device the same.
    """
    axes = range(2, images.ndim)
    swaps = _swaps(draws[:, :ORDER], len(axes)) if rotate else {}
    mirrored = draws[:, ORDER : ORDER + len(axes)] < 0.5
    if not mirror:
        odd = [*swaps.values(), *mirrored[:, :-1].T]
        mirrored[:, -1] = torch.stack(odd).sum(dim=0) % 2 == 1
    decided = sent(torch.stack([*swaps.values(), *mirrored.T]), images.device)
    decided = decided.view(*decided.shape, *[1] * (images.ndim - 1))
    for chosen, (first, second) in zip(decided, swaps, strict=False):
        images = torch.where(chosen, images.transpose(first + 2, second + 2), images)
    for chosen, axis in zip(decided[len(swaps) :], axes, strict=True):
        images = torch.where(chosen, images.flip(axis), images)
    return images


def _swaps(draws: Tensor, sides: int) -> dict[tuple[int, int], Tensor]:
    """Pairs of axes, and which images swap them, N, one pair after the other: every order of the
    axes is as likely (a shuffle by Fisher and Yates)."""
    found = dict[tuple[int, int], Tensor]()
    for first in range(sides - 1):
        other = first + (draws[:, first] * (sides - first)).long()
        found |= {(first, second): other == second for second in range(first + 1, sides)}
    return found
