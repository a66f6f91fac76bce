"""Query by committee: Jensen-Shannon divergence of an ensemble (Kuo et al., "Cost-Sensitive Active
Learning for Intracranial Hemorrhage Detection", MICCAI 2018).

The paper sums the divergence over the most uncertain patches of an image, and fills a budget of
labeling time. For classification, as where TOD, DAST-AL and SRAAL compare with it, an image has one
divergence and the budget is a count: the highest are taken.
"""

from typing import ClassVar

from torch import Tensor

from rayal.committee import disagreement
from rayal.signals import SignalName, Signals
from rayal.strategy import Strategy


class QBC(Strategy):
    """H(mean_t p_t) - mean_t H(p_t) over the members t, in nats: 0 when all agree, at most ln C."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"ensemble_log_probs"})

    def score(self, s: Signals) -> Tensor:
        return disagreement(s.ensemble_log_probs)
