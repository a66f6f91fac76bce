"""torchvision's networks: the same numbers as there, from the same files, for every signal."""

import copy
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision import models

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.torchvision import Torchvision
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights, save_weights
from rayal.signals.batch import entropy
from rayal.signals.dropout import UnitNoise, unit_dropout
from rayal.signals.gradients.norms import entropy_gradient_norms
from tests.support.doubles import card_of


def spec(size: int = 64, width: int | None = None, channels: int = 3) -> ImageSpec:
    mean, std = (0.5,) * channels, (0.25,) * channels
    return ImageSpec(channels=channels, height=size, width=width or size, mean=mean, std=std)


def made(arch: str, classes: int = 5, size: int = 64) -> Any:
    return build(Torchvision(arch=arch), classes, spec(size), seed=0).eval()


def images(n: int = 2, size: int = 64) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


STAGES = {
    "resnet18": [64, 128, 256, 512],
    "mobilenet_v3_small": [16, 24, 48, 576],
    "mnasnet0_5": [16, 24, 48, 1280],
    "efficientnet_b0": [24, 40, 112, 1280],
    "shufflenet_v2_x0_5": [24, 48, 96, 1024],
    "regnet_x_400mf": [32, 64, 160, 400],
    "densenet121": [256, 512, 1024, 1024],
    "convnext_tiny": [96, 192, 384, 768],
    "swin_t": [],
}
"""One of each family that is cheap enough -> the channels of its stages."""


def adopted(arch: str, weights: dict[str, Tensor]) -> nn.Module:
    card = card_of(Torchvision(arch=arch), 5, spec())
    return TrainedModel.adopted(card, weights, "a.pth").network()


@pytest.mark.parametrize("arch", STAGES)
def test_a_file_of_torchvision_gives_its_numbers(arch: str) -> None:
    """A stranger's checkpoint would be refused, or scored by another function."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = models.get_model(arch, num_classes=5).eval()
    weights = theirs.state_dict()
    ours: Any = adopted(arch, weights).eval()
    copies: list[Tensor] = []
    for block in ours.blocks:
        block.register_forward_hook(lambda _, __, output: copies.append(output.clone()))
    with torch.no_grad():
        outputs = ours(images())

        assert torch.equal(theirs(images()), outputs.logits)
        assert torch.equal(ours.classifier(outputs.features), outputs.logits)
    assert STAGES[arch] == list(ours.layer_channels) == [x.shape[1] for x in outputs.layers]
    assert all(torch.equal(a, b) for a, b in zip(copies, outputs.layers, strict=True))


def test_stages_of_a_resnet_are_its_four_layers() -> None:
    """`layers` would not be what the papers call block outputs."""
    network = made("resnet18")
    x = network.net.maxpool(network.net.relu(network.net.bn1(network.net.conv1(images()))))
    layers = network(images()).layers

    for number, layer in enumerate(layers, 1):
        x = network.net.get_submodule(f"layer{number}")(x)
        assert torch.equal(x, layer)
    assert 4 == len(layers)


def test_own_files_come_back() -> None:
    """What rayal trained and saved could not be opened, or only by torchvision's names."""
    trained, other = made("mobilenet_v3_small"), made("mobilenet_v3_small")
    nn.init.ones_(trained.classifier.bias)
    data = save_weights(trained)
    load_weights(other, data)
    again = adopted("mobilenet_v3_small", trained.state_dict())

    assert all("net." in name for name in trained.state_dict())
    assert torch.equal(trained(images()).logits, other(images()).logits)
    assert torch.equal(trained(images()).logits, again.eval()(images()).logits)


