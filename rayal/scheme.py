"""The contract of a training scheme: how a model learns from labeled images, one step at a time.

B images of a batch on this worker, C classes, H W pixels; * is nothing for classification, H W
for segmentation. A *step* is one update of the weights; an *epoch* is one pass over the labeled
set, however many steps that takes.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from rayal.augment import Augment
from rayal.model import Outputs, computing
from rayal.parts import Component
from rayal.task import Task


class Batch(NamedTuple):
    """What one worker sees in one step."""

    images: Tensor  # B channels H W float, augmented and normalised
    labels: Tensor  # B *
    step: int
    """Steps done before this one, in this training."""
    steps: int
    """Steps of the whole training."""
    weight: float = 1.0
    """B times workers, over the size of the global batch: turns the mean over workers of their
    mean gradients into the mean over the global batch, also where they hold unequal parts."""

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1)."""
        return self.step / self.steps


class Companion(nn.Module, ABC):
    """A module trained beside the model; the learner adds its loss and updates its weights.

    Its weights follow the optimizer and the schedule of the scheme as a group of their own, which
    for SGD is the same as an optimizer of their own.
    """

    @abstractmethod
    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        """A scalar. `per_unit_loss` (B,) is the task's loss, detached; `outputs` are not."""

    def forward(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        """`loss`, by the door that a distributed wrapper watches."""
        return self.loss(outputs, per_unit_loss, progress)


class TrainingScheme(Component):
    """The numbers every scheme shares: length, optimizer (SGD), schedule and augmentation."""

    steps: PositiveInt | None = None
    """Length of one training in updates; null: counted in `epochs`."""
    epochs: PositiveInt | None = Field(
        default_factory=lambda given: None if given.get("steps") else 200
    )
    """Length of one training in passes over the labeled set: 200 where `steps` is null."""
    batch_size: int = Field(default=128, ge=2)
    """Images of one step, on all workers together."""
    lr: float = Field(default=0.1, gt=0)
    """Learning rate at the first step; the schedule multiplies it."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty on all weights, batch norm and biases included."""
    nesterov: bool = False
    """Nesterov's momentum instead of the classical one."""
    schedule: Literal["constant", "multistep", "cosine", "cosine_7_16"] = "multistep"
    """`multistep`: times `gamma` at each milestone; `cosine`: (1 + cos(pi t)) / 2, down to 0;
    `cosine_7_16`: cos(7 pi t / 16), down to 0.195 (UDA); t is the share of the training done."""
    milestones: tuple[PositiveInt, ...] = Field(
        default_factory=lambda given: (max(1, 4 * _length(given) // 5),)
    )
    """Epochs (or steps, where the length is in steps) after which `multistep` multiplies: one at
    80 % of the training unless given."""
    gamma: float = Field(default=0.1, gt=0)
    """Factor of `multistep`."""
    augment: Augment = Augment()
    """What happens to a training image before the model sees it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: forward and backward passes in bfloat16; weights and updates stay in float32."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"a training has either epochs ({self.epochs}) or steps ({self.steps}): "
                "give one and set the other to null"
            )
        if self.schedule == "multistep" and max(self.milestones, default=0) > self.length:
            unit = "epochs" if self.steps is None else "steps"
            raise ValueError(
                f"milestones {self.milestones} go beyond the training's {self.length} {unit}"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def length(self) -> int:
        """Epochs, or steps where the training is counted in steps."""
        return self.epochs or self.steps or 0

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps`; depends on nothing else."""
        progress = step / steps
        if self.schedule == "multistep":
            passed = step * self.length // steps  # in integers: exact on the milestone
            return self.lr * self.gamma ** sum(epoch <= passed for epoch in self.milestones)
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * progress)) / 2
        if self.schedule == "cosine_7_16":
            return self.lr * math.cos(math.pi * progress * 7 / 16)
        return self.lr

    @abstractmethod
    def start(self, model: nn.Module, task: Task, companion: Companion | None) -> "Learner":
        """A learner of this scheme around `model`, which is already on its device."""


class Learner:
    """One training in progress: the model, what updates it and how.

    A scheme's own learner overrides `loss` (another objective), `after_step` (a teacher that
    follows the model) or `step` (a second player), and extends `state_dict` by what it adds.
    """

    def __init__(
        self, scheme: TrainingScheme, model: nn.Module, task: Task, companion: Companion | None
    ) -> None:
        self.scheme, self.task, self.companion = scheme, task, companion
        self.model = model.train()
        """The network that evaluation and scoring use."""
        self.network = distributed(model)
        """What a forward pass goes through: the model, or the model shared by all workers."""
        self._noted: dict[str, Tensor] = {}
        parts = [model] if companion is None else [model, companion.train()]
        self._companion_loss = None if companion is None else distributed(companion)
        self.optimizer = torch.optim.SGD(
            [{"params": list(part.parameters())} for part in parts],
            lr=scheme.lr,
            momentum=scheme.momentum,
            weight_decay=scheme.weight_decay,
            nesterov=scheme.nesterov,
        )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update; returns what is worth plotting, as scalars: means over the batch."""
        self._noted = {}
        self.set_lr(batch)
        with computing(batch.images.device, self.scheme.precision):
            loss = self.loss(batch)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss * batch.weight)
        self.optimizer.step()
        self.after_step(batch)
        return {"loss": loss.detach(), **self._noted}

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise: here the mean task loss, plus the companion's."""
        return self.supervised_loss(self.network(batch.images), batch)

    def supervised_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean task loss of the labeled images, plus the companion's; notes the accuracy."""
        outputs = outputs._replace(logits=outputs.logits.float())
        per_unit = self.task.loss(outputs.logits, batch.labels)
        self.note(accuracy=(outputs.logits.argmax(1) == batch.labels).float().mean())
        loss: Tensor = per_unit.mean()
        if self._companion_loss is not None:
            loss = loss + self._companion_loss(outputs, per_unit.detach(), batch.progress)
        return loss

    def after_step(self, batch: Batch) -> None:
        """What follows an update, such as moving a teacher; nothing here."""

    def note(self, **values: Tensor) -> None:
        """Adds scalars to what this step returns."""
        self._noted |= {name: value.detach() for name, value in values.items()}

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_lr(self, batch: Batch) -> None:
        """Sets the learning rate of this step in every group."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.scheme.lr_at(batch.step, batch.steps)

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to continue as if it had never stopped."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.companion is not None:
            state["companion"] = self.companion.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a `state_dict` of the same scheme, model and companion."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.companion is not None:
            self.companion.load_state_dict(state["companion"])


def distributed(module: nn.Module) -> nn.Module:
    """The module with its gradients averaged over all workers of this training, if there are any.

    Batch norm normalises each worker's part by itself; its running statistics are worker 0's.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        return DistributedDataParallel(module)
    return module


def _length(given: dict[str, Any]) -> int:
    """`length` from the fields validated so far."""
    return given.get("epochs") or given.get("steps") or 1
