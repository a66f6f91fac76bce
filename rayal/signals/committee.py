"""What several predictions for the same units agree on: those of an ensemble's members, or of
forward passes with dropout.

S predictions, N units, C classes; * is nothing for classification, H W for segmentation. All
results are float64: differences of entropies are small, and scores must not tie by rounding.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from rayal.signals.batch import entropy

TieBreak = Literal["random", "entropy"]


def mean_log_probs(log_probs: Tensor) -> Tensor:
    """The logarithm of the mean probability, S N C * -> N C *."""
    return log_probs.double().logsumexp(dim=0) - math.log(len(log_probs))


def mean_entropy(log_probs: Tensor) -> Tensor:
    """The mean of the S entropies, S N C * -> N *, in nats: what each one is unsure of."""
    return torch.stack([entropy(each) for each in log_probs.double()]).mean(dim=0)


def disagreement(log_probs: Tensor) -> Tensor:
    """The Jensen-Shannon divergence, S N C * -> N *, in nats: the entropy of the mean less the mean
    of the entropies. Exactly 0 where all say the same, for the rounding of two entropies would put
    such units in an order; at most ln min(S, C), and never less than 0."""
    alike = (log_probs == log_probs[:1]).all(dim=2).all(dim=0)
    divergence = entropy(mean_log_probs(log_probs)) - mean_entropy(log_probs)
    return divergence.clamp(min=0).masked_fill(alike, 0)


def variation_ratio(log_probs: Tensor, tie_break: TieBreak = "random") -> Tensor:
    """The share of the S predicted classes that differ from the most frequent one, S N C * -> N *.

    Only S values are possible: 0, 1/S, ... 1 - 1/S. They are left as they are with `random`; with
    `entropy`, h / (1 + h) of a vote is added, h the entropy of the mean prediction: less than what
    separates two values.
    """
    votes = log_probs.argmax(dim=2)
    against = (votes != votes.mode(dim=0).values).sum(dim=0).double()
    against[log_probs.isnan().any(dim=2).any(dim=0)] = math.nan  # argmax would vote all the same
    if tie_break == "entropy":
        h = entropy(mean_log_probs(log_probs))
        against = against + h / (1 + h)
    return against / len(votes)
