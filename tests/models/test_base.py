"""Building networks, and weights going into files and out of them."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any, cast

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from rayal.data.datasets.base import ImageSpec
from rayal.errors import StorageError, UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import (
    Model,
    Network,
    build,
    last_layer,
    load_weights,
    restore,
    restore_exactly,
    save_weights,
)

DIGITS = ImageSpec(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,))


def small(classes: int = 3, seed: int = 0, **fields: object) -> nn.Module:
    return build(SmallCnn.model_validate({"width": 4, **fields}), classes, DIGITS, seed)


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def written(path: Path, weights: dict[str, Tensor]) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path)
    return str(path)


class Doubling(Model):
    """One weight, so that an output can be computed by hand."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        block = nn.Conv2d(1, 1, kernel_size=1, bias=False)
        classifier = nn.Linear(4, num_classes)
        network = Network(
            blocks=[block], layer_channels=[1], head=nn.Flatten(), classifier=classifier
        )
        nn.init.constant_(block.weight, 2)
        nn.init.constant_(classifier.weight, 1)
        nn.init.constant_(classifier.bias, 0.5)
        return network


def test_outputs_by_hand() -> None:
    """Strategies would read features or block outputs of the wrong place."""
    image = DIGITS.model_copy(update={"height": 2, "width": 2})
    network = build(Doubling(), 1, image, seed=0)

    outputs = network(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))

    assert [[20.5]] == outputs.logits.tolist()
    assert [[2.0, 4.0, 6.0, 8.0]] == outputs.features.tolist()
    assert [[[[[2.0, 4.0], [6.0, 8.0]]]]] == [layer.tolist() for layer in outputs.layers]


def test_seed_alone_decides_the_weights() -> None:
    """Strategies of one seed would not start from the same network."""
    first = small(seed=1)
    torch.rand(1)

    assert equal(first, small(seed=1))
    assert not equal(first, small(seed=2))


def test_build_leaves_the_global_generator_alone() -> None:
    """Building a model would change what everything after it draws."""
    before = torch.get_rng_state()
    small()

    assert torch.equal(before, torch.get_rng_state())


def test_images_that_are_too_small_are_refused() -> None:
    """The run would end in torch's error about an empty image."""
    image = DIGITS.model_copy(update={"height": 7})

    with pytest.raises(UsageError, match="'small_cnn': images of 7x8 px .* needs 8x8"):
        build(SmallCnn(), 3, image, seed=0)


def test_dropout_acts_on_the_logits_alone() -> None:
    """MC-dropout would have nothing to draw, or features would differ from forward to forward."""
    network = small(dropout=0.5).eval()
    cast(Any, network).dropout.train()
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = network(images), network(images)

    assert torch.equal(first.features, second.features)
    assert not torch.equal(first.logits, second.logits)


def test_weights_survive_saving() -> None:
    """A scoring worker would see another model than the one trained, its batch norm included."""
    trained = small(seed=1)
    trained(torch.randn(8, 1, 8, 8))  # moves the running means
    restored = restore(SmallCnn(width=4), 3, DIGITS, save_weights(trained))

    assert equal(trained, restored)


def test_saved_bytes_depend_on_the_weights_alone() -> None:
    """A stage that runs again would leave a file with another checksum."""
    channels_last = small().to(memory_format=torch.channels_last)

    assert save_weights(small()) == save_weights(channels_last)


def test_restore_does_not_read_the_pretrained_file() -> None:
    """Evaluation would need the file on every machine, and warn of classes that it replaces."""
    model = SmallCnn(width=4, pretrained="/absent.safetensors")

    assert equal(small(seed=1), restore(model, 3, DIGITS, save_weights(small(seed=1))))


def test_weights_of_another_width_are_refused_and_change_nothing() -> None:
    """Half of a model would be replaced, or torch would list hundreds of names."""
    network, untouched = small(), small()

    with pytest.raises(UsageError) as caught:
        load_weights(network, save_weights(small(width=8)))

    message = str(caught.value)
    first = "blocks.0.1.weight (4x1x3x3 in the network, 8x1x3x3 in the file)"
    assert first in message
    assert 3 == message.count("in the file)")
    assert equal(untouched, network)


def test_absent_and_unknown_weights_are_refused() -> None:
    """A network would keep random weights where the file has none."""
    weights = small().state_dict()
    weights["extra"] = weights.pop("classifier.bias")

    with pytest.raises(UsageError) as caught:
        load_weights(small(), safetensors.torch.save(weights))

    assert "classifier.bias (3 in the network, absent in the file)" in str(caught.value)
    assert "extra (absent in the network, 3 in the file)" in str(caught.value)