def test_fine_tuning_starts_from_torchvisions_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last layer, which is called differently in each family, would not be recognised."""
    theirs = models.get_model("mobilenet_v3_small", num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    model = Torchvision(arch="mobilenet_v3_small", pretrained=str(tmp_path / "theirs.pth"))
    ours: Any = build(model, 5, spec(), seed=0)

    assert torch.equal(theirs.features[0][0].weight, ours.net.features[0][0].weight)
    assert "7 classes, this network for 5: its last layer stays random" in caplog.text


def test_other_classes_are_named() -> None:
    """A pool would be scored by a random last layer."""
    theirs = models.get_model("mobilenet_v3_small", num_classes=7).state_dict()

    with pytest.raises(UsageError, match=r"a\.pth is for 7 classes, not for 5"):
        adopted("mobilenet_v3_small", theirs)


@pytest.mark.parametrize(
    "arch, message",
    [
        ("resnt50", "no classifier 'resnt50'; did you mean 'resnet50'"),
        ("squeezenet1_1", "without a last linear layer"),
        ("googlenet", "further classifiers"),
        ("inception_v3", "further classifiers"),
        ("fcn_resnet50", "no classifier 'fcn_resnet50'"),
    ],
)
def test_what_cannot_work_is_refused(arch: str, message: str) -> None:
    """The pass would end in an AttributeError, or training in a tuple."""
    with pytest.raises(ValueError, match=message):
        Torchvision(arch=arch)
    Torchvision(arch="resnet50")  # meant by the first, and another architecture than the others


@pytest.mark.parametrize(
    "arch, image, message",
    [
        ("resnet18", spec(channels=1), "3 channels, not 1"),
        ("vit_b_32", spec(64, 96), "square images, not 64x96"),
        ("alexnet", spec(16), "alexnet cannot take images of 16x16 px: .*; use another size"),
        ("vit_b_32", spec(48), "vit_b_32 cannot take images of 48x48 px: .*; use another size"),
    ],
)
def test_images_that_do_not_fit_are_refused(arch: str, image: ImageSpec, message: str) -> None:
    """The first batch would end in torch's error about an empty image."""
    with pytest.raises(UsageError, match=message):
        build(Torchvision(arch=arch), 5, image, seed=0)
    with torch.device("meta"):
        Torchvision(arch=arch).network(5, spec(64))


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_gradient_norms_are_those_of_a_loop(arch: str) -> None:
    """The gradnorm strategy would rank a stranger's network by something else."""
    network = made(arch).double()
    batch = images().double()
    expected = []
    for image in batch:
        log_probs = network(image[None]).logits.log_softmax(dim=1)
        gradients = torch.autograd.grad(entropy(log_probs).sum(), list(network.parameters()))
        expected.append([g.square().sum().item() for g in gradients])

    actual = entropy_gradient_norms(network, batch)

    np.testing.assert_allclose(expected, actual.numpy(), rtol=1e-8, atol=1e-20)


def test_dropout_can_be_on_while_scoring() -> None:
    """MC-dropout strategies would see the same logits in every pass, or refuse the network."""
    network, keys = made("mobilenet_v3_small"), np.array([3, 4], np.uint64)

    def noisy(batch: Tensor, keys: Any) -> Tensor:
        with torch.no_grad(), unit_dropout(network, UnitNoise(keys, torch.device("cpu"))):
            return cast(Tensor, network(batch).logits)

    together = noisy(images(), keys)

    assert not torch.equal(together, network(images()).logits)
    assert torch.allclose(together[1:], noisy(images()[1:], keys[1:]), atol=1e-5)


def test_copies_and_threads_do_not_share_outputs() -> None:
    """A reference model or a second thread would get block outputs of another batch."""
    network = made("mobilenet_v3_small")
    copied = copy.deepcopy(network)
    nn.init.zeros_(copied.classifier.weight)
    batches = [images(n) for n in (1, 2, 3, 4)]
    results: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        with torch.no_grad():
            results[number] = [network(batches[number]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shapes = {
        number: {(len(o.features), *(len(x) for x in o.layers)) for o in outputs}
        for number, outputs in results.items()
    }

    assert {number: {(number + 1,) * 5} for number in range(4)} == shapes
    assert 5 == len({id(t) for t in (copied(images()).features, *copied(images()).layers)})
    assert not torch.equal(network(images()).logits, copied(images()).logits)


def test_a_functional_call_sees_the_weights_it_is_given() -> None:
    """The fallback of gradient norms would differentiate the wrong weights."""
    network = made("mobilenet_v3_small")
    zeros = {name: torch.zeros_like(p) for name, p in network.classifier.named_parameters()}
    path = next(n for n, m in network.named_modules() if m is network.classifier)
    outputs = functional_call(
        network, {f"{path}.{name}": z for name, z in zeros.items()}, (images(),)
    )

    assert 0 == outputs.logits.abs().max()
