"""A model with a mistake."""

from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Outputs


class LooksUp(SmallCnn):
    """A small network, but images that are not black meet a name that is nowhere."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = super().network(num_classes, image)
        network.register_forward_hook(_look_up)
        return network


def _look_up(network: nn.Module, images: tuple[Tensor], outputs: Outputs) -> Outputs:
    return {False: outputs}[bool(images[0].any())]
