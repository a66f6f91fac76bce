"""A variational autoencoder of images, and a discriminator that is shown its latent means.

Source: Sinha, Ebrahimi & Darrell, "Variational Adversarial Active Learning" (VAAL, ICCV 2019);
official code sinhasam/vaal, 67263f3, whose layers and sizes these are for images of 32 px.
With a rank beside the latent numbers they are those of TA-VAAL, cubeyoung/TA-VAAL, 1161071; with a
classifier on them those of wenxuanou/SRAAL_Realization, 97b4511, which is not by SRAAL's authors.

B images of M channels and H W pixels, L latent numbers, K numbers beside them, C classes.

Differences from the code:
- Images may have any size and number of channels. The larger they are, the deeper the networks:
  convolutions halve the sides until the shorter one has 2 to 4 px, four times for 32 px as in the
  code, six times for 224 px. Channels double with each of the first four, as in the code, and stay
  from there on. What is no multiple of two to that power is filled up on all sides with the data's
  mean colour, and what the decoder gives is cut back.
- The layers start as in the code, where a slip left some out: He's normal initialisation (fan-in)
  and biases of 0 for the encoder's convolutions, the decoder's first layer and the discriminator;
  all others start as torch's own. The re-implementation of SRAAL starts from N(0, 0.02).
- The discriminator gives a logit, of which the code's output is the sigmoid.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rayal.data.card import ImageSpec
from rayal.models.batch_norm import batch_statistics as normalising
from rayal.models.companions.base import Companion
from rayal.models.companions.opponent import Opponent

MOST_CHANNELS = 8
"""Times those of the first convolution, which the fourth has in the code."""


class Code(NamedTuple):
    """A normal distribution of latent numbers for each image, in float32."""

    mean: Tensor  # B L
    log_variance: Tensor  # B L

    def draw(self) -> Tensor:
        """B L, with torch's global generator; gradients reach both."""
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean)

    def divergence(self) -> Tensor:
        """B L, at least 0: the Kullback-Leibler divergence from N(0, 1) of each latent number."""
        return (self.mean**2 + self.log_variance.exp() - 1 - self.log_variance) / 2


class Decoded(NamedTuple):
    """What the autoencoder makes of some images, in float32."""

    code: Code
    images: Tensor  # B M H W, normalised as those that it was shown
    logits: Tensor | None  # B C of what was drawn; None where it has no classifier


class Vae(nn.Module):
    """Convolutions that halve the image to a code, and transposed ones from a draw of it back."""

    def __init__(
        self, image: ImageSpec, width: int, latent: int, beside: int = 0, classes: int = 0
    ) -> None:
        """`width`: channels of the first convolution; `beside` is K; a classifier of so many
        `classes` is on the draw, none for 0."""
        super().__init__()
        depth = halvings(image.height, image.width)
        channels = [width * min(2**i, MOST_CHANNELS) for i in range(depth)]
        self.multiple = 2**depth
        rows, columns = (-(-side // self.multiple) for side in (image.height, image.width))
        encoded = channels[-1] * rows * columns
        self.encoder = nn.Sequential(
            _halving(image.channels, width),
            *(_halving(fewer, more) for fewer, more in pairwise(channels)),
            nn.Flatten(),
        )
        self.mean, self.log_variance = nn.Linear(encoded, latent), nn.Linear(encoded, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent + beside, 4 * encoded),
            nn.Unflatten(1, (channels[-1], 2 * rows, 2 * columns)),
            *(_doubling(more, fewer) for more, fewer in pairwise(reversed(channels))),
            nn.ConvTranspose2d(width, image.channels, kernel_size=1),
        )
        self.classifier = _classifier(latent, 128 * width, classes) if classes else None
        for module in (*self.encoder.modules(), self.decoder[0]):
            start(module)

    def encode(self, images: Tensor) -> Code:
        """The code of B M H W."""
        height, width = images.shape[2:]
        encoded = self.encoder(pad(images, _filling(height, width, self.multiple)))
        return Code(self.mean(encoded).float(), self.log_variance(encoded).float())

    def forward(self, images: Tensor, beside: Tensor | None = None) -> Decoded:
        """`images` B M H W; `beside` B K, what the decoder reads beside the draw."""
        code = self.encode(images)
        drawn = code.draw()
        decoded = self.decoder(_joined(drawn, beside))
        height, width = images.shape[2:]
        left, _, top, _ = _filling(height, width, self.multiple)
        cut = decoded[:, :, top : top + height, left : left + width].float()
        logits = None if self.classifier is None else self.classifier(drawn).float()
        return Decoded(code, cut, logits)


class LatentDiscriminator(Opponent):
    """Three linear layers on a latent mean: is it that of a labeled image?

    An optimizer of its own has to train it, inside `learning`.
    """

    def __init__(self, latent: int, width: int, beside: int = 0) -> None:
        """`width`: of its two hidden layers; `beside` is K."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent + beside, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )
        for module in self.layers:
            start(module)
        self.requires_grad_(False)

    def forward(self, means: Tensor, beside: Tensor | None = None) -> Tensor:
        """B, logits: the higher, the more it takes the image for a labeled one. `means` B L,
        `beside` B K."""
        logits: Tensor = self.layers(_joined(means, beside))[:, 0]
        return logits


class LatentJudge(Companion):
    """An autoencoder and the discriminator that plays against it."""

    def __init__(self, vae: Vae, discriminator: LatentDiscriminator) -> None:
        super().__init__()
        self.vae, self.discriminator = vae, discriminator

    def forward(
        self, images: Tensor, beside: Tensor | None = None, batch_statistics: bool = False
    ) -> Tensor:
        """N, logits: the higher, the more an image of N M H W is like the labeled ones.

        `beside` N K. With `batch_statistics` batch norm normalises by the images given, so that
        each of them decides about all others; nothing is learned of them.
        """
        with normalising(self.vae.encoder if batch_statistics else nn.Identity()):
            means = self.vae.encode(images).mean
        logits: Tensor = self.discriminator(means, beside)
        return logits


def halvings(height: int, width: int) -> int:
    """How often an image's sides are halved until the shorter one has 2 to 4 px; at least once."""
    return max(1, min(height, width).bit_length() - 2)


def start(module: nn.Module) -> None:
    """He's normal initialisation (fan-in) of a convolution or linear layer, its bias 0; all else
    stays as it is."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _halving(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _doubling(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.ConvTranspose2d(
        inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _classifier(latent: int, width: int, classes: int) -> nn.Module:
    """SRAAL's; nothing is between its first two layers, as in the code."""
    return nn.Sequential(
        nn.Linear(latent, width),
        nn.Linear(width, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def _filling(height: int, width: int, multiple: int) -> list[int]:
    """Pixels left, right, above and below that bring both sides to multiples of `multiple`."""
    across, down = -width % multiple, -height % multiple
    return [across // 2, across - across // 2, down // 2, down - down // 2]


def _joined(numbers: Tensor, beside: Tensor | None) -> Tensor:
    return numbers if beside is None else torch.cat([numbers, beside], dim=1)
