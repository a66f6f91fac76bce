"""Folders of weights, as timm and transformers write them."""

import json
from pathlib import Path

import pytest
import torch

from rayal.errors import UsageError
from rayal.models import weights_folder
from rayal.models.weights import encoded

WEIGHTS = {"a.weight": torch.ones(2), "b.weight": torch.zeros(3)}


def write_shards(root: Path) -> list[str]:
    """One weight in each; their paths."""
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, (key, weight) in zip(names, WEIGHTS.items(), strict=True):
        (root / name).write_bytes(encoded({key: weight}))
    index = {"weight_map": dict(zip(WEIGHTS, names, strict=True))}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return [str(root / name) for name in names]


def test_one_file_or_shards(tmp_path: Path) -> None:
    """A part of a large network would be taken for the whole."""
    shards = write_shards(tmp_path)
    found = weights_folder.read(str(tmp_path))

    assert shards == weights_folder.files(str(tmp_path))
    assert [*WEIGHTS] == [*found] and torch.equal(WEIGHTS["a.weight"], found["a.weight"])
    (tmp_path / "model.safetensors").write_bytes(encoded({"c": torch.ones(1)}))
    assert ["c"] == [*weights_folder.read(str(tmp_path))]
    assert [shards[0]] == weights_folder.files(shards[0])


def test_a_part_of_the_shards(tmp_path: Path) -> None:
    """Weights that are missing would be called those of another architecture."""
    first, second = map(Path, write_shards(tmp_path))
    second.rename(tmp_path / "kept")
    with pytest.raises(UsageError, match="lacks 'model-00002.*, of the 2 shards.*; copy all of th"):
        weights_folder.read(str(tmp_path))
    (tmp_path / "kept").rename(second)
    assert 2 == len(weights_folder.read(str(tmp_path)))


@pytest.mark.parametrize("index", ["{}", "[]", '{"weight_map": {"a": "../up.safetensors"}}'])
def test_an_index_of_something_else(index: str, tmp_path: Path) -> None:
    """A file elsewhere would be read, or none."""
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match="names no shards; copy the folder again"):
        weights_folder.read(str(tmp_path))
    write_shards(tmp_path)
    assert 2 == len(weights_folder.read(str(tmp_path)))


def test_folders_without_weights(tmp_path: Path) -> None:
    """What is missing has a name."""
    with pytest.raises(UsageError, match="holds no weights: model.safetensors or pyt"):
        weights_folder.files(str(tmp_path))
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin")
    assert [*WEIGHTS] == [*weights_folder.read(str(tmp_path))]


def test_what_a_folder_says(tmp_path: Path) -> None:
    """A run or a file of weights would be taken for a folder of others."""
    assert weights_folder.described(str(tmp_path)) is None
    assert weights_folder.described(str(tmp_path / "none")) is None
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "preprocessor_config.json").write_text("{}")

    assert {"model_type": "vit"} == weights_folder.described(str(tmp_path))
    names = ("config.json", "preprocessor_config.json")
    assert [f"{tmp_path}/{name}" for name in names] == weights_folder.beside(str(tmp_path))
