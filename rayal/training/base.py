"""The contract of a training scheme: how a model learns from labeled images, one step at a time.

B images of a batch on this worker, C classes, H W pixels (of a dense task those of the crops that
training sees); * is nothing for classification, H W for segmentation. A *step* is one update of the
weights; an *epoch* is one pass over the labeled set, however many steps that takes. A scheme may
want *phases* between the epochs: passes over unlabeled images, whose updates are no steps, so that
length and schedule of a training are those of its labeled passes.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn

from rayal.data.tasks.base import ForTasks, Task, TaskName
from rayal.errors import UsageError, counted
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions, CompanionSpec, LearningCompanion
from rayal.models.device import Beside
from rayal.models.network import computing
from rayal.parts import Contradiction
from rayal.training.augment import Augment
from rayal.training.stopping_rule import StoppingRule

POLY_POWER = 0.9


class Batch(NamedTuple):
    """What one worker sees in one step."""

    images: Tensor  # B channels H W float, augmented and normalised
    labels: Tensor  # B *
    step: int
    """Steps done before this one, in this training."""
    steps: int
    """Steps of the whole training."""
    unlabeled: Tensor | None = None
    """Bu channels H W float, augmented and normalised: where the scheme asks for `unlabeled`."""
    weight: float = 1.0
    """B times workers, over the size of the global batch: turns the mean over workers of their
    mean gradients into the mean over the global batch, also where they hold unequal parts."""
    strong: Tensor | None = None
    """The same images as `unlabeled`, in its order, seen otherwise: where the scheme asks for a
    `strong` view."""
    phase: str | None = None
    """Which of `Unlabeled.phases` it belongs to; None: the labeled pass."""

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1)."""
        return self.step / self.steps


