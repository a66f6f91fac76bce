"""The configurations of published segmentation protocols against what the papers say.

Written from the papers, not from the files. Cityscapes is a tree of its true number of frames, of
2048 x 1024 pixels, all links to one image: by reference, nothing of it is read but that.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal import checks, config, plan
from rayal.card import Card, ImageSpec
from rayal.experiment import Experiment
from rayal.masks import MaskDecoding
from rayal.plan import plan_cycles

CONFIGS = Path(__file__).parents[1] / "configs"
CITYSCAPES = ("supervised", "tod", "gradnorm", "dast_al")
VOC = ("", "_s4gan", "_polygons", "_polygons_s4gan")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,975 frames to train on and 500 to test on."""
    root = tmp_path_factory.mktemp("cityscapes")
    image, mask = root / "image.png", root / "mask.png"
    Image.fromarray(np.zeros((1024, 2048, 3), np.uint8)).save(image)
    Image.fromarray(np.full((1024, 2048), 7, np.uint8)).save(mask)
    for split, city, count in (("train", "aachen", 2975), ("val", "frankfurt", 500)):
        for folder in ("leftImg8bit", "gtFine"):
            (root / folder / split / city).mkdir(parents=True)
        for number in range(count):
            name = f"{city}/{city}_{number:06d}_000019"
            os.link(image, root / f"leftImg8bit/{split}/{name}_leftImg8bit.png")
            os.link(mask, root / f"gtFine/{split}/{name}_gtFine_labelIds.png")
    return root


def load(name: str, *changes: str) -> Experiment:
    return config.load(CONFIGS / f"{name}.yaml", changes)


@pytest.mark.parametrize("name", CITYSCAPES)
def test_cityscapes_can_be_planned(name: str, frames: Path, tmp_path: Path) -> None:
    """A mistake in a file would show on the GPUs, after hours."""
    x = load(f"{name}_cityscapes", f"dataset.root={frames}", f"dataset.store={tmp_path}")
    made = plan.make(x, x.dataset.open(), probe=False)
    labels = [cycle.labels for cycle in made.cycles]
    published = (
        range(348, 1249, 150) if name == "dast_al" else [298, 447, 596, 745, 894, 1043, 1190]
    )

    assert list(published) == labels
    assert made.cycles[0].scored == 2975 - labels[0]
    assert {"weights", "scores"} <= made.disk.keys()
    # 298 images of 2048 x 1024 are streamed: they are no part of the memory
    assert 0 == made.memory["labeled images"] < made.memory["weights, gradients and momentum"]
    assert 4 * 19 * 2048 * 1024 * 4 == made.memory["a class map of each image of a scored batch"]


def test_cityscapes_trains_as_published() -> None:
    """A curve would be of another experiment."""
    of = {name: load(f"{name}_cityscapes") for name in CITYSCAPES}
    dast = of["dast_al"].scheme

    assert {"drn_d_22"} == {x.model.part_name() for x in of.values()}
    assert (688, 688) == of["gradnorm"].scheme.augment.window
    assert {"name": "entropy_gradnorm", "norm": "sum"} == of["gradnorm"].strategy.model_dump()
    assert ("tod", "cod") == (of["tod"].scheme.part_name(), of["tod"].strategy.part_name())
    assert ("isda", "epmcm") == (dast.part_name(), of["dast_al"].strategy.part_name())
    assert (50, 8, 5e-4) == (dast.epochs, dast.batch_size, dast.lr)
    assert {"flip": True} == dast.augment.model_dump(exclude_defaults=True)


VOC_CARD = Card(
    name="voc",
    fingerprint="0" * 64,
    classes=tuple(f"class {number}" for number in range(21)),
    image=ImageSpec(channels=3, height=512, width=512, mean=(0.5,) * 3, std=(0.25,) * 3),
    encoding="bytes",
    decoding=None,
    masks=MaskDecoding(values={}),
    pool=10_582,
    test=1_449,
    parts={},
    group_rows=1024,
    bad={},
    sizes={},
    duplicates={},
    class_counts={},
    files={},
    origin="",
    licence="",
)


@pytest.mark.parametrize("suffix", VOC)
def test_parting_on_voc(suffix: str) -> None:
    """30,000 clicks in six purchases; at the paper's 33 clicks an image, 152 images at first."""
    x = load(f"parting_voc{suffix}")
    checks.check(x, VOC_CARD)
    cycles = list(plan_cycles(x, VOC_CARD, price=33))
    scheme: dict[str, Any] = x.scheme.model_dump()

    assert [151, 303, 454, 606, 757, 909] == [cycle.labels for cycle in cycles]
    assert (5000, 5000, 30_000, "clicks") == tuple(x.budget.model_dump().values())[:4]
    assert ("clicks", 10.0) == (x.oracle.part_name(), x.oracle.model_dump()["tolerance"])
    assert "deeplab_v2" == x.model.part_name()
    assert (2.5e-4, 10, 0.9, 5e-4, "poly") == tuple(
        scheme[key] for key in ("lr", "last_layer_lr", "momentum", "weight_decay", "schedule")
    )
    assert (321, 321) == x.scheme.augment.window
    if "s4gan" in suffix:
        assert (10_000, 8, 8, 0.6) == tuple(
            scheme[key] for key in ("steps", "batch_size", "unlabeled_batch_size", "threshold")
        )
    else:
        assert (150, 10) == (scheme["epochs"], scheme["batch_size"])
    polygons = "random_image_entropy_polygon"
    whole = "random" if "s4gan" in suffix else "entropy"
    assert (polygons if "polygons" in suffix else whole) == x.strategy.part_name()
    assert 0.6 == x.strategy.model_dump().get("threshold", 0.6)


@pytest.mark.parametrize("name", ["", "_tod", "_dast_al", "_s4gan", "_clicks", "_polygons"])
def test_small_camvid_is_one_experiment(name: str) -> None:
    """Arms of one table would differ in more than their names say."""
    x, base = load(f"camvid{name}"), load("camvid")
    shared = {**base.scheme.model_dump(), "name": x.scheme.part_name()}

    assert base.dataset == x.dataset and base.model == x.model
    assert shared.items() <= x.scheme.model_dump().items()
