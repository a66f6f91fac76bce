"""The configurations of published segmentation protocols against what the papers say.

Written from the papers and their codes, not from the files, whose headers say what is of neither.
Cityscapes is a tree of its true number of frames, of 2048 x 1024 pixels, all links to one image.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal.data.card import Card, ImageSpec
from rayal.data.masks import MaskDecoding
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.workflows import checks, plan
from rayal.workflows.plan.cycles import Prices, plan_cycles
from tests.support.networks import build_to_look_at

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = {"flip": True, "window": None, "scale": None, "crop": 0, "cutout": 0, "policy": None}


def training(**own: Any) -> dict[str, Any]:
    """All that a training does."""
    sgd = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "last_layer_lr": 1.0}
    whole = {"steps": None, "early_stopping": None, "precision": "fp32"}
    return {"name": "supervised", **sgd, **whole, **own}


DRN = training(
    epochs=100,
    batch_size=8,
    lr=0.01,
    weight_decay=1e-4,
    schedule="multistep",
    milestones=(40, 80),
    gamma=0.1,
    augment={**PLAIN, "window": (688, 688)},
)
OWN = {
    **DRN,
    "epochs": 250,
    "batch_size": 32,
    "milestones": (100, 200),
    "augment": {**PLAIN, "window": (896, 896)},
}
"""The training of DRN's own code."""
TOD = {
    **DRN,
    "name": "tod",
    "weight": 0.05,
    "reduction": "sum",
    "unlabeled_batch_size": 8,
    "heads": 1,
    "use_labeled": False,
    "cycle0_unlabeled": "random",
    "teacher": {"alpha": 0.999, "batch_norm": "averaged", "ramp": True, "start": "copy"},
}
DAST_AL = training(
    name="isda",
    epochs=50,
    batch_size=8,
    lr=5e-4,
    optimizer="adam",
    weight_decay=0.0,
    schedule="constant",
    augment=PLAIN,
    strength=7.5,
    ramp="step",
    covariance="diagonal",
    reset=False,
)
EPMCM = {
    "name": "epmcm",
    "covariance": "diagonal",
    "reset": False,
    "update_while_scoring": False,
    "update_batch": 128,
}
COD = {
    "name": "cod",
    "pixels": "mean",
    "threshold": None,
    "first_cycle": "smallest_vs_random_init",
}
CITYSCAPES = {
    "tod/cityscapes": (DRN, {"name": "random"}),
    "tod/cityscapes_tod": (TOD, COD),
    "gradnorm/cityscapes": (DRN, {"name": "entropy_gradnorm", "norm": "sum"}),
    "dast_al/cityscapes": (DAST_AL, EPMCM),
    "drn/cityscapes": (OWN, {"name": "random"}),
}
LABELS = {"dast_al/cityscapes": [*range(348, 1249, 150)], "drn/cityscapes": [2975]}
TENTHS = [298, 447, 596, 745, 894, 1043, 1190]
"""10 % to 40 % of the frames, as all others have it."""

DEEPLAB = training(
    epochs=150,
    batch_size=10,
    lr=2.5e-4,
    last_layer_lr=10.0,
    weight_decay=5e-4,
    schedule="poly",
    augment={**PLAIN, "window": (321, 321), "scale": (0.5, 1.5)},
)
S4GAN = {
    **DEEPLAB,
    "name": "s4gan",
    "epochs": None,
    "steps": 10_000,
    "batch_size": 8,
    "unlabeled_batch_size": 8,
    "threshold": 0.6,
    "feature_matching": 0.1,
    "self_training": 1.0,
    "discriminator": {"width": 64, "dropout": 0.5},
    "discriminator_lr": 1e-4,
}
ENTROPY = {"name": "entropy", "pixels": "above", "threshold": 0.6}
ENTROPY_POLYGON = {"name": "random_image_entropy_polygon", "threshold": 0.6}
BY_POLYGON = "strategy={name: random_image_entropy_polygon, threshold: 0.6}"
VOC = [
    ("parting/voc", (), DEEPLAB, ENTROPY),
    ("parting/voc", (BY_POLYGON,), DEEPLAB, ENTROPY_POLYGON),
    ("parting/voc_s4gan", (), S4GAN, {"name": "random"}),
    ("parting/voc_s4gan", (BY_POLYGON,), S4GAN, ENTROPY_POLYGON),
]


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
    return config.load(CONFIGS / "papers" / f"{name}.yaml", changes)


def trains(x: Experiment) -> dict[str, Any]:
    """Its scheme without what has no effect."""
    scheme: dict[str, Any] = x.scheme.model_dump()
    if scheme["schedule"] != "multistep":
        del scheme["milestones"], scheme["gamma"]
    return {**scheme, "augment": {key: scheme["augment"][key] for key in PLAIN}}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for those of a network."""
    build_to_look_at(monkeypatch)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the frames are prepared once."""
    return tmp_path_factory.mktemp("stores")


