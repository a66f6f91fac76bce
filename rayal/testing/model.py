"""The contract of a model: what its networks promise, for images or for every pixel of them.

N images, C classes, D features; h w is the logit grid of a dense network.
"""

from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec, Numbers
from rayal.data.images import Decoding
from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.memory import Memory
from rayal.models.network import last_layer
from rayal.models.trained_model import TrainedModel
from rayal.parts import find
from rayal.testing.contract import PartContract

CLASSES = 5
SIZES = (32, 32), (40, 48), (96, 96), (224, 224), (299, 299), (518, 518)
"""H W of images that a model is tried with: the first that it accepts; dense ones from the second.
"""
VOLUMES = (16, 16, 16), (32, 32, 32), (64, 64, 64)
"""D H W of those that a model of volumes is tried with."""
FEATURES = 24
"""In a vector that a head is tried with."""
NUMBERS: dict[int, Numbers] = {0: "float16", 2: "uint8", 3: "float32"}
"""By the number of sides."""


def spec(*sides: int, channels: int = 3) -> ImageSpec:
    """Images of these sides, H W or D H W; vectors of `channels` features where there are none."""
    mean, std = (0.5,) * channels, (0.25,) * channels
    return ImageSpec.of((channels, *sides), mean, std, NUMBERS[len(sides)])


def image_for(model: Model) -> ImageSpec | None:
    """The vector, or the first of SIZES or VOLUMES, that a model takes; None where none is."""
    if model.takes(vector := spec(channels=FEATURES)) is None:
        return vector
    dense = "segmentation" in model.tasks
    tried = (spec(*sides) for sides in (*SIZES[dense:], *VOLUMES))
    return next((image for image in tried if model.takes(image) is None), None)