class Unlabeled(NamedTuple):
    """What a training sees of the unlabeled pool."""

    batch_size: int
    """Images of one step, on all workers together; a multiple of the workers."""
    fixed: bool = False
    """Every step sees the same images, each time augmented anew."""
    strong: Augment | None = None
    """How a second view of each image is made, with random numbers of its own; None: no second
    view. The first one is made as labeled images are, by the scheme's `augment`."""
    labeled_too: bool = False
    """Whether labeled images are among them, without their labels."""
    limit: int | None = None
    """How many images of the pool, drawn by seed and cycle: a run whose `candidates` are as many
    scores these afterwards. None: all."""
    phases: tuple[str, ...] = ()
    """Passes over these images, by name, in their order before every epoch but the first. Their
    batches have labeled images too, which go on turning, and the `step` of the batch that follows.
    (): no passes; each step sees unlabeled images beside the labeled ones."""

    def seen(self, images: int) -> int:
        """How many it sees where so many are unlabeled."""
        return images if self.limit is None else min(images, self.limit)

    def phase_batches(self, images: int) -> int:
        """Batches of each phase, of so many unlabeled images. All are full: the last one goes on
        with the first images of the pass that follows."""
        return -(-self.seen(images) // self.batch_size)

    def extra_updates(self, images: int, epochs: int) -> int:
        """Updates in the phases of a whole training."""
        return len(self.phases) * self.phase_batches(images) * (epochs - 1)


ADAMS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class TrainingScheme(ForTasks):
    """The numbers every scheme shares: length, optimizer, schedule and augmentation."""

    kind: ClassVar[str] = "schemes"
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    requires_warm: ClassVar[bool] = False
    """Whether it makes sense only where each cycle continues from the last one's weights."""
    memorises: ClassVar[bool] = False
    """Whether it is for models that memorise, and for no other."""

    steps: PositiveInt | None = None
    """Length of one training in updates; null: counted in `epochs`."""
    epochs: PositiveInt | None = Field(
        default_factory=lambda given: None if given.get("steps") else 200
    )
    """Length of one training in passes over the labeled set: 200 where `steps` is null.
    Null: counted in `steps`."""
    batch_size: int = Field(default=128, ge=2)
    """Images of one step, on all workers together."""
    lr: float = Field(default=0.1, gt=0)
    """Learning rate at the first step; the schedule multiplies it."""
    last_layer_lr: float = Field(default=1.0, gt=0, le=1e6)
    """The last layer learns this many times as fast (10 for DeepLab on pretrained weights)."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """What updates the weights: `sgd` with `momentum`; `adam` with betas `momentum` and 0.999; or
    `adamw`, the same with a weight decay that does not pass through the gradient's moments."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share of its last update that a weight moves on by; 0: none. With `adam` its first beta."""
    weight_decay: NonNegativeFloat = 5e-4
    """L2 penalty on all weights, batch norm and biases included; of `adamw` their decay."""
    nesterov: bool = False
    """Nesterov's momentum instead of the classical one."""
    schedule: Literal["constant", "multistep", "cosine", "cosine_7_16", "poly"] = "multistep"
    """How the learning rate falls. `multistep`: times `gamma` at each milestone; `cosine`: (1 +
    cos(pi t)) / 2, down to 0; `cosine_7_16`: cos(7 pi t / 16), down to 0.195 (UDA); `poly`: (1 -
    t)^0.9 (DeepLab); t is the share of the training done."""
    milestones: tuple[PositiveInt, ...] = Field(
        default_factory=lambda given: (max(1, 4 * _length(given) // 5),)
    )
    """Epochs (or steps, where the length is in steps) after which `multistep` multiplies: one at
    80 % of the training unless given."""
    gamma: float = Field(default=0.1, gt=0, le=10)
    """Factor of `multistep`."""
    augment: Augment = Augment()
    """What happens to a training image before the model sees it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of numbers in training and scoring: `fp32`, or `bf16`, forward and backward passes in
    bfloat16; weights and updates stay in float32."""
    early_stopping: StoppingRule | None = None
    """Whether labels that are held out of it may end a training before its length, whose best
    weights it then has: share, patience and min_delta. The schedule stays that of the whole length.
    Null: every label trains, and the last weights count."""

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
                f"milestones {self.milestones} go beyond the training's {self.length} {unit}; lower"
                " them, or leave them out"
            )
        if self.nesterov and (self.momentum == 0 or self.optimizer != "sgd"):
            raise ValueError(
                "nesterov needs optimizer sgd and a momentum above 0; use both, or not it"
            )
        return self

    @property
    def length(self) -> int:
        """Epochs, or steps where the training is counted in steps."""
        return self.epochs or self.steps or 0

    def told(self) -> str:
        """`supervised, 40 epochs, lr 0.02 (multistep), batches of 32`."""
        unit = "steps" if self.steps else "epochs"
        told = (
            f"{self.part_name()}, {self.length} {unit}, lr {self.lr:g} ({self.schedule}), batches"
            f" of {self.batch_size}"
        )
        if (rule := self.early_stopping) is None:
            return told
        return (
            f"{told}; at most: {rule.share:.0%} of the labels are held out, and end a training"
            f" after {counted(rule.patience, 'epoch')} without a better one"
        )

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
        if self.schedule == "poly":
            return self.lr * math.pow(1 - progress, POLY_POWER)
        return self.lr

    def companions(self) -> tuple[CompanionSpec, ...]:
        """What the scheme itself trains with beside the model."""
        return ()

    def unlabeled(self, cycle: int) -> Unlabeled | None:
        """What it sees of the unlabeled pool in this cycle; None for nothing."""
        return None

    def contradictions(self, task: Task, start: str, workers: int) -> Iterator[Contradiction]:
        """What cannot work with this task, start of each cycle and number of training workers."""
        if task.dense and (self.augment.crop or self.augment.policy):
            yield Contradiction(
                ("scheme", "augment"),
                "crop and policy cannot move masks; use window in place of both",
            )
        if self.requires_warm and start == "cold":
            yield Contradiction(
                ("start",),
                f"scheme {self.part_name()!r} continues from the last cycle; use warm",
            )
        if task.dense and self.early_stopping:
            yield Contradiction(
                ("scheme", "early_stopping"), "is for classes, and these are masks; set it to null"
            )
        size = wanted.batch_size if (wanted := self.unlabeled(1)) else None
        if size is not None and (size % workers or size < 2 * workers):
            fitting = [n for n in range(1, workers) if size % n == 0 and size >= 2 * n]
            yield Contradiction(
                ("compute", "train_workers"),
                f"{workers} cannot share an unlabeled batch of {size} equally, two images or more"
                f" each; use {fitting[-1] if fitting else 'a larger batch'}",
            )

    @abstractmethod
    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> "Learner":
        """A learner of this scheme around `model`; all are already on their device."""


class Learner:
    """One training in progress: the model, what updates it and how.

    A scheme's own learner overrides `loss` or `per_unit_loss` (another objective) or `step` (a
    second player); what it keeps between steps belongs into a companion.
    """

    def __init__(
        self,
        scheme: TrainingScheme,
        model: nn.Module,
        task: Task,
        companions: Companions,
    ) -> None:
        self.scheme, self.task, self.companions = scheme, task, companions
        self.model = model.train()
        """The network that evaluation and scoring use."""
        self.network = parallel.averaging(model)
        """What a forward pass goes through: the model, or the model shared by all workers."""
        self.beside = Beside()
        """Where a GPU may do what the step's own forward passes need not wait for."""
        self._noted: dict[str, Tensor] = {}
        self._companion_losses = {
            name: parallel.averaging(companion.train())
            for name, companion in companions.named().items()
            if isinstance(companion, LearningCompanion)
        }

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of all that is trained; a group's `scale` multiplies the scheme's learning rate, which
        falls for those that are not `constant`."""
        x, parts = self.scheme, [(self.model, 1.0, False)]
        parts += [(c, 1.0, not c.follows_schedule) for c in self.companions]
        if x.last_layer_lr != 1:
            last: Any = self.model.classifier
            parts.insert(0, (last, x.last_layer_lr, False))
        groups, seen = list[dict[str, Any]](), set[Tensor]()
        for part, scale, constant in parts:
            fresh = [p for p in part.parameters() if p.requires_grad and p not in seen]
            seen.update(fresh)
            if fresh:
                groups.append({"params": fresh, "scale": scale, "constant": constant})
        fused = fused_on(self.model)
        if (adam := ADAMS.get(x.optimizer)) is not None:
            betas = (x.momentum, 0.999)
            return adam(groups, lr=x.lr, betas=betas, weight_decay=x.weight_decay, fused=fused)
        return torch.optim.SGD(
            groups,
            lr=x.lr,
            momentum=x.momentum,
            weight_decay=x.weight_decay,
            nesterov=x.nesterov,
            fused=fused,
        )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update; returns what is worth plotting, as scalars: means over the batch."""
        self._noted = {}
        self.set_lr(batch)
        with computing(batch.images.device, self.scheme.precision):
            loss = self.loss(batch)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise self._broken("loss", loss, "a scalar tensor that depends on the weights")
        self.optimizer.zero_grad()
        torch.autograd.backward(loss if batch.weight == 1 else loss * batch.weight)
        self.optimizer.step()
        parallel.share_buffers(self.model)
        for companion in self.companions:
            companion.after_step(self.model)
        return {"loss": loss.detach(), **self._noted}

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise: here the mean task loss, plus the companions'."""
        return self.supervised_loss(self.network(batch.images), batch)

    def supervised_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean loss of the labeled images, plus the companions'; notes these, and the accuracy.

        All workers have to call it in every step.
        """
        outputs = outputs._replace(logits=outputs.logits.float())
        for companion in self.companions:
            companion.observe(outputs, batch.labels)
        per_unit = self.per_unit_loss(outputs, batch)
        if not isinstance(per_unit, Tensor) or per_unit.shape != (len(batch.labels),):
            raise self._broken("per_unit_loss", per_unit, f"{len(batch.labels)} losses, (B,)")
        self.note(accuracy=self.task.accuracy(outputs.logits, batch.labels))
        loss = self._mean(per_unit, self.unit_weights(outputs, batch), batch)
        for name, companion_loss in self._companion_losses.items():
            beside = companion_loss(outputs, per_unit.detach(), batch.progress)
            self.note(**{f"{name}_loss": beside})
            loss = loss + beside
        return loss

    def _broken(self, method: str, value: object, wanted: str) -> UsageError:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]
        return UsageError(
            f"scheme {self.scheme.part_name()!r}: {method}() returned {given}; return {wanted}"
        )

    def per_unit_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """One loss per labeled image, (B,): the task's."""
        return self.task.loss(outputs.logits, batch.labels)

    def unit_weights(self, outputs: Outputs, batch: Batch) -> Tensor | None:
        """How much each labeled image counts in the mean, (B,), without gradient: the task's
        weights. None: all alike."""
        return self.task.weights(batch.labels)

    def _mean(self, per_unit: Tensor, weights: Tensor | None, batch: Batch) -> Tensor:
        """Mean of (B,), each image counted by its weight, a scalar; 0 where no image counts.

        Times `Batch.weight`, and then averaged over workers, it is that of the global batch.
        """
        if weights is None:
            return per_unit.mean()
        # parts of equal size may hold unequal numbers of labels
        total = parallel.total(weights.sum())
        share = (per_unit * weights).sum() / torch.where(total > 0, total, 1.0)
        return share * (parallel.workers() / batch.weight)

    def note(self, **values: Tensor) -> None:
        """Adds scalars to what this step returns."""
        self._noted |= {name: value.detach() for name, value in values.items()}

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        first = self.optimizer.param_groups[0]
        return float(first["lr"] / first["scale"])

    def set_lr(self, batch: Batch) -> None:
        """Sets the learning rate of this step in every group."""
        for group in self.optimizer.param_groups:
            step = 0 if group.get("constant") else batch.step  # no key: an older checkpoint's group
            group["lr"] = group["scale"] * self.scheme.lr_at(step, batch.steps)

    def learned(self) -> dict[str, Any]:
        """What a training is for: the model, and what lives beside it. It goes on changing."""
        beside = {name: each.state_dict() for name, each in self.companions.named().items()}
        return {"model": self.model.state_dict(), "companions": beside}

    def load_learned(self, state: dict[str, Any]) -> None:
        """Puts both where `learned` had them."""
        self.model.load_state_dict(state["model"])
        for name, companion in self.companions.named().items():
            companion.load_state_dict(state["companions"][name])

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to continue as if it had never stopped."""
        return {**self.learned(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a `state_dict` of the same scheme, model and companions."""
        self.load_learned(state)
        self.optimizer.load_state_dict(state["optimizer"])


def fused_on(module: nn.Module) -> bool | None:
    """How an optimizer of its weights is told to update all of them in one kernel: on a GPU. None
    leaves it to torch, as on a CPU."""
    return all(weight.is_cuda for weight in module.parameters()) or None


def _length(given: dict[str, Any]) -> int:
    """`length` from the fields validated so far."""
    return given.get("epochs") or given.get("steps") or 1
