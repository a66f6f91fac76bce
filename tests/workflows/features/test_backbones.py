"""Networks of other packages look at images as their weights want it."""

import json
import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rayal.errors import StorageError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.weights import save_weights
from rayal.parts import find
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.testing.model import spec
from rayal.workflows.features.settings import FeaturePass
from tests.support.backbones import timm_folder, transformers_folder
from tests.support.whole_runs import go
from tests.workflows.features.test_features import made, vectors

LOCAL = {"engine": "local", "device": "cpu"}


@pytest.fixture
def package() -> Any:
    return pytest.importorskip("transformers", reason="pip install transformers")


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Any]:
    """Photographs of several sizes in class folders."""
    rng = np.random.default_rng(0)
    for number in range(12):
        place = tmp_path / "photos" / ("test" if number > 7 else "train") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
        size = 48 + 8 * (number % 3), 40
        Image.fromarray(pixels).resize(size).save(place / f"{number}.png")
    return {"name": "image_folder", "root": str(tmp_path / "photos")}


def settings(dataset: dict[str, Any], folder: Path, **fields: Any) -> FeaturePass:
    return FeaturePass(
        **{"dataset": dataset, "checkpoint": str(folder), "compute": LOCAL, **fields}
    )


def test_vectors_are_those_of_transformers(
    package: Any, photos: dict[str, Any], tmp_path: Path
) -> None:
    """With another size, cut or normalisation than the weights', or of another image."""
    theirs = transformers_folder(tmp_path / "net")
    store = made(settings(photos, tmp_path / "net"), tmp_path / "F")
    look = package.AutoImageProcessor.from_pretrained(tmp_path / "net", local_files_only=True)
    for split in (store.pool, store.test):
        files = [Image.open(f"{photos['root']}/{unit}") for unit in split.ids()]
        pixels = torch.cat([look(images=[i], return_tensors="pt")["pixel_values"] for i in files])
        with torch.no_grad():
            wanted = theirs(pixel_values=pixels).last_hidden_state[:, 0].numpy()

        np.testing.assert_allclose(vectors(split), wanted.astype(np.float16), rtol=2e-3, atol=2e-3)
    said = json.loads((tmp_path / "F/features.json").read_text())
    files = ("model.safetensors", "config.json", "preprocessor_config.json")
    assert {n: sha256((tmp_path / "net" / n).read_bytes()).hexdigest() for n in files} == (
        said["files"]
    )
    assert (32, True, "bicubic") == tuple(
        said["decoding"][name] for name in ("size", "squash", "interpolation")
    )
    assert [0.4, 0.5, 0.6] == said["image"]["mean"] and 2 == said["model"]["config"][
        "num_hidden_layers"
    ]


def test_vectors_are_those_of_timm(photos: dict[str, Any], tmp_path: Path) -> None:
    """A folder of timm says its architecture, its cut and its normalisation itself."""
    timm = pytest.importorskip("timm", reason="pip install timm")
    timm_folder(tmp_path / "net", "test_convnext", input_size=[3, 40, 40], crop_pct=1.0)
    store = made(settings(photos, tmp_path / "net"), tmp_path / "F")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'net'}", pretrained=True, num_classes=0)
    look = timm.data.create_transform(**timm.data.resolve_data_config(theirs.pretrained_cfg))
    pixels = [look(Image.open(f"{photos['root']}/{unit}")) for unit in store.pool.ids()]
    with torch.no_grad():
        wanted = theirs.eval()(torch.stack(pixels)).numpy()

    # of 40 px height, so that nothing is resized
    np.testing.assert_allclose(vectors(store.pool), wanted.astype(np.float16), rtol=2e-3, atol=2e-3)


