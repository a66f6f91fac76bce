"""What messages about features say to do, done."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.data.datasets.features import Features
from rayal.errors import DataError, UsageError
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.parts import build as part
from rayal.parts import find
from rayal.storage.folder import Folder
from rayal.testing.model import spec
from rayal.training.augment import Augment
from rayal.workflows.features.backbone import read_backbone
from rayal.workflows.features.settings import FeaturePass

DIGITS = {"name": "digits", "limit_pool": 60, "limit_test": 20}


def vectors(path: Path, width: int = 4) -> None:
    ids = np.array([f"{path.stem}-{row}" for row in range(4)])
    labels = np.array([0, 1, 0, 1])
    np.savez(path, id=ids, features=np.ones((4, width)), label=labels)


def test_files_of_features(tmp_path: Path) -> None:
    """Of one network, in one of the two forms."""
    vectors(tmp_path / "pool.npz")
    vectors(tmp_path / "test.npz", width=3)
    (tmp_path / "test.csv").touch()
    with pytest.raises(DataError, match=r"is no .npz, .npy or .parquet file; give features in one"):
        Features(root=str(tmp_path), pool="pool.npz", test="test.csv").open()
    with pytest.raises(DataError, match="vectors of 4 features.*of 3; make both with the same"):
        Features(root=str(tmp_path), pool="pool.npz", test="test.npz").open()
    vectors(tmp_path / "test.npz")

    assert 4 == Features(root=str(tmp_path), pool="pool.npz", test="test.npz").open().card.test


def test_changes_of_pixels() -> None:
    """Off, as the message says."""
    image = spec(channels=6)

    assert ["a: flip cannot change vectors of features; set it to off"] == [
        *Augment(flip=True).misfits(image, "a")
    ]
    assert [] == [*Augment(flip=False).misfits(image, "a")]


def weights(folder: Path, model: Any, channels: int, task: str) -> str:
    """A file that says what it is."""
    made, image = part("models", model), spec(32, 32, channels=channels)
    card = ModelCard(
        model=made,
        classes=("a", "b"),
        image=image,
        decoding={"channels": channels},  # type: ignore[arg-type]
        task=find("tasks", task)(),
    )
    TrainedModel.of(card, build(made, 2, image, seed=0)).write(Folder(folder))
    return str(folder / "weights.safetensors")


def test_weights(tmp_path: Path) -> None:
    """One file of them, and both statistics."""
    model = {"name": "small_cnn", "width": 4}
    file = weights(tmp_path, model, 1, "classification")
    for wrong, way_out in (
        ({"model": model}, "features of random weights say nothing; give the weights"),
        ({"checkpoint": file, "model": {**model, "pretrained": file}}, "both weights; give one"),
        ({"checkpoint": file, "mean": [0.5]}, "mean and std belong together; set both"),
    ):
        with pytest.raises(UsageError, match=way_out):
            FeaturePass(dataset=DIGITS, **wrong)

    FeaturePass(dataset=DIGITS, checkpoint=file, mean=(0.5,), std=(0.5,))
    FeaturePass(dataset=DIGITS, model={**model, "pretrained": file})


def test_a_network_that_fits(tmp_path: Path) -> None:
    """One that classifies images of as many channels."""
    grey = part("datasets", DIGITS).open().card
    dense = weights(tmp_path / "a", "small_segmenter", 1, "segmentation")
    with pytest.raises(UsageError, match="no vector for an image; give a network that classifies"):
        read_backbone(FeaturePass(dataset=DIGITS, checkpoint=dense), grey)
    small = {"name": "small_cnn", "width": 4}
    colour = weights(tmp_path / "b", small, 3, "classification")
    with pytest.raises(UsageError, match="on 3 channels, digits has 1; set dataset.channels, or"):
        read_backbone(FeaturePass(dataset=DIGITS, checkpoint=colour), grey)
    other = weights(tmp_path / "c", small, 1, "classification")

    assert (
        read_backbone(FeaturePass(dataset=DIGITS, checkpoint=other), grey).card.image.channels == 1
    )
