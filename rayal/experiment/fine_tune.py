"""One training of a whole network on the labels that a run has bought, after its last cycle."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from rayal.data.datasets.base import Dataset
from rayal.data.tasks.base import Task
from rayal.models.base import Model
from rayal.parts import Contradiction, Part, with_usual_names
from rayal.settings import Settings
from rayal.training.base import TrainingScheme


class FineTune(Settings):
    """What is trained once, on the images of all labeled units, when the budget is spent.

    The labels that a small model chose may rank strategies differently in a large one: so both
    figures stand in a report. Nothing that is chosen depends on it.
    """

    dataset: Annotated[Dataset, Part("datasets")] | None = None
    """The images, under the ids of the run's units; null: those that `rayal features` looked at, or
    where the run itself is on images, the run's own."""
    model: Annotated[Model, Part("models")] | None = None
    """The network, from its `pretrained` weights where it has some; null: the network that `rayal
    features` looked with, from its weights, but for its last layer, which is drawn anew."""
    scheme: Annotated[TrainingScheme, Part("schemes")] = Field(
        default="supervised", validate_default=True
    )
    """How the network is trained, and for how long."""

    @model_validator(mode="before")
    @classmethod
    def _of_usual_parts(cls, given: Any) -> Any:
        return with_usual_names(cls, given)

    def contradictions(self, task: Task, workers: int) -> Iterator[Contradiction]:
        """What cannot work whatever the data, by keys of the experiment."""
        parts = {"dataset": self.dataset, "model": self.model, "scheme": self.scheme}
        for name, part in parts.items():
            if part is not None and (problem := part.misplaced(task)):
                yield Contradiction(("fine_tune", name), problem)
        for key, problem in self.scheme.contradictions(task, "cold", workers):
            if key == ("start",):
                yield Contradiction(
                    ("fine_tune", "scheme"),
                    f"{self.scheme.part_name()!r} continues from the weights of a last cycle, and"
                    " here are none; use another scheme",
                )
            else:
                own = key[0] in type(self).model_fields
                yield Contradiction(("fine_tune", *key) if own else key, problem)
