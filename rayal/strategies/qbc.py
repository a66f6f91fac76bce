"""Query by committee: Jensen-Shannon divergence of an ensemble (Kuo et al., "Cost-Sensitive Active
Learning for Intracranial Hemorrhage Detection", MICCAI 2018).

The paper sums the divergence of pixels over the most uncertain patches of an image, and buys the
images with the largest sum of these that a budget of labeling time allows, a 0-1 knapsack.

Differences, and what the paper leaves open:
- It predicts labeling time by a regression on the boundaries and components of the predicted mask,
  fitted to the times of its annotators. Here a unit costs what the oracle says, in the budget's
  unit. Where all cost the same, the highest are taken: as in TOD, DAST-AL and SRAAL, which compare
  with it so.
- It gives neither the size of patches nor their number. The defaults are 32 pixels and 10: of an
  image of VOC a tenth to a twentieth, and nearly all of one of 120x90.
- Patches lie side by side, from the top left corner on; those at the other edges are smaller.
- The knapsack fills the budget of one cycle; images that are left out are offered again.

For classification an image has one divergence.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rayal.data.tasks.base import TaskName
from rayal.selection.candidates import Candidates, ranking
from rayal.selection.knapsack import most_valuable
from rayal.signals.batch import Signals
from rayal.signals.committee import disagreement
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Qbc(Strategy):
    """H(mean_t p_t) - mean_t H(p_t) over the members t, in nats: 0 when all agree, at most ln C.

    Of a dense task its sum over the pixels of the most uncertain patches.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"ensemble_log_probs"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    patch: PositiveInt = 32
    """Side of a patch, in pixels of the images that networks see (dense tasks)."""
    top: PositiveInt = 10
    """How many patches of an image count (dense tasks)."""

    def score(self, s: Signals) -> Tensor:
        divergence = disagreement(s.ensemble_log_probs)
        if divergence.ndim == 1:
            return divergence
        if s.valid is not None:
            divergence = divergence.masked_fill(~s.valid, 0)
        return most_uncertain(divergence, self.patch, self.top)

    def ranks(self, one_price: bool = True) -> bool:
        return one_price  # else a knapsack is filled

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        assert pool.scores is not None
        if (pool.costs == pool.costs[:1]).all():
            return super().select(pool, budget, rng)
        order = ranking(pool.ids, pool.scores, rng)
        found = most_valuable(pool.scores[order], pool.costs[order], budget)
        if pool.overshoot and pool.costs[order[found]].sum() < budget:
            rest = np.setdiff1d(np.arange(len(order)), found)
            found = np.concatenate([found, rest[:1]])  # the best that is left exceeds it
        return pool.ids[order[found]]


def most_uncertain(values: Tensor, side: int, top: int) -> Tensor:
    """N: the sum of the `top` largest sums over patches, of one number per pixel, N H W."""
    sums = avg_pool2d(values[:, None], side, ceil_mode=True, divisor_override=1).flatten(1)
    return sums.topk(min(top, sums.shape[1]), dim=1).values.sum(dim=1)
