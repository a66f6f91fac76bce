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
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn

from rayal.data.tasks.base import ForTasks, Task, TaskName
from rayal.errors import counted
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.parts import Contradiction
from rayal.training.augment import Augment
from rayal.training.stopping_rule import StoppingRule

if TYPE_CHECKING:
    from rayal.training.learner import Learner

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


def _length(given: dict[str, Any]) -> int:
    """`length` from the fields validated so far."""
    return given.get("epochs") or given.get("steps") or 1
