"""What strategies have in common that ask one model several times, each time with dropout on."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class DropoutStrategy(Strategy):
    """Compares passes through the model in which other features are dropped."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"mc_log_probs"})
    # Left out where it is `eval`: runs that began before it was there have none.
    batch_norm: Literal["eval", "train"] = Field(
        default="eval", exclude_if=lambda mode: mode == "eval"
    )
    """What batch norm normalises by in these passes: in `eval` its running statistics; in `train`
    (codes that turn dropout on by `model.train()`) the batch itself. What is chosen then depends on
    `compute.score_batch` and `shard_rows`, on the order of the pool, and on the images that fill up
    the last batch of a shard. The running statistics, which those codes move, stay as they are."""

    def sampled(self, s: Signals, passes: int) -> Tensor:
        """S N C *: the log softmax of so many passes."""
        return s.mc_log_probs(passes, batch_statistics=self.batch_norm == "train")
