"""Supervised training: the task's loss on the labeled images and nothing else.

Source of `train_mode: first_step`: the official code of VAAL (sinhasam/vaal, 67263f3), which
validates at the first step of a training, for which the model goes into eval mode, and stays there.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from rayal.data.tasks.base import Task
from rayal.models.companions.base import Companions
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner


class Supervised(TrainingScheme):
    """Minimises the mean task loss by SGD with momentum; uses the weights of the last epoch.

    With its defaults, and crop 4 and flip as augmentation, the protocol of the active-learning
    papers on CIFAR: 200 epochs, batches of 128, learning rate 0.1 divided by 10 at epoch 160.
    """

    # Left out where it is `whole`: runs that began before it was there have none.
    train_mode: Literal["whole", "first_step"] = Field(
        default="whole", exclude_if=lambda part: part == "whole"
    )
    """How long the model is in train mode, in which batch norm goes by the batch and dropout is on:
    the `whole` training; or its `first_step` (VAAL's code), after which weights alone are trained:
    running statistics stay as that step has left them, and nothing is dropped any more."""

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        kind = Learner if self.train_mode == "whole" else EvalAfterFirstStep
        return kind(self, model, task, companions)


class EvalAfterFirstStep(Learner):
    """The model is in eval mode in every step but the first of the training."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        self.model.train(batch.step == 0)
        return super().step(batch)
