"""The contract of a model: an architecture and its options, of which a network is built.

N images, C classes, D features, C_l channels of block l; * is nothing for classification, and the
positions h w of a coarser grid, the logit grid, for segmentation.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple, Self

from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.tasks.base import ForTasks
from rayal.location import Location
from rayal.models import weights_folder
from rayal.parts import find, names

SEEN = {0: "vectors of features (C)", 2: "pictures (C, H, W)", 3: "volumes (C, D, H, W)"}
"""What images with so many sides are called."""

Precision = Literal["fp32", "bf16"]
"""`bf16` computes a forward pass in bfloat16; weights, updates and softmax stay in float32."""


class Outputs(NamedTuple):
    """What every rayal network returns from one forward."""

    logits: Tensor  # N C *
    features: Tensor  # N D: the input of the last layer, in a dense network its mean over h w
    layers: tuple[Tensor, ...]  # per block: N C_l H_l W_l, of volumes N C_l D_l H_l W_l


class Recipe(NamedTuple):
    """How images are made for weights, by those who published them."""

    source: str
    """Who says it, for messages."""
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1]."""
    std: tuple[float, ...]
    """Like mean."""
    decoding: Decoding | None
    """How files become what the network sees, the size too; None where nobody says it."""


class Model(ForTasks):
    """An architecture and its options; `rayal.models.build` makes a network of it.

    A network is an `nn.Module` that returns `Outputs`, with two attributes: `layer_channels`, the
    C_l of `Outputs.layers`, and `classifier`, its last layer: linear in a `Network`, most often a
    1x1 convolution in a `DenseNetwork`. Of a classifier whose forward returns logits alone, as
    torchvision's do, rayal makes one, see `rayal.wrap`.
    """

    kind: ClassVar[str] = "models"

    dimensions: ClassVar[int] = 2
    """Of the images that its networks see: 2 of pictures H W, 3 of volumes D H W, 0 of vectors."""

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {}
    """What weights are called in torchvision's file, or the authors' -> here, by prefix; empty if
    there is none."""

    left_out: ClassVar[tuple[str, ...]] = ()
    """Prefixes of what such a file has and this architecture does not: heads of another use."""

    heads: ClassVar[tuple[str, ...]] = ()
    """Prefixes, here, of what a file of the trunk alone lacks besides the last layer."""

    memorises: ClassVar[bool] = False
    """Whether its networks have no weights and answer by the labeled set: their `classifier` is a
    `Memory`, and a scheme that memorises too shows them what it holds."""

    repeats_gray: ClassVar[bool] = False
    """Whether its networks, of images in three channels, are shown a gray one as three equal
    channels, as the loaders of other libraries have it (`convert("RGB")`)."""

    passes_on: ClassVar[bool] = False
    """Whether `Outputs.features` are the images as its networks are given them, in float32: what a
    pass keeps of them need not be written in every cycle."""

    pretrained: Location | None = None
    """Weights to start from: anybody's .safetensors or .pth file with a state dict of this
    architecture or its trunk, by torchvision's names or rayal's, or a folder that holds
    `model.safetensors`, one or in shards; null: random."""

    @abstractmethod
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        """The network for images of this shape, or any module that returns logits N C; its weights
        are drawn from torch's global generator."""

    def decoding(self) -> Decoding:
        """How the weights that are published for this architecture want their images, but for the
        size."""
        return Decoding()

    def recipe(self) -> Recipe | None:
        """What is said of images where `pretrained` lies, or is published with the architecture;
        None where normalisation and size are not known. Raises UsageError for what cannot be done.
        """
        return None

    def files(self) -> list[str]:
        """The files of weights at `pretrained`, by path or URL; raises UsageError for a folder
        without any."""
        return [] if self.pretrained is None else weights_folder.files(self.pretrained)

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """What `pretrained` holds, for a network of this model; the names are those of the file,
        or the network's."""
        assert self.pretrained is not None
        return weights_folder.read(self.pretrained)

    def bare(self) -> Self:
        """The same architecture without `pretrained`: all that its network is built of."""
        return self.model_copy(update={"pretrained": None})

    def accepts(self, image: ImageSpec) -> str | None:
        """None, or why this architecture cannot take images of such a size or so many channels
        (checked before a run)."""
        return None

    def takes(self, image: ImageSpec) -> str | None:
        """None, or why its networks cannot take such images: by their sides, or `accepts`."""
        sides = len(image.sides)
        if sides == self.dimensions:
            return self.accepts(image)
        others = (name for name in names("models") if find("models", name).dimensions == sides)
        fitting = [name for name in others if find("models", name).tasks & self.tasks]
        return (
            f"it takes {SEEN[self.dimensions]}, and these are {SEEN[sides]}; choose one of:"
            f" {', '.join(fitting)}"
        )
