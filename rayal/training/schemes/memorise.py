"""The labeled set as it is: for models that answer by what they remember.

Source: Cover and Hart, "Nearest Neighbor Pattern Classification" (IEEE Trans. Inf. Theory, 1967).
"""

from typing import Any, ClassVar, Self, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from rayal.data.tasks.base import Task, TaskName
from rayal.models import parallel
from rayal.models.companions.base import Companions
from rayal.models.memory import Memory
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner

SET = ("batch_size",)
"""Of the fields of all schemes those that say something here."""


class Memorise(TrainingScheme):
    """Shows a model that memorises every labeled unit once; there is nothing to minimise.

    Loss and accuracy are of units before they are remembered, by those that were shown before them:
    in an order of chance, so they say how well the model does with half of the labels.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification"})
    memorises: ClassVar[bool] = True

    epochs: PositiveInt | None = 1
    """One pass over the labeled set; null and other lengths are refused."""
    batch_size: int = Field(default=1024, ge=2)
    """Units that are remembered at a time, on all workers together; changes nothing but the loss
    that is shown."""

    @model_validator(mode="after")
    def _nothing_else(self) -> Self:
        fields, given = type(self).model_fields, vars(self)
        idle = [
            name
            for name, field in fields.items()
            if name not in SET
            and given[name] != field.get_default(call_default_factory=True, validated_data=given)
        ]
        if idle:
            raise ValueError(
                f"memorise trains nothing, so that {', '.join(idle)} would say nothing; leave out"
                f" all but {', '.join(SET)}"
            )
        return self

    def told(self) -> str:
        return f"{self.part_name()}, every label once, {self.batch_size} at a time"

    def start(self, model: nn.Module, task: Task, companions: Companions, cycle: int) -> Learner:
        return _Memorising(self, model, task, companions)


class _Memorising(Learner):
    """Without an optimizer: its state is what the model remembers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.memory = cast(Memory, self.model.classifier)
        self.memory.forget()

    @torch.no_grad()
    def step(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.model(batch.images)
        noted = {
            "loss": self.task.loss(outputs.logits, batch.labels).mean(),
            "accuracy": self.task.accuracy(outputs.logits, batch.labels),
        }
        self.memory.remember(*parallel.rows(outputs.features, batch.labels))
        if batch.step + 1 == batch.steps:
            self.memory.settle()
        return noted

    @property
    def lr(self) -> float:
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        return self.learned()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.load_learned(state)
