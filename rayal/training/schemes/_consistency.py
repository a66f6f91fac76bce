"""What `tod` and `cyclic_od` share: a student whose logits are pulled to those of a teacher.

B labeled and Bu unlabeled images of a batch on this worker, C classes, D pooled features.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from rayal.data.tasks.base import Task
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import Companion, Companions, CompanionSpec
from rayal.models.companions.teacher import Teacher
from rayal.models.network import last_layer
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner


class Consistency(TrainingScheme):
    """The fields of a scheme that adds such a pull to the task's loss."""

    weight: NonNegativeFloat = 0.05
    """Weight of the consistency term, lambda; the task's loss has 1."""
    unlabeled_batch_size: int = Field(default=128, ge=2)
    """Unlabeled images of one step, on all workers together."""
    heads: Literal[1, 2] = 1
    """Last layers that are pulled. 1: the student's logits are pulled to the teacher's; 2
    (official): those of a second linear head on the same features are, and the two heads of the
    student to each other."""
    use_labeled: bool = False
    """Whether the labeled images are pulled too (official: true)."""
    reduction: Literal["sum", "mean"] = "sum"
    """Squared differences of one image: their sum over the classes, or (official) their mean,
    which for the same `weight` pulls C times less."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        """The second head; the scheme adds its teacher."""
        return (ConsistencyHeadSpec(),) if self.heads == 2 else ()


class ConsistencyLearner(Learner):
    """Task loss on the labeled images + weight * squared distance of the student to the teacher.

    Without unlabeled images (a pool that is all labeled) only the labeled terms are left.
    """

    def __init__(
        self,
        scheme: Consistency,
        model: nn.Module,
        task: Task,
        companions: Companions,
        teacher: Teacher,
    ) -> None:
        super().__init__(scheme, model, task, companions)
        self.consistency = scheme
        self.teacher, head = teacher, companions.get(ConsistencyHeadSpec)
        self.head = parallel.averaging(head) if head is not None else None

    def loss(self, batch: Batch) -> Tensor:
        self.beside.follow()  # the teacher has moved, and the images are ready
        outputs = self.network(batch.images)
        loss = self.supervised_loss(outputs, batch)
        pulls = []
        if self.consistency.use_labeled:
            pulls.append(self.pull(outputs, batch.images))
        if batch.unlabeled is not None:
            # a forward of its own: batch norm never mixes labeled and unlabeled images
            pull = self.pull(self.network(batch.unlabeled), batch.unlabeled)
            pulls.append(pull / batch.weight)  # equal parts on all workers: undoes `step`'s weight
        if not pulls:
            return loss
        consistency = torch.stack(pulls).sum()
        self.note(consistency=consistency)
        return loss + self.consistency.weight * consistency

    def pull(self, outputs: Outputs, images: Tensor) -> Tensor:
        """The scalar distance to the teacher of what the student says of `images`."""
        with self.beside.work():
            teacher = self.teacher.logits(images)
        student, teacher = outputs.logits.float(), self.beside.joined(teacher)
        if self.head is None:
            return self.distance(student, teacher)
        second = self.head(outputs).float()
        return self.distance(student, second) + self.distance(second, teacher)

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """Mean over images and positions of the squared distance of two N C *, with gradients into
        both."""
        squares = (one - other).square()
        return squares.mean() if self.consistency.reduction == "mean" else squares.sum(1).mean()


class ConsistencyHead(Companion):
    """A second last layer, on what the model's own reads."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, outputs: Outputs) -> Tensor:
        dense = outputs.logits.ndim > 2
        logits: Tensor = self.linear(outputs.layers[-1] if dense else outputs.features)
        return logits


class ConsistencyHeadSpec(CompanionSpec):
    """Of the same kind and size as the model's own last layer, with other random weights."""

    name: ClassVar[str] = "consistency_head"

    @property
    def changes_training(self) -> bool:
        return True

    def build(
        self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]
    ) -> ConsistencyHead:
        last = last_layer(model)
        if isinstance(last, nn.Linear):
            return ConsistencyHead(nn.Linear(last.in_features, classes))
        if isinstance(last, nn.Conv2d):
            return ConsistencyHead(nn.Conv2d(last.in_channels, classes, 1))
        return ConsistencyHead(fresh().classifier)  # type: ignore[arg-type]