class ModelContract(PartContract):
    """What every architecture promises, for the tasks that it supports."""

    part: Model
    kind: ClassVar[str] = "model"

    def test_outputs_have_the_promised_shapes(self) -> None:
        """Otherwise strategies and companions would read what they were not promised."""
        self._check_outputs(self._images())
        odd = self.image.height + 1, self.image.width + 7
        if self.dense and not self.part.takes(spec(*odd, channels=self.image.channels)):
            self._check_outputs(self._images(size=odd))

    def test_the_classifier_maps_features_to_logits(self) -> None:
        """Otherwise EPMCM, ISDA and others would compute with features that give other logits."""
        network, images = self._network(), self._images()
        with torch.no_grad():
            outputs = network(images)
            last = outputs.layers[-1] if self.dense else outputs.features
            logits = network.classifier(last)
        read = "layers[-1]" if self.dense else "features"
        if not torch.equal(logits, outputs.logits):
            self.broken(
                f"logits that are `classifier` of {read}",
                f"they differ by {(logits - outputs.logits).abs().max():g}",
            )
        pooled = last.mean(dim=(2, 3)) if self.dense else last
        if not torch.allclose(pooled, outputs.features, atol=1e-6):
            self.broken(
                "features that are the mean of layers[-1] over its positions", "they differ"
            )
        wanted = Memory if self.part.memorises else nn.Linear
        if not self.dense and not isinstance(network.classifier, wanted):
            kind = type(network.classifier).__name__
            self.broken(f"a `classifier` that is an {wanted.__name__}", f"it is a {kind}")

    def test_the_last_layer_is_one_matrix_for_every_position(self) -> None:
        """Otherwise strategies that compute with the last weights would be wrong. (Where there is
        no such matrix they refuse the network.)"""
        network = self._network()
        last = last_layer(network)
        if last is None:
            return
        with torch.no_grad():
            outputs = network(self._images())
            read = outputs.layers[-1] if self.dense else outputs.features
            logits = torch.einsum("cd,nd...->nc...", last.weight.flatten(1), read)
            if last.bias is not None:
                logits += last.bias.view(-1, *[1] * (logits.ndim - 2))
        if not torch.allclose(logits, outputs.logits, atol=1e-4):
            self.broken(
                "logits that are one matrix of the last features",
                f"they differ by {(logits - outputs.logits).abs().max():g}",
            )

    def test_batch_mates_do_not_change_outputs(self) -> None:
        """Otherwise scores would depend on how the pool is divided."""
        network, batch = deepcopy(self._network()).double(), self._images().double()
        with torch.no_grad():
            together = network(batch).logits
            alone = torch.cat([network(batch[row : row + 1]).logits for row in range(2)])
        if not torch.allclose(together, alone, rtol=1e-9, atol=1e-9):
            self.broken(
                "in eval mode the same outputs of an image whatever is in its batch",
                f"logits differ by {(together - alone).abs().max():g}",
            )
        if together.std() < 1e-3:
            self.broken(
                "outputs that depend on the image", f"of noise they vary by {together.std():g}"
            )

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Distributed training stops at parameters that no loss reaches."""
        network = deepcopy(self._network())
        if self.part.memorises:
            return
        network(self._images()).logits.sum().backward()
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any()):
                self.broken("parameters that the loss depends on", f"{name} gets no gradient")

    def test_block_outputs_are_not_overwritten(self) -> None:
        """Otherwise a companion would read block outputs that a later layer changed in place."""
        network, copies = self._network(), list[Tensor]()
        hooks = [
            block.register_forward_hook(lambda _, __, output: copies.append(output.clone()))
            for block in getattr(network, "blocks", ())
        ]
        with torch.no_grad():
            layers = network(self._images()).layers
        for hook in hooks:
            hook.remove()
        for place, (copy, layer) in enumerate(zip(copies, layers, strict=False)):
            if not torch.equal(copy, layer):
                self.broken("layers as the blocks give them", f"block {place} was overwritten")

    def test_seed_alone_decides_the_weights_and_they_survive_saving(self) -> None:
        """Otherwise strategies of one seed would start from other networks, workers score with
        others."""
        first = self._built(seed=1)
        torch.rand(1)
        if different := _differing(first, self._built(seed=1)):
            self.broken("weights that the seed decides", f"of seed 1 twice {different} differs")
        pairs = zip(first.parameters(), self._network().parameters(), strict=True)
        same = all(torch.equal(one, other) for one, other in pairs)
        if same and not self.part.memorises:
            self.broken("other weights of another seed", "of seeds 0 and 1 they are the same")
        card = ModelCard(
            model=self.part.bare(),
            classes=tuple(f"class-{number}" for number in range(CLASSES)),
            image=self.image,
            decoding=Decoding(),
            task=find("tasks", "segmentation" if self.dense else "classification")(),
        )
        saved = TrainedModel.parse(TrainedModel.of(card, first).data(), "the file", card)
        if different := _differing(first, saved.network()):
            self.broken("weights that survive saving", f"{different} differs")

    def test_other_channels_are_taken_or_refused(self) -> None:
        """Otherwise the first batch would end in torch's error about a convolution."""
        for channels in {1, 3, 4} - {self.image.channels}:
            image = spec(*self.image.sides, channels=channels)
            if self.part.takes(image):
                continue
            try:
                with torch.device("meta"), torch.no_grad():  # shapes alone are computed
                    network = self.part.network(CLASSES, image).eval()
                    outputs = network(torch.zeros(1, *image.shape))
                    logits = outputs if isinstance(outputs, Tensor) else outputs.logits
            except Exception as error:
                self.broken(
                    "to say in `accepts` which images it cannot take",
                    f"of {channels} channels it raises {type(error).__name__}: {error}",
                )
            if logits.shape[:2] != (1, CLASSES):
                shape = tuple(logits.shape)
                self.broken(
                    f"{CLASSES} logits of images of {channels} channels", f"it gives {shape}"
                )

    @property
    def dense(self) -> bool:
        """Whether its networks classify every pixel."""
        return "segmentation" in self.part.tasks

    @property
    def image(self) -> ImageSpec:
        """What it is tried with; a suite may set another, and then no other is tried."""
        if (image := image_for(self.part)) is not None:
            return image
        sizes = SIZES if self.part.dimensions == 2 else VOLUMES
        reason = self.part.takes(spec(*sizes[-1]))
        self.broken("to accept images of some size", f"none of {sizes}: {reason}; set `image`")

    def _built(self, seed: int = 0) -> nn.Module:
        try:
            return build(self.part, CLASSES, self.image, seed)
        except UsageError as error:
            self.broken("a network", str(error))

    def _network(self) -> Any:
        """In eval mode, with running statistics of images like those that it is tried with, so that
        no map dies out; one that memorises has seen some."""
        return self.once("network", self._used)

    def _used(self) -> nn.Module:
        network = self._built()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.momentum = 1.0
        with torch.no_grad():
            outputs = self._forward(network.train(), self._images(8, seed=1))
        for module in network.modules():
            if isinstance(module, Memory):
                module.remember(outputs.features, torch.arange(8) % CLASSES)
        return network.eval()

    def _images(self, n: int = 2, seed: int = 0, size: tuple[int, ...] = ()) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        channels, *usual = self.image.shape
        return torch.randn(n, channels, *(size or usual), generator=generator)

    def _forward(self, network: nn.Module, images: Tensor) -> Outputs:
        outputs = network(images)
        if not isinstance(outputs, Outputs):
            self.broken(
                "networks that return rayal.models.base.Outputs(logits, features, layers)",
                f"it returns a {type(outputs).__name__}",
            )
        return outputs

    def _check_outputs(self, images: Tensor) -> None:
        network = self._network()
        with torch.no_grad():
            logits, features, layers = self._forward(network, images)
        n, own = len(images), tuple(network.layer_channels)
        shape = (n, CLASSES, *(layers[-1].shape[2:] if self.dense else ()))
        width = own[-1] if self.dense else getattr(network.classifier, "in_features", None)
        if tuple(logits.shape) != shape:
            self.broken(f"logits of shape {shape}", f"they are {tuple(logits.shape)}")
        if features.shape[:1] != (n,) or features.ndim != 2:
            self.broken("features of shape N D", f"they are {tuple(features.shape)}")
        if width is not None and features.shape[1] != width:
            self.broken(f"{width} features", f"there are {features.shape[1]}")
        if own != tuple(layer.shape[1] for layer in layers):
            shapes = [tuple(layer.shape) for layer in layers]
            self.broken(f"layers of {own} channels (layer_channels)", f"they are {shapes}")
        for layer in layers:
            if layer.ndim != 2 + self.part.dimensions or len(layer) != n:
                sides = " ".join(f"{side}_l" for side in "DHW"[3 - self.part.dimensions :])
                self.broken(f"layers of shape N C_l {sides}", f"one is {tuple(layer.shape)}")


def _differing(first: nn.Module, second: nn.Module) -> str | None:
    """The first weight in which two networks differ, if any."""
    one, other = first.state_dict(), second.state_dict()
    names = [*one, *(name for name in other if name not in one)]
    same = (name for name in names if name in one and name in other)
    if len(names) > len(list(same)):
        return "the names of the weights"
    return next((name for name in names if not torch.equal(one[name], other[name])), None)
