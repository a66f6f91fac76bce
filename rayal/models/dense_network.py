"""The shape of the networks that predict a class for every pixel.

N images, C classes, H W pixels of an image, D channels of the last map. Logits are for the places
of a coarser grid h w, the *logit grid*; whoever needs them at pixels interpolates.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from rayal.models.base import Outputs, Staged, start_convolutions


class DenseNetwork(Staged):
    """stem -> blocks -> dropout -> classifier, all on maps.

    `Outputs.layers` are the outputs of `blocks`; the last one, N D h w, is what `classifier` reads
    but for the dropout, and its mean over h w is `Outputs.features`. Strided layers round up: an
    output stride of 8 makes h = ceil(H / 8), for images of any size.

    Convolutions of stem and blocks start from He's normal initialisation (fan-out), as those of
    `Network`; `classifier` and all else start as they come.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[nn.Module],
        layer_channels: Sequence[int],
        classifier: nn.Module,
        stem: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(stem, blocks, layer_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        start_convolutions(self.stem)
        start_convolutions(self.blocks)

    def forward(self, images: Tensor) -> Outputs:
        layers = self.layers(images)
        maps = layers[-1]
        return Outputs(self.classify(maps), maps.mean(dim=(2, 3)), layers)

    def last(self, outputs: Outputs) -> Tensor:
        return outputs.layers[-1]
