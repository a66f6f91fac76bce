"""What `rayal score` does: which models, over which pool, by which strategies."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_serializer,
    model_validator,
)

from rayal.data.images import Decoding
from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.location import Location, expanded
from rayal.models.base import Model, Precision
from rayal.parts import Part
from rayal.settings import Settings
from rayal.strategies.base import Strategy, columns

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel that torchvision's own weights were trained with."""


class PoolCompute(Settings):
    """Where the pass runs and with how much of the machine; only the device changes scores, in
    their last bits: where it is another one than before, all is scored again."""

    engine: Literal["ray", "local"] = "ray"
    """What does the work. `ray`: Ray Data on a cluster or on all of this machine; `local`: this
    process alone."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What networks run on: `auto` takes GPUs where the cluster has some."""
    scorers: PositiveInt | None = None
    """Processes that score; null: one per GPU, or per core."""
    max_failures: NonNegativeInt = 3
    """Times that a pass is started again after a worker died."""
    shard_bytes: PositiveInt = 256 * 2**20
    """Most of images (bytes) in one shard, as stored or decoded; a worker has three in memory."""
    shard_rows: PositiveInt = 65536
    """Most images in one shard, the unit of work and of resuming, and so in one file."""
    batch_bytes: PositiveInt = 4 * 2**30
    """Most memory (bytes) that a batch of `auto` size may take beside the models."""

    def for_engine(self) -> Compute:
        """As engines take it."""
        same = ("engine", "device", "scorers", "max_failures")
        return Compute(**{name: getattr(self, name) for name in same})


class Redecoding(Decoding):
    """The fields of a decoding that are to differ from the training's, each by itself."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        return self  # only the whole can be

    def onto(self, trained: Decoding) -> Decoding:
        """The training's, with these fields; raises UsageError where they contradict the others."""
        asked = self.asked()
        try:
            return Decoding.model_validate(dict(trained) | asked)
        except ValidationError as error:
            reason = str(error.errors()[0]["ctx"]["error"])
            raise UsageError(
                f"decoding {asked} over that of the training, {trained!r}: {reason}"
            ) from error

    @model_serializer
    def asked(self) -> dict[str, Any]:
        """The fields that were given."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class PoolScoring(Settings):
    """One pass over a pool, whatever trained the models."""

    checkpoint: Location | None = None
    """Weights: of a rayal run, which say themselves what they are, or a state dict of anybody's as
    .safetensors or .pt, which needs `model`; null: a module in the memory of this process."""
    pool: Annotated[str, Field(min_length=1), AfterValidator(expanded)]
    """Parquet files (a file, a pattern, a folder), a folder of images, or a dataset's name."""
    strategies: tuple[Annotated[Strategy, Part("strategies")], ...] = Field(min_length=1)
    """What scores the pool, all in one pass."""
    previous: Location | None = None
    """Weights of the cycle before, for strategies that compare with it; null: none."""
    members: tuple[Location, ...] = ()
    """Weights of an ensemble's other members."""
    model: Annotated[Model, Part("models")] | None = None
    """The architecture of weights that do not say it themselves; null: as they say."""
    classes: tuple[str, ...] | None = None
    """Names of the classes; null: as the weights say, else class-0, class-1, ..."""
    decoding: Redecoding | None = None
    """How images become what the model sees; whatever of it is not given, or all with null, is as
    in training."""
    mean: tuple[float, ...] | None = None
    """Mean per channel, of pixels in [0, 1]; null: as in training, else ImageNet's. For a module in
    memory, which does not say it, see `rayal.score`."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel, given together with mean; null: as in training, else
    ImageNet's."""
    precision: Precision | None = None
    """Of forward passes, `fp32` or `bf16` (bfloat16); null: as in training, else fp32."""
    id: str | None = "id"
    """Column of ids of Parquet files; null: a unit is named after its file and row."""
    image: str = "image"
    """Column of images of Parquet files."""
    follow_links: bool = False
    """Follow links in a folder of images."""
    seed: NonNegativeInt = 0
    """What dropout and random scores are drawn from."""
    batch: PositiveInt | Literal["auto"] = "auto"
    """Images in one forward pass; `auto` takes the fastest within `compute.batch_bytes`, once, and
    no more than a shard has."""
    max_bad: NonNegativeInt | None = None
    """Images that may be undecodable before the pass stops; null: one in 1000, and 10 in any pool.
    """
    compute: PoolCompute = PoolCompute()
    """Where the pass runs and with how much of the machine."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        if (self.mean is None) != (self.std is None):
            yield "mean and std belong together; set both or neither"
        for name, strategy in self.columns().items():
            if strategy.reference(1) == "previous" and self.checkpoint and self.previous is None:
                yield (
                    f"strategy {name!r} compares with the model of the cycle before; give its"
                    " weights with --previous (in Python: previous=)"
                )

    def decoded(self, trained: Decoding) -> Decoding:
        """The training's decoding, changed as asked; raises UsageError where that contradicts."""
        return trained if self.decoding is None else self.decoding.onto(trained)

    def columns(self) -> dict[str, Strategy]:
        """The strategies by the name of their column."""
        return columns(self.strategies)

    def decisive(self) -> dict[str, Any]:
        """The fields that decide what is written, less the content of files."""
        free = {"checkpoint", "previous", "members", "max_bad", "compute"}
        shards = {"shard_bytes", "shard_rows"}
        fields = self.model_dump(mode="json", exclude=free)
        if self.decoding is not None:  # with all fields, as passes of 0.4 have it
            full = Decoding.model_construct(**self.decoding.asked())
            fields["decoding"] = full.model_dump(mode="json")
        return {**fields, "compute": self.compute.model_dump(include=shards)}
