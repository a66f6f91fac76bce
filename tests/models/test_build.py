"""rayal/models/build.py: random weights, and those of somebody's file to start from."""

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from rayal.errors import StorageError, UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from tests.support.doubles import card_of
from tests.support.networks import DIGITS, equal, small


def written(path: Path, weights: dict[str, Tensor]) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path)
    return str(path)


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
    build(SmallCnn(), 3, DIGITS, seed=0)


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
    assert equal(
        start, TrainedModel.adopted(card_of(model, 3, DIGITS), theirs, "theirs.pth").network()
    )
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
        TrainedModel.adopted(card_of(TwoHeaded(width=4), 3, DIGITS), trunk, "trunk.pth")


def test_pretrained_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """A network would be partly pretrained although the file was for another one."""
    path = written(tmp_path / "weights.pth", small(classes=5, width=8).state_dict())

    with pytest.raises(UsageError, match=r"weights\.pth do not fit .*4x1x3x3 in the network, 8x1x"):
        small(pretrained=path)
    small(width=8, pretrained=path)  # the file's own options


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
        with pytest.raises(UsageError, match="Python objects.*, which rayal never loads"):
            small(pretrained=str(file))
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short", b"\x80\x02}q\x01"])
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, name: str, content: bytes) -> None:
    """A download that broke off would end in a traceback."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UsageError, match=f"{name} is (damaged|empty)"):
        small(pretrained=str(path))
    start = small(seed=1)
    assert equal(start, small(seed=2, pretrained=written(path, start.state_dict())))  # restore it


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
