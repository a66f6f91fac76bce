"""Weights as files, ours and anybody's: tensors are found and fit, and nothing in a file runs."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from rayal.errors import StorageError, UsageError
from rayal.models.weights import load_weights, parse, read_weights, save_weights
from rayal.storage.folder import Folder
from tests.support.networks import equal, small

WEIGHTS = {"conv.weight": torch.arange(8.0).reshape(2, 4), "fc.bias": torch.tensor([1.0, 2.0])}


def saved(path: Path, content: Any) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return str(path)


def same(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> bool:
    return expected.keys() == actual.keys() and all(
        torch.equal(w, actual[name]) for name, w in expected.items()
    )


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin", "ckpt"])
def test_every_usual_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    """A stranger's checkpoint could not be scored."""
    assert same(WEIGHTS, read_weights(saved(tmp_path / f"weights.{suffix}", WEIGHTS)))


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    """A renamed file would be called damaged."""
    path = tmp_path / "weights.bin"
    path.write_bytes(safetensors.torch.save(WEIGHTS))

    assert same(WEIGHTS, read_weights(str(path)))


def test_files_of_old_torch_are_read(tmp_path: Path) -> None:
    """Half of the checkpoints on the web are from before torch 1.6."""
    path = tmp_path / "old.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)

    assert same(WEIGHTS, read_weights(str(path)))


def test_a_file_is_read_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in a bucket, or beside the user, would have to be copied first."""
    saved(tmp_path / "weights.pt", WEIGHTS)
    Folder("memory://bucket/run").write("weights.pt", (tmp_path / "weights.pt").read_bytes())
    monkeypatch.chdir(tmp_path)

    assert same(WEIGHTS, read_weights("memory://bucket/run/weights.pt"))
    assert same(WEIGHTS, read_weights("weights.pt"))
    with pytest.raises(StorageError, match="absent.pt: there is no such file"):
        read_weights("memory://bucket/run/absent.pt")


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_containers_are_taken_off(tmp_path: Path, key: str) -> None:
    """What training programs save would fit no network."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], momentum=0.9).state_dict()
    content = {key: WEIGHTS, "optimizer": optimizer, "epoch": 3, "best": torch.tensor(0.5)}

    assert same(WEIGHTS, read_weights(saved(tmp_path / "checkpoint.pt", content)))


def test_numbers_among_the_weights_are_passed_over(tmp_path: Path) -> None:
    """An epoch beside the weights would make them none."""
    assert same(WEIGHTS, read_weights(saved(tmp_path / "flat.pt", {**WEIGHTS, "epoch": 5})))


@pytest.mark.parametrize(
    "content, message",
    [
        ({"model": WEIGHTS, "ema": WEIGHTS}, r"holds 2 state dicts: model \(dict\), ema \(dict\);"),
        ({"epoch": 3, "loss": torch.ones(1)}, r"no state dict .*: epoch \(int\), loss \(Tensor\);"),
        ({}, "no state dict .*: it is empty"),
        (torch.ones(2), "no state dict .*: it is a Tensor"),
        ({f"key{n}": n for n in range(10)}, r"key7 \(int\) and 2 more"),
    ],
)
def test_a_file_without_one_state_dict_says_what_it_holds(
    tmp_path: Path, content: Any, message: str
) -> None:
    """The user would have to open the file to learn why it is refused."""
    with pytest.raises(UsageError, match=message):
        read_weights(saved(tmp_path / "checkpoint.pt", content))
    assert same(WEIGHTS, read_weights(saved(tmp_path / "alone.safetensors", WEIGHTS)))


class Intruder:
    """What a malicious file holds: reading it with pickle creates `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain pickle"])
def test_a_malicious_file_is_refused_and_its_code_not_run(tmp_path: Path, kind: str) -> None:
    """Whoever provides a checkpoint could run any code here."""
    mark, path = tmp_path / "mark", tmp_path / "weights.pt"
    content = {"state_dict": WEIGHTS, "hook": Intruder(mark)}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(UsageError, match="Python objects.*, which rayal never loads"):
        read_weights(str(path))

    assert not mark.exists()
    torch.load(path, weights_only=False) if kind != "plain pickle" else pickle.loads(
        path.read_bytes()
    )
    assert mark.exists(), "the file was harmless, so that this test said nothing"


def test_a_checkpoint_with_python_objects_says_the_way_out(tmp_path: Path) -> None:
    """torchvision's own training script saves its arguments beside the weights."""
    content = {"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)}

    with pytest.raises(
        UsageError, match=r"\(argparse.Namespace\), .*save the network's state_dict\(\) again"
    ):
        read_weights(saved(tmp_path / "checkpoint.pth", content))
    assert same(WEIGHTS, read_weights(saved(tmp_path / "again.safetensors", WEIGHTS)))


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", r"^weights\.pt is empty \(0 bytes\)"),
        (b"hello", r"^weights\.pt is damaged \("),
        (b"PK\x03\x04 cut short", "is damaged .*not a ZIP"),
        (b"\x80\x02}q\x01", r"is damaged \("),
        (b"\x09" + bytes(7) + b"{", "is damaged"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS, .*`git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>", "is a page of the web"),
        (b"\x1f\x8b\x08", "is packed with gzip; unpack it"),
        (pickle.dumps(argparse.Namespace(a=1), protocol=4), "holds Python objects, which rayal"),
    ],
)
def test_what_is_no_weights_is_named(data: bytes, message: str) -> None:
    """All would be called damaged, and the user look for the wrong fault."""
    with pytest.raises(UsageError, match=message):
        parse(data, "weights.pt")


@pytest.mark.parametrize(
    "name, weight, message",
    [
        ("a", torch.ones(2, device="meta"), "a is on the device 'meta', .*; save the network aft"),
        ("a", torch.tensor([1.0, float("nan")]), "1 of 2 numbers of a are not finite .*; give wei"),
        ("a", torch.tensor([float("-inf")], dtype=torch.bfloat16), "1 of 1 numbers of a are not"),
        ("bn.running_var", torch.tensor([-1.0]), "bn.running_var is a variance below 0; save the"),
    ],
)
def test_weights_that_cannot_predict_are_refused(
    tmp_path: Path, name: str, weight: Tensor, message: str
) -> None:
    """A unit of the pool would be blamed, or the user see a traceback."""
    with pytest.raises(UsageError, match=message):
        read_weights(saved(tmp_path / "weights.pt", {name: weight}))
    again = {name: torch.ones(weight.shape)}  # saved with numbers, from an earlier time
    assert same(again, read_weights(saved(tmp_path / "weights.pt", again)))


def test_saved_bytes_depend_on_the_weights_alone() -> None:
    """A stage that runs again would leave a file with another checksum."""
    channels_last = small().to(memory_format=torch.channels_last)

    assert save_weights(small()) == save_weights(channels_last)


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