def test_bytes_that_are_no_weights_are_refused() -> None:
    """A damaged file would end in a traceback of the safetensors package."""
    with pytest.raises(UsageError, match="these 5 bytes are no safetensors weights"):
        load_weights(small(), b"hello")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_pretrained_weights_replace_random_ones(tmp_path: Path, name: str) -> None:
    """Fine-tuning would start from random weights."""
    start = small(seed=1)
    path = written(tmp_path / name, start.state_dict())

    assert equal(start, small(seed=2, pretrained=path))


def test_pretrained_on_other_classes_keeps_a_random_last_layer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fine-tuning on new classes would be refused, or happen without a word about it."""
    start = small(classes=5, seed=1)
    path = written(tmp_path / "weights.pth", start.state_dict())

    with caplog.at_level(logging.WARNING):
        network = small(classes=3, seed=2, pretrained=path)

    expected = start.state_dict() | {
        name: value for name, value in small(seed=2).state_dict().items() if "classifier" in name
    }
    assert all(torch.equal(expected[name], w) for name, w in network.state_dict().items())
    assert "5 classes, this network for 3" in caplog.text


def without_head(network: nn.Module) -> dict[str, Tensor]:
    return {key: w for key, w in network.state_dict().items() if "classifier" not in key}


def test_pretrained_trunk_gets_a_random_last_layer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Self-supervised weights, which have no classes, could not be started from."""
    start = small(seed=1)
    path = written(tmp_path / "weights.pth", without_head(start))
    with caplog.at_level(logging.WARNING):
        network = small(seed=2, pretrained=path)

    fresh = small(seed=2).state_dict()
    expected = start.state_dict() | {key: fresh[key] for key in fresh if "classifier" in key}
    assert all(torch.equal(expected[key], w) for key, w in network.state_dict().items())
    assert "weights.pth has no head: 2 weights of this network, from classifier.w" in caplog.text


def test_a_head_that_is_there_in_part_is_refused(tmp_path: Path) -> None:
    """A last layer would be half pretrained, half random."""
    trunk = without_head(small())
    half = written(tmp_path / "half.pth", trunk | {"classifier.bias": torch.zeros(3)})
    renamed = written(tmp_path / "renamed.pth", trunk | {"last.weight": torch.zeros(3, 16)})

    with pytest.raises(UsageError, match=r"1 weights: classifier\.weight \(3x16 .*, absent in the"):
        small(pretrained=half)
    with pytest.raises(
        UsageError, match=r"3 weights: classifier\.weight .*; last\.weight \(absent"
    ):
        small(pretrained=renamed)


class TwoHeaded(SmallCnn):
    """Files of it have a head that it does not, and their trunk lacks a block that it has."""

    left_out = ("auxiliary.",)
    heads = ("blocks.3.",)


def test_heads_of_another_use_are_left_out(tmp_path: Path) -> None:
    """A file with an auxiliary classifier could neither be started from nor score a pool."""
    start = small(seed=1)
    theirs = {**start.state_dict(), "auxiliary.0.weight": torch.zeros(2)}
    path = written(tmp_path / "weights.pth", theirs)
    model = TwoHeaded(width=4)
    begun = build(model.model_copy(update={"pretrained": path}), 3, DIGITS, seed=2)

    assert equal(start, begun)
    assert equal(start, restore_exactly(model, 3, DIGITS, theirs, "theirs.pth"))
    with pytest.raises(UsageError, match=r"auxiliary\.0\.weight \(absent in the network"):
        small(pretrained=path)


def test_a_trunk_may_lack_declared_heads_and_nothing_else(tmp_path: Path) -> None:
    """ImageNet's weights could not be started from, or a network would be random unnoticed."""
    start = small(seed=1)
    trunk = {key: w for key, w in without_head(start).items() if not key.startswith("blocks.3.")}
    path = written(tmp_path / "trunk.pth", trunk)
    begun = build(TwoHeaded(width=4, pretrained=path), 3, DIGITS, seed=2)
    fresh = small(seed=2).state_dict()

    assert all(torch.equal((fresh | trunk)[key], w) for key, w in begun.state_dict().items())
    with pytest.raises(UsageError, match=r"blocks\.3\.1\.weight .* absent in the file"):
        small(pretrained=path)
    with pytest.raises(UsageError, match=r"blocks\.3\.1\.weight .* absent in the file"):
        restore_exactly(TwoHeaded(width=4), 3, DIGITS, trunk, "trunk.pth")