@pytest.mark.parametrize("name", CITYSCAPES)
def test_cityscapes_can_be_planned(name: str, frames: Path, stores: Path) -> None:
    """A mistake in a file would show on the GPUs, after hours."""
    x = load(name, f"dataset.root={frames}", f"dataset.store={stores}")
    made = plan.make(x, x.dataset.open(), probe=False)
    labels = [cycle.labels for cycle in made.cycles]

    assert LABELS.get(name, TENTHS) == labels
    assert made.cycles[0].scored == 2975 - labels[0]
    assert {"weights", *(["scores"] if len(labels) > 1 else [])} <= made.disk.keys()
    # 298 images of 2048 x 1024 are streamed: they are no part of the memory
    assert 0 == made.memory["labeled images"] < made.memory["weights, gradients and optimizer"]
    assert 4 * 19 * 2048 * 1024 * 4 == made.memory["a class map of each image of a scored batch"]


@pytest.mark.parametrize("name", CITYSCAPES)
def test_cityscapes_trains_as_published(name: str) -> None:
    """A curve would be of another experiment."""
    x = load(name)
    scheme, strategy = CITYSCAPES[name]

    assert scheme == trains(x)
    assert strategy == x.strategy.model_dump()
    assert ("drn_d_22", 0.0) == (x.model.part_name(), x.model.model_dump()["dropout"])
    assert ("warm", None, 1) == (x.start, x.candidates, x.ensemble)
    assert ("simulated", "pixel") == (x.oracle.part_name(), x.task.model_dump()["average"])
    assert {"name": "cityscapes"} == x.dataset.model_dump(exclude_defaults=True)


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


@pytest.mark.parametrize(("name", "changes", "scheme", "strategy"), VOC)
def test_parting_on_voc(
    name: str, changes: tuple[str, ...], scheme: dict[str, Any], strategy: dict[str, Any]
) -> None:
    """30,000 clicks in six purchases; at the paper's 33 clicks an image, 152 images at first."""
    x = load(name, *changes)
    checks.check(x, VOC_CARD)
    cycles = list(plan_cycles(x, VOC_CARD, Prices(33, 33)))

    assert [151, 303, 454, 606, 757, 909] == [cycle.labels for cycle in cycles]
    assert (5000, 5000, 30_000, "clicks") == tuple(x.budget.model_dump().values())[:4]
    assert ("clicks", 10.0) == (x.oracle.part_name(), x.oracle.model_dump()["tolerance"])
    assert scheme == trains(x)
    assert strategy == x.strategy.model_dump()
    network = {"name": "deeplab_v2", "freeze_batch_norm_affine": True}
    assert network == x.model.model_dump(exclude_defaults=True)
    data = {"name": "voc", "pool": ("train_aug",), "masks": "SegmentationClassAug"}
    assert data == x.dataset.model_dump(exclude_defaults=True)
    assert ("cold", None, 1) == (x.start, x.candidates, x.ensemble)
    assert "pixel" == x.task.model_dump()["average"]
    shown = (CONFIGS / "papers" / f"{name}.yaml").read_text().replace("'", "")
    assert all(f"#   --set {change}\n" in shown for change in changes)


@pytest.mark.parametrize(
    ("changes", "oracle"),
    [
        ((), "clicks"),
        (
            (
                "name=parting_voc_full_masks",
                "oracle=simulated",
                "budget={initial: 10582, per_cycle: 10582, total: 10582, unit: samples}",
            ),
            "simulated",
        ),
    ],
)
def test_all_labels_of_voc(changes: tuple[str, ...], oracle: str) -> None:
    """At the paper's 33 clicks an image all of them are bought at once, and trained on as in a
    cycle of `voc`."""
    x = load("parting/voc_full", *changes)
    checks.check(x, VOC_CARD)
    price = 33 if oracle == "clicks" else 1
    cycles = list(plan_cycles(x, VOC_CARD, Prices(price, price)))

    assert [(10_582, 0)] == [(cycle.labels, cycle.scored) for cycle in cycles]
    assert oracle == x.oracle.part_name()
    assert DEEPLAB == trains(x) and load("parting/voc").model == x.model
    shown = (CONFIGS / "papers/parting/voc_full.yaml").read_text().replace("\\\n#", "")
    assert all(f"--set {change}" in shown.replace("'", "") for change in changes)


@pytest.mark.parametrize("name", ["tod", "dast_al", "s4gan", "clicks"])
def test_small_camvid_is_one_experiment(name: str) -> None:
    """Arms of one table would differ in more than their names say."""
    x, base = (config.load(CONFIGS / "camvid" / f"{each}.yaml") for each in (name, "base"))
    shared = {**base.scheme.model_dump(), "name": x.scheme.part_name()}

    assert base.dataset == x.dataset and base.model == x.model
    assert shared.items() <= x.scheme.model_dump().items()


def test_dast_al_on_small_camvid() -> None:
    """With ISDA's defaults for CIFAR it would be half as strong, and forget every cycle."""
    x = config.load(CONFIGS / "camvid" / "dast_al.yaml")
    scheme = x.scheme.model_dump()

    assert (1.0, "step", "diagonal", False) == tuple(
        scheme[key] for key in ("strength", "ramp", "covariance", "reset")
    )
    assert EPMCM == x.strategy.model_dump()
