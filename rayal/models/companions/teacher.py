"""Teachers: a second network that follows the model, or stays where the model once was.

Source: Tarvainen & Valpola, "Mean teachers" (NeurIPS 2017); as used by Huang et al., "Temporal
Output Discrepancy" (ICCV 2021), Sec. 4, and its official code siyuhuang/TOD, 883494b.
"""

import copy
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rayal.models.companions.average import follow, share
from rayal.models.companions.base import Companion, CompanionSpec


class Teacher(Companion):
    """Holds `network`, which gets no gradients; what moves it is the subclass's business.

    It normalises by its own batches while it teaches, as the student does: with running statistics,
    which lag behind, the two pull each other out of scale (on the digits the loss of `tod` then
    overflows). These it keeps for scoring, untouched by what it teaches. All else is in eval mode.
    """

    def __init__(self, network: nn.Module, *, own_statistics: bool = False) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).train(own_statistics)
        if own_statistics:
            return
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.train()
                module.track_running_stats = False

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """What the teacher says, N C *, float32; without gradients."""
        logits: Tensor = self.network(images).logits
        return logits.float()


class EmaTeacher(Teacher):
    """w~ <- a w~ + (1 - a) w after every update of the model's weights w.

    Counters of batches stay as they are: evaluation does not read them.
    """

    def __init__(self, network: nn.Module, spec: "EmaTeacherSpec") -> None:
        super().__init__(network, own_statistics=spec.batch_norm == "own")
        self.spec = spec
        self.updates = 0
        """Of the whole run, where its cycles start warm."""

    def alpha(self) -> float:
        """The share of itself that the teacher keeps at the update numbered `updates`, from 1."""
        return share(self.updates, self.spec.alpha, ramp=self.spec.ramp)

    def after_step(self, model: nn.Module) -> None:
        self.updates += 1
        statistics = self.spec.batch_norm == "averaged"
        follow(self.network, model, self.alpha(), statistics=statistics)

    def get_extra_state(self) -> Tensor:
        """`updates`, which the weights' file and the checkpoints keep; a tensor, as they want."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        self.updates = int(state)


class EmaTeacherSpec(CompanionSpec):
    """An exponential moving average of the model."""

    name: ClassVar[str] = "teacher"

    alpha: float = Field(default=0.999, ge=0, le=1)
    """Share of itself that the teacher keeps at each update. Without `ramp` it stays near its start
    for about 1 / (1 - alpha) updates: a training has to be a good deal longer."""
    ramp: bool = True
    """How that share grows. True (official): min(1 - 1 / (t + 1), alpha) at the t-th update of the
    run, at first a mean; false is the paper's text, where short trainings are taught by nearly
    their own first weights."""
    start: Literal["copy", "random"] = "copy"
    """What it is made from: a `copy` of the model's first weights, or (official) `random` weights
    of its own."""
    batch_norm: Literal["averaged", "own"] = "averaged"
    """Running statistics, for scoring: those of the model, `averaged` like weights; or (official)
    its `own`, with all of it in train mode, dropout too. These stay at their start where the scheme
    never asks the teacher (`supervised`): it is then of no use."""

    @property
    def filled_by_scheme(self) -> bool:
        return self.batch_norm == "own"

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> EmaTeacher:
        network = fresh() if self.start == "random" else copy.deepcopy(model)
        return EmaTeacher(network, self)


class FrozenTeacher(Teacher):
    """The model as it was when its training began."""

    def begin(self, model: nn.Module) -> None:
        self.network.load_state_dict(model.state_dict())


class FrozenTeacherSpec(CompanionSpec):
    """The last cycle's model, where cycles start warm."""

    name: ClassVar[str] = "teacher"

    def build(
        self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]
    ) -> FrozenTeacher:
        return FrozenTeacher(copy.deepcopy(model))
