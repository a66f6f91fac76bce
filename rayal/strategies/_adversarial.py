"""What VAAL, TA-VAAL and SRAAL have in common as strategies: a fitted discriminator is asked."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.models.companions.variational import LatentJudge
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class AdversarialStrategy(Strategy):
    """Images first that a discriminator takes least for labeled ones."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})
    score_mode: Literal["eval", "train"] = "eval"
    """What batch norm of the encoder normalises by when candidates are scored: in `eval` its
    running statistics; in `train` (official) the batch itself. What is chosen then depends on
    `compute.score_batch` and `shard_rows`, on the order of the pool, and on the images that fill up
    the last batch of a shard: a score means something beside those of its batch alone."""

    @torch.no_grad()
    def unlike(self, judge: LatentJudge, s: Signals, beside: Tensor | None = None) -> Tensor:
        """N, the discriminator's logits with the other sign; `beside` N K."""
        logits: Tensor = judge(s.images, beside, batch_statistics=self.score_mode == "train")
        return -logits
