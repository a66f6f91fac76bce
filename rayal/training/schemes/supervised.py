"""Supervised training: the task's loss on the labeled images and nothing else."""

from torch import nn

from rayal.data.tasks.base import Task
from rayal.models.companions.base import Companions
from rayal.training.base import TrainingScheme
from rayal.training.learner import Learner


class Supervised(TrainingScheme):
    """Minimises the mean task loss by SGD with momentum; uses the weights of the last epoch.

    With its defaults, and crop 4 and flip as augmentation, the protocol of the active-learning
    papers on CIFAR: 200 epochs, batches of 128, learning rate 0.1 divided by 10 at epoch 160.
    """

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return Learner(self, model, task, companions)
