"""The contract of a companion: a module that lives beside the model.

A teacher that follows the model, class statistics of its features, a head that predicts its loss:
a scheme or a strategy asks for them by a `CompanionSpec`. Where both ask for the same one it is
there once. A companion is saved with the weights, continued by a warm start, and read by scoring.
Others are made after the training, of labeled units and candidates: see `training/fits`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Protocol, TypeVar, cast

from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import SEEN, Outputs
from rayal.settings import Settings

_PREFIX, _SUFFIX = "companion-", ".safetensors"


def file_name(companion: str) -> str:
    """What the file of a companion's weights is called, beside that of the model's."""
    return f"{_PREFIX}{companion}{_SUFFIX}"


def name_of(file: str) -> str | None:
    """The companion whose weights are in a file of this name; None where it is no such file."""
    if not (file.startswith(_PREFIX) and file.endswith(_SUFFIX)):
        return None
    return file.removeprefix(_PREFIX).removesuffix(_SUFFIX)


class Companion(nn.Module):
    """A module beside the model. Its trainable parameters are updated with the model's, as a group
    of their own, which for SGD is the same as an optimizer of their own."""

    follows_schedule: bool = True
    """Whether their learning rate falls with the model's, or stays where the schedule begins."""

    def begin(self, model: nn.Module) -> None:
        """A training begins with `model`. Where it continues from a checkpoint, what this sets in
        the state is overwritten by the checkpoint afterwards."""

    def observe(self, outputs: Outputs, labels: Tensor) -> None:
        """What the model says of this worker's labeled batch, before its loss is computed."""

    def after_step(self, model: nn.Module) -> None:
        """The weights of `model` have been updated."""

    def end(self, model: nn.Module) -> None:
        """The training is over: what `model` holds after this is evaluated, scored with, and what
        a warm start begins with. Called before the companions are saved."""


class LearningCompanion(Companion, ABC):
    """One that learns from a loss of its own, which every scheme adds to its own."""

    @abstractmethod
    def loss(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        """A scalar. `per_unit_loss` (B,) is the task's loss, detached; `outputs` are not.
        `progress` is the share of the training done, in [0, 1)."""

    def forward(self, outputs: Outputs, per_unit_loss: Tensor, progress: float) -> Tensor:
        """`loss`, by the door that a distributed wrapper watches."""
        return self.loss(outputs, per_unit_loss, progress)


class EmbeddingCompanion(Companion, ABC):
    """One that puts units into a space of its own."""

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """N D, the model's features -> N E, float32."""


class Spec(Settings):
    """What a companion is made of: two specs that are equal ask for the same one."""

    name: ClassVar[str]
    """What it is called in the run folder and in messages; rayal finds it by the type of its spec.
    """
    dimensions: ClassVar[frozenset[int]] = frozenset(SEEN)
    """How many sides the images may have: 2 of pictures, 3 of volumes, 0 of vectors."""

    def takes(self, image: ImageSpec) -> str | None:
        """None, or why it can do nothing with images of so many sides (checked before a run)."""
        if (sides := len(image.sides)) in self.dimensions:
            return None
        taken = " or ".join(SEEN[number] for number in sorted(self.dimensions))
        return f"the {self.name} takes {taken}, and these are {SEEN[sides]}; use another strategy"

    def accepts(self, height: int, width: int) -> str | None:
        """None, or why it can do nothing with images of this size in pixels (checked before a run):
        the windows that a training sees and, where a strategy asks for it, whole images."""
        return None


class EmbeddingSpec(Spec, ABC):
    """Of an `EmbeddingCompanion`."""

    width: int
    """E: how many numbers its embedding of a unit has."""

    @abstractmethod
    def build(self, *args: Any, **kwargs: Any) -> EmbeddingCompanion:
        """As of the spec that this is besides: of a `CompanionSpec`, or of a fit."""


class CompanionSpec(Spec, ABC):
    """Of a companion that is there from the beginning of a training to its end."""

    @property
    def changes_training(self) -> bool:
        """Whether the model learns otherwise with it than without: observers may not ask then."""
        return False

    @property
    def filled_by_scheme(self) -> bool:
        """Whether it is of no use unless the scheme itself trains with it."""
        return False

    @abstractmethod
    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> Companion:
        """A companion for `model`, on the CPU, drawn from torch's global generator; `fresh` makes
        another network of the same architecture, with random weights: the same at every call."""


C = TypeVar("C", bound=Companion)
C_co = TypeVar("C_co", bound=Companion, covariant=True)


class Makes(Protocol[C_co]):
    """A `Spec` of companions of this class."""

    def build(self, *args: Any, **kwargs: Any) -> C_co: ...


class Companions:
    """What lives beside one model, in order; each is found by the type of its spec."""

    def __init__(self, built: Iterable[tuple[Spec, Companion]] = ()) -> None:
        self._built = {type(spec): (spec.name, companion) for spec, companion in built}

    def __iter__(self) -> Iterator[Companion]:
        return (companion for _, companion in self._built.values())

    def of(self, spec: type[Makes[C]]) -> C:
        """The companion that a spec of this type made. Raises UsageError where there is none."""
        found = self.get(spec)
        if found is None:
            raise UsageError(
                f"no companion of a {spec.__name__} lives beside this model; whoever reads it has"
                " to ask for it in `companions`"
            )
        return found

    def get(self, spec: type[Makes[C]]) -> C | None:
        """As `of`; None where there is none."""
        _, companion = self._built.get(cast(type[Spec], spec), ("", None))
        return cast(C | None, companion)

    def named(self) -> dict[str, Companion]:
        """By the names that their files have."""
        return dict(self._built.values())
