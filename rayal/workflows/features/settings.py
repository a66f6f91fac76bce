"""What `rayal features` does: which network looks at which images."""

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import PositiveInt, model_validator

from rayal.data.datasets.base import Dataset
from rayal.location import Location
from rayal.models.base import Model, Precision
from rayal.parts import Part
from rayal.settings import Settings
from rayal.workflows.score.settings import PoolCompute


class FeaturePass(Settings):
    """One pass over all images of a dataset, by a network that is not trained."""

    dataset: Annotated[Dataset, Part("datasets")]
    """Whose images, of the pool and of the test split; they are resized and cut as a folder of
    weights says, unless size, shape or canvas are set here."""
    checkpoint: Location | None = None
    """Weights of the network: of a rayal run or a folder of timm or transformers, which say
    themselves what they are, or a state dict of anybody's as .safetensors or .pt, which needs
    `model`; null: those of `model.pretrained`."""
    model: Annotated[Model, Part("models")] | None = None
    """The architecture of weights that do not say it themselves; null: as they say."""
    mean: tuple[float, ...] | None = None
    """Mean per channel, of pixels in [0, 1], that the network was trained with; null: as its run or
    folder says, else ImageNet's for colour images, else the dataset's own."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel, given together with mean; null: as mean."""
    precision: Precision | None = None
    """Of forward passes, `fp32` or `bf16` (bfloat16); null: as in training, else fp32."""
    batch: PositiveInt = 256
    """Images in one forward pass."""
    max_bad: int = 10
    """Images that may be undecodable before the pass stops; their units are bad in the features."""
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
        pretrained = self.model is not None and self.model.pretrained is not None
        if self.checkpoint is None and not pretrained:
            yield (
                "features of random weights say nothing; give the weights with checkpoint, or with"
                " pretrained of the model"
            )
        if self.checkpoint is not None and pretrained:
            yield "checkpoint and the model's pretrained are both weights; give one of them"

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the features, less the content of files."""
        fields = self.model_dump(mode="json", exclude={"checkpoint", "max_bad", "compute"})
        for place in ("root", "store", "download"):
            fields["dataset"].pop(place, None)
        if fields["model"] is not None:
            fields["model"]["pretrained"] = None
        shards = self.compute.model_dump(include={"shard_bytes", "shard_rows"})
        return {**fields, "compute": shards}