def test_what_is_said_otherwise_counts(
    package: Any, photos: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An own size or mean would be ignored, or nobody told that it is not the weights'."""
    transformers_folder(tmp_path / "net")
    own = {**photos, "size": 24}
    x = settings(own, tmp_path / "net", mean=(0.1, 0.1, 0.1), std=(1.0, 1.0, 1.0))
    with caplog.at_level(logging.WARNING):
        made(x, tmp_path / "F")
    said = json.loads((tmp_path / "F/features.json").read_text())

    assert (24, "bicubic") == (said["decoding"]["size"], said["decoding"]["interpolation"])
    assert [0.1, 0.1, 0.1] == said["image"]["mean"]
    asked = "--set dataset.size=32 --set dataset.squash=true --set dataset.interpolation=bicubic"
    assert f"want their images otherwise than the dataset makes them; for theirs: {asked}" in (
        caplog.text
    )
    caplog.clear()
    made(settings({**photos, "size": 32, "squash": True}, tmp_path / "net"), tmp_path / "G")
    assert "otherwise" not in caplog.text


def test_gray_images_are_those_that_convert_to_color(package: Any, tmp_path: Path) -> None:
    """Each channel of the weights would be normalised by the mean of another one, or of digits."""
    theirs = transformers_folder(tmp_path / "net")
    digits = {"name": "digits", "limit_pool": 20, "limit_test": 10}
    enlarged = {"name": "transformers", "enlarge": 4}
    asked = settings(digits, tmp_path / "net", model=enlarged)
    store, images = made(asked, tmp_path / "F"), asked.dataset.open().pool
    pixels = images.decode(images.take(store.pool.ids())).images
    color = np.stack([np.asarray(Image.fromarray(i[0]).convert("RGB")) for i in pixels])
    mean, std = (torch.tensor(m).view(3, 1, 1) for m in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]))
    seen = (torch.from_numpy(color).permute(0, 3, 1, 2).float() / 255 - mean) / std
    seen = torch.nn.functional.interpolate(seen, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        expected = theirs(pixel_values=seen).pooler_output.numpy()

    assert pixels.shape == (20, 1, 8, 8)
    found = store.pool.decode(store.pool.take(store.pool.ids())).images
    np.testing.assert_allclose(found, expected, atol=4e-3)  # kept as float16


def test_images_that_cannot_be_resized(
    package: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """CIFAR in DINOv2 would be two patches a side without a word."""
    rng, cifar = np.random.default_rng(0), tmp_path / "small"
    for number in range(6):
        place = cifar / ("test" if number > 3 else "train") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(place / f"{number}.png")
    store = {"name": "image_folder", "root": str(cifar), "size": None}
    transformers_folder(tmp_path / "net")
    enlarged = {"name": "transformers", "enlarge": 2}
    with caplog.at_level(logging.WARNING):
        made(settings(store, tmp_path / "net", model=enlarged), tmp_path / "G")

    assert "the network sees" not in caplog.text
    made(settings(store, tmp_path / "net"), tmp_path / "H")
    assert "are for images of 32x32 px, the network sees 16x16; for theirs: --set" in caplog.text


def test_weights_without_their_processor(
    package: Any, photos: dict[str, Any], tmp_path: Path
) -> None:
    """ImageNet's mean in place of that of the weights gives vectors that look like good ones."""
    transformers_folder(tmp_path / "net")
    (tmp_path / "net/preprocessor_config.json").unlink()
    sized = {**photos, "size": 32}
    with pytest.raises(UsageError, match="no preprocessor_config.json; copy it from where"):
        made(settings(sized, tmp_path / "net"), tmp_path / "F")

    given = settings(sized, tmp_path / "net", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert 8 == made(given, tmp_path / "F").card.pool


def test_a_folder_of_something_else(photos: dict[str, Any], tmp_path: Path) -> None:
    """It would be looked for in a rayal run."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/config.json").write_text('{"task": "mine"}')
    with pytest.raises(UsageError, match="names no architecture of timm and no model_type"):
        made(settings(photos, tmp_path / "net"), tmp_path / "F")
    with pytest.raises(StorageError, match="there is no such file or folder; check the path"):
        made(settings(photos, tmp_path / "none"), tmp_path / "F")
    assert not (tmp_path / "F").exists()
    network = build(find("models", "small_cnn")(width=4), 2, spec(32, 32, channels=3), seed=0)
    (tmp_path / "net/model.safetensors").write_bytes(save_weights(network))
    file, cnn = tmp_path / "net/model.safetensors", {"name": "small_cnn", "width": 4}
    assert 8 == made(settings({**photos, "size": 32}, file, model=cnn), tmp_path / "F").card.pool


def test_a_network_of_color_is_tuned_on_gray_images(package: Any, tmp_path: Path) -> None:
    """What looked at gray images could not be trained on them in the end."""
    transformers_folder(tmp_path / "net")
    digits = {"name": "digits", "limit_pool": 40, "limit_test": 10}
    enlarged = {"name": "transformers", "enlarge": 4}
    made(settings(digits, tmp_path / "net", model=enlarged), tmp_path / "F")
    x = Experiment.model_validate(
        {
            "name": "gray",
            "dataset": {"name": "features", "root": str(tmp_path / "F")},
            "model": "linear_head",
            "scheme": {"epochs": 2, "batch_size": 8},
            "strategy": "margin",
            "budget": {"initial": 10, "per_cycle": 10, "total": 20},
            "fine_tune": {"scheme": {"epochs": 1, "batch_size": 8, "lr": 0.001}},
            "compute": LOCAL,
            "tracking": "none",
        }
    )
    go(x, tmp_path / "run")
    tuned = Record(Folder(tmp_path / "run")).fine_tuned()

    assert [20] == [each.labels for each in tuned.values()]