def test_pretrained_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """A network would be partly pretrained although the file was for another one."""
    path = written(tmp_path / "weights.pth", small(classes=5, width=8).state_dict())

    with pytest.raises(UsageError, match=r"weights\.pth do not fit .*4x1x3x3 in the network, 8x1x"):
        small(pretrained=path)


def test_weights_without_batch_counts_are_accepted(tmp_path: Path) -> None:
    """Files from before torch 0.4.1, some of torchvision's among them, could not be used."""
    start = small(seed=1)
    old = {key: w for key, w in start.state_dict().items() if "num_batches" not in key}
    path = written(tmp_path / "weights.pth", old)

    assert equal(start, small(seed=2, pretrained=path))


class Intruder:
    """What a malicious file holds: reading it with pickle creates `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_malicious_file_is_refused_and_its_code_not_run(tmp_path: Path) -> None:
    """Whoever provides a weights file could run any code on the cluster."""
    mark, path = tmp_path / "mark", tmp_path / "weights.pth"
    torch.save({"classifier.weight": Intruder(mark)}, path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Intruder(mark)))

    for file in (path, plain):
        with pytest.raises(UsageError, match="Python objects, which rayal never loads"):
            small(pretrained=str(file))
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short", b"\x80\x02}q\x01"])
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, name: str, content: bytes) -> None:
    """A download that broke off would end in a traceback."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UsageError, match=f"{name} is damaged"):
        small(pretrained=str(path))


def test_a_whole_checkpoint_gives_its_network(tmp_path: Path) -> None:
    """What most training programs save could not be used."""
    start, path = small(seed=1), tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "model": start.state_dict()}, path)

    assert equal(start, small(seed=2, pretrained=str(path)))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_an_absent_file_is_named(name: str) -> None:
    """The message would not say which file, or why."""
    with pytest.raises(StorageError, match=f"/absent/{name}: there is no such file"):
        small(pretrained=f"/absent/{name}")


def exactly(weights: dict[str, Tensor], classes: int = 3) -> nn.Module:
    return restore_exactly(SmallCnn(width=4), classes, DIGITS, weights, "theirs.pth")


def test_weights_of_others_are_restored_whole() -> None:
    """A pool would be scored by another network than the file's."""
    start = small(seed=1)

    assert equal(start, exactly(dict(start.state_dict())))


def test_a_network_to_score_with_has_no_random_layer() -> None:
    """Scores would come from a last layer that was never trained."""
    with pytest.raises(UsageError, match=r"^theirs\.pth is for 5 classes, not for 3$"):
        exactly(dict(small(classes=5).state_dict()))


def test_what_does_not_fit_exactly_is_named() -> None:
    """A user would search for a wrong number of classes where the architecture is another."""
    for other in (small(classes=5, width=8), nn.Linear(3, 5)):
        with pytest.raises(UsageError, match=r"theirs\.pth do not fit this network in \d+ weights"):
            exactly(dict(other.state_dict()))


def test_a_bias_of_other_classes_is_no_number_of_classes() -> None:
    """The message would name classes that the weights do not have."""
    weights = dict(small().state_dict()) | {"classifier.bias": torch.zeros(5)}

    with pytest.raises(UsageError, match=r"1 weights: classifier\.bias \(3 in .*, 5 in the file"):
        exactly(weights)


@pytest.mark.parametrize(
    ("layer", "linear"),
    [
        (nn.Linear(4, 3), True),
        (nn.Conv2d(4, 3, kernel_size=1, bias=False), True),
        (nn.Conv2d(4, 3, kernel_size=3), False),
        (nn.Conv2d(6, 3, kernel_size=1, groups=3), False),
        (nn.Sequential(nn.Linear(4, 3)), False),
    ],
)
def test_only_a_linear_map_per_position_is_a_last_layer(layer: nn.Module, linear: bool) -> None:
    """A strategy would take a weight for C D that is no such matrix."""
    network = nn.Module()
    network.classifier = layer

    assert last_layer(network) is (layer if linear else None)


def test_a_model_is_its_configuration() -> None:
    """The run folder would not record what was built."""
    model = SmallCnn(width=8)

    assert {"name": "small_cnn", "width": 8, "dropout": 0.0, "pretrained": None} == json.loads(
        model.model_dump_json()
    )
