"""What VAAL, TA-VAAL and SRAAL have in common: an autoencoder that plays against a discriminator.

The discriminator D learns to tell from an image's latent mean whether it is labeled; the
autoencoder learns to give images back, and to have D take all of them for labeled ones. Model and
whatever else lived beside it stay as they are.

B labeled images of this worker in one step, and B candidates; L latent numbers, K beside them.
"""

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import mse_loss
from torch.optim import Adam, Optimizer

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models import parallel
from rayal.models.companions.variational import Decoded, LatentDiscriminator, LatentJudge, Vae
from rayal.models.network import computing
from rayal.training.augment import Augment
from rayal.training.fits.base import Batches, FitBatch, FitSpec, Fitting, Scene
from rayal.training.learner import fused_on


class AdversarialSpec(FitSpec):
    """The numbers that all of them share."""

    dimensions: ClassVar[frozenset[int]] = frozenset({2})

    epochs: PositiveInt = 100
    """Steps of the discriminator, in passes over labeled units and candidates together: there are
    epochs x (labeled + candidates) / batch_size, rounded down."""
    batch_size: int = Field(default=128, ge=2)
    """Labeled images of one step, and as many candidates, on all workers together."""
    vae_steps: PositiveInt = 1
    """Steps of the autoencoder, each with a new batch, before each of the discriminator, which
    learns from the last of them."""
    augment: Augment = Augment()
    """What happens to images before anything sees them, in the fit alone; its `window` has to stay
    null, for the discriminator is asked about whole images."""
    width: PositiveInt = 128
    """Channels of the autoencoder's first convolution; the next have 2, 4 and 8 times as many. For
    images of 32 px it has 22.8 million weights at 128, 446,000 at 16; larger ones have more."""
    latent: PositiveInt = 32
    """Latent numbers of an image."""
    discriminator_width: PositiveInt = 512
    """Outputs of the discriminator's two hidden layers."""
    beta: NonNegativeFloat = 1.0
    """Weight of the divergence of the latent distribution from N(0, 1)."""
    divergence: Literal["mean", "sum"] = "mean"
    """Over the images of a batch and their latent numbers: the `mean`, as that of the squared error
    beside it; or the `sum`, with which the divergence is thousands of times as large."""
    adversary: NonNegativeFloat = 1.0
    """Weight of the autoencoder's wish to be taken for labeled."""

    @model_validator(mode="after")
    def _whole_images(self) -> Self:
        if self.augment.window:
            raise ValueError(
                f"augment.window {list(self.augment.window)}: the {self.name} is asked about whole"
                " images and has to learn from such; set it to null"
            )
        return self

    def batches(self) -> Batches:
        return Batches(self.batch_size, self.augment)

    def steps(self, labeled: int, candidates: int) -> int:
        rounds = max(1, self.epochs * (labeled + candidates) // self.batch_size)
        return rounds * self.vae_steps

    def build(self, model: nn.Module, classes: int, image: ImageSpec) -> LatentJudge:
        if reason := self.takes(image):
            raise UsageError(reason)
        beside, classes = self.extras(classes)
        return LatentJudge(
            Vae(image, self.width, self.latent, beside, classes),
            LatentDiscriminator(self.latent, self.discriminator_width, beside),
        )

    def extras(self, classes: int) -> tuple[int, int]:
        """K, and the classes of the autoencoder's own classifier: 0 for none."""
        return 0, 0


class Side(NamedTuple):
    """The labeled images of a step, or its candidates."""

    images: Tensor  # B M H W
    truth: Tensor  # B, in [0, 1]: what D learns to say of them
    to_decoder: Tensor | None = None  # B K
    to_discriminator: Tensor | None = None  # B K


class AdversarialFitting(Fitting):
    """The autoencoder's step, then, after every `vae_steps` of them, the discriminator's.

    L = sum over both sides of MSE + beta KL + adversary BCE(D(mean), 1), and what a subclass adds;
    L_D = sum over both sides of BCE(D(mean), truth), with means that have no gradient, of the
    autoencoder after its step. Batch norm sees each side by itself, in both.
    """

    companion: LatentJudge

    def __init__(self, spec: AdversarialSpec, companion: LatentJudge, scene: Scene) -> None:
        self.spec, self.companion, self.scene = spec, companion.train(), scene
        self.network = parallel.averaging(companion.vae)
        self.discriminator = companion.discriminator
        """What judges in the autoencoder's step: no worker waits for another there."""
        with self.discriminator.learning():
            self.judge = parallel.averaging(self.discriminator)
        self.vae_optimizer = _adam(companion.vae, spec.lr)
        self.discriminator_optimizer = _adam(self.discriminator, spec.lr)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        return {
            "companion": self.companion,
            "vae_optimizer": self.vae_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    @abstractmethod
    def sides(self, batch: FitBatch, step: int) -> tuple[Side, Side]:
        """What is shown in a step: labeled images, then candidates."""

    def step(self, batch: FitBatch | None, step: int) -> dict[str, Tensor]:
        assert batch is not None, "the spec asks for batches"
        sides = self.sides(batch, step)
        values = self.teach_vae(sides, batch)
        if (step + 1) % self.spec.vae_steps == 0:
            self.teach_discriminator(sides)
        return values

    def teach_vae(self, sides: tuple[Side, Side], batch: FitBatch) -> dict[str, Tensor]:
        """One update of the autoencoder; returns its loss, what it is the sum of, and the loss that
        the discriminator has with the means before the update."""
        decoded = []
        for side in sides:
            with computing(side.images.device, self.scene.precision):
                decoded.append(self.network(side.images, side.to_decoder))
        judged = [
            self.discriminator(each.code.mean, side.to_discriminator)
            for each, side in zip(decoded, sides, strict=True)
        ]
        terms = self.terms(sides, decoded, judged, batch)
        loss = torch.stack(list(terms.values())).sum()
        self.vae_optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.vae_optimizer.step()
        truths = [side.truth for side in sides]
        values = {"loss": loss, **terms, "discriminator_loss": _against(judged, truths)}
        return {name: value.detach() for name, value in values.items()}

    def terms(
        self,
        sides: tuple[Side, Side],
        decoded: list[Decoded],
        judged: list[Tensor],
        batch: FitBatch,
    ) -> dict[str, Tensor]:
        """The loss of the autoencoder, by what it is the sum of; `judged` are D's logits (B)."""
        spec = self.spec
        errors = [mse_loss(d.images, s.images) for d, s in zip(decoded, sides, strict=True)]
        divergences = [self._divergence(each) for each in decoded]
        return {
            "reconstruction": errors[0] + errors[1],
            "divergence": spec.beta * (divergences[0] + divergences[1]),
            "adversarial": spec.adversary * _against(judged, [torch.ones_like(j) for j in judged]),
        }

    def _divergence(self, decoded: Decoded) -> Tensor:
        each = decoded.code.divergence()
        if self.spec.divergence == "mean":
            return each.mean()
        return each.sum() * parallel.workers()  # the mean over workers is the whole batch's sum

    def teach_discriminator(self, sides: tuple[Side, Side]) -> None:
        """One update of the discriminator."""
        means = []
        for side in sides:
            with torch.no_grad(), computing(side.images.device, self.scene.precision):
                means.append(self.companion.vae.encode(side.images).mean)
        with self.discriminator.learning():
            judged = [
                self.judge(mean, side.to_discriminator)
                for mean, side in zip(means, sides, strict=True)
            ]
            loss = _against(judged, [side.truth for side in sides])
            self.discriminator_optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.discriminator_optimizer.step()


def _against(judged: list[Tensor], truths: list[Tensor]) -> Tensor:
    """The mean binary cross-entropy of each side's logits with what is true of it, added up."""
    losses = [cross_entropy(j, truth) for j, truth in zip(judged, truths, strict=True)]
    return losses[0] + losses[1]


def _adam(module: nn.Module, lr: float) -> Adam:
    return Adam(module.parameters(), lr=lr, fused=fused_on(module))
