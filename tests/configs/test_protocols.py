"""The configurations of published protocols against what the papers and their codes say.

The table is written from the papers, not from the files; the pools have the true sizes, so that no
data is needed.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from rayal import parts
from rayal.data.card import Card, ImageSpec
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.training.fits.sraal import SraalSpec
from rayal.training.fits.ta_vaal import TaVaalSpec
from rayal.training.fits.vaal import VaalSpec
from rayal.training.schemes import uda
from rayal.workflows import checks
from rayal.workflows.plan.cycles import plan_cycles
from rayal.workflows.run import default_folder
from rayal.workflows.warnings import warnings
from tests.configs.test_dense_protocols import CITYSCAPES, VOC
from tests.support.networks import build_to_look_at

PAPERS = Path(__file__).parents[2] / "configs" / "papers"


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a file have the same network, of which nobody asks for its weights."""
    build_to_look_at(monkeypatch)


def dense_protocols() -> set[str]:
    """Those of segmentation, which test_dense_protocols.py compares."""
    return {*CITYSCAPES, *(name for name, *_ in VOC), "parting/voc_full"}


def card(name: str, pool: int, test: int, classes: int, size: int) -> Card:
    """A prepared dataset of this size, without the images."""
    image = ImageSpec(channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Card(
        name=name,
        fingerprint="0" * 64,
        classes=tuple(f"class {number}" for number in range(classes)),
        image=image,
        encoding="raw",
        decoding=None,
        pool=pool,
        test=test,
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


CARDS = {
    "cifar10": card("cifar10", 50_000, 10_000, classes=10, size=32),
    "cifar100": card("cifar100", 50_000, 10_000, classes=100, size=32),
    "svhn": card("svhn", 73_257, 26_032, classes=10, size=32),
    "fashion_mnist": card("fashion_mnist", 60_000, 10_000, classes=10, size=28).model_copy(
        update={"image": ImageSpec.of((1, 28, 28), (0.5,), (0.25,), "uint8")}
    ),
    "caltech101": card("caltech101", 7_766, 911, classes=101, size=224),
    "imagenet": card("imagenet", 1_281_167, 50_000, classes=1000, size=224),
    "mrc_folder": card("mrc_folder", 3500, 500, classes=10, size=32).model_copy(
        update={"image": ImageSpec.of((1, 32, 32, 32), (0.0,), (1.0,), "float32")}
    ),
}


class Protocol(NamedTuple):
    """One training protocol and budget of a paper."""

    dataset: str
    parameters: int
    """Of the network."""
    labels: Sequence[int]
    """In each cycle."""
    scored: Sequence[int]
    """In each cycle but the last."""
    length: int
    """Of a training in epochs, or in steps where the scheme counts these."""
    batch: int
    lr: float
    drops: tuple[int, ...] | str
    """When the learning rate becomes a tenth, in epochs or steps; or another schedule."""
    start: str
    augment: dict[str, Any]
    weight_decay: float = 5e-4
    nesterov: bool = False


FLIP_CROP = {"flip": True, "crop": 4}
STRONG = {**FLIP_CROP, "cutout": 16, "policy": "autoaugment", "learned_on": "cifar10"}
HALF, TENTH = [25_000] * 6, [10_000] * 9

TOD_TRAINING: dict[str, Any] = dict(
    length=200, batch=128, lr=0.1, drops=(160,), start="warm", augment=FLIP_CROP
)
TOD_CIFAR: dict[str, Any] = dict(labels=range(5000, 20_001, 2500), scored=HALF, **TOD_TRAINING)
TOD = {
    "cifar10": Protocol("cifar10", 11_173_962, **TOD_CIFAR),
    "cifar100": Protocol("cifar100", 11_220_132, **TOD_CIFAR),
    "svhn": Protocol(
        "svhn",
        11_173_962,
        labels=(7324, 10_986, 14_648, 18_310, 21_972, 25_634, 29_296),
        scored=[29_302] * 6,
        **TOD_TRAINING,
    ),
    "caltech101": Protocol(
        "caltech101",
        11_228_325,
        labels=(868, 1302, 1736, 2170, 2604, 3038, 3472),
        scored=[4340] * 6,
        **TOD_TRAINING | dict(length=50, batch=64, lr=0.01, drops=(40,), augment={"flip": True}),
    ),
}
GRADNORM = {
    **TOD,
    "svhn": TOD["svhn"]._replace(scored=HALF),
    "caltech101": TOD["caltech101"]._replace(scored=(6898, 6464, 6030, 5596, 5162, 4728)),
}
VAAL_IMAGENET = Protocol(
    "imagenet",
    138_365_992,
    labels=range(128_120, 384_361, 64_060),
    scored=(1_153_047, 1_088_987, 1_024_927, 960_867),
    length=100,
    batch=128,
    lr=0.01,
    drops=(25, 50, 75),
    start="warm",
    augment={"flip": True, "crop": 16},
)
ADS = Protocol("cifar10", 11_173_962, range(1000, 10_001, 1000), TENTH, **TOD_TRAINING)
ADS_100 = Protocol("cifar100", 11_220_132, range(5000, 20_001, 2500), [10_000] * 6, **TOD_TRAINING)
GCN: dict[str, Any] = dict(scored=[10_000] * 4, **TOD_TRAINING | dict(start="cold"))
CRYO = Protocol(
    "mrc_folder",
    118_474,
    labels=range(400, 3201, 400),
    scored=(3100, 2700, 2300, 1900, 1500, 1100, 700),
    length=600,
    batch=32,
    lr=0.003,
    drops=(300, 400, 500),
    start="warm",
    augment={},
    weight_decay=1e-4,
)
DAST_AL = {
    "imagenet": VAAL_IMAGENET,
    "cifar10": Protocol("cifar10", 11_436_106, range(2500, 25_001, 2500), TENTH, **TOD_TRAINING),
    "vgg16_cifar10": Protocol(
        "cifar10", 14_728_266, range(1000, 10_001, 1000), TENTH, **TOD_TRAINING
    ),
    "vgg16_cifar100": Protocol(
        "cifar100",
        14_774_436,
        range(5000, 27_501, 2500),
        TENTH,
        **TOD_TRAINING | dict(drops=(120, 160)),
    ),
}


def parting(
    dataset: str,
    parameters: int,
    labels: range,
    augment: dict[str, Any],
    length: int = 150,
    lr: float = 0.03,
) -> Protocol:
    scored = [50_000 - spent for spent in labels[:-1]]
    training: dict[str, Any] = dict(length=length, batch=64, lr=lr, drops="cosine", start="cold")
    return Protocol(dataset, parameters, labels, scored, augment=augment, **training)


def full(protocol: Protocol) -> Protocol:
    """Trained once, on the whole pool."""
    return protocol._replace(labels=[CARDS[protocol.dataset].pool], scored=())


VAAL: dict[str, Any] = dict(
    labels=range(5000, 20_001, 2500),
    scored=range(45_000, 30_001, -2500),
    length=39_062,
    batch=128,
    lr=0.01,
    drops=(9765, 19_530, 29_295, 39_060),
    start="cold",
    augment={"flip": True},
)
TA_VAAL: dict[str, Any] = dict(scored=TENTH, **TOD_TRAINING | dict(start="cold"))
LARGE, LOW_10, LOW_100 = range(5000, 20_001, 2500), range(250, 2001, 250), range(500, 4001, 500)
UDA: dict[str, Any] = dict(
    scored=(),
    length=500_000,
    batch=64,
    lr=0.03,
    drops="cosine_7_16",
    start="warm",
    nesterov=True,
)
WRN_10, WRN_100 = ("cifar10", 1_467_610), ("cifar100", 1_479_220)
REFLECTED = {**FLIP_CROP, "padding": "reflect"}
UNMIRRORED = {"crop": 4, "padding": "reflect"}
TUNED: dict[str, Any] = dict(augment=FLIP_CROP, length=50, lr=0.01)
RESNET_10 = ("cifar10", 11_181_642)
"""ImageNet's stem has 7 x 7 and not 3 x 3: 7,680 weights more than TOD's."""

PROTOCOLS: dict[str, Protocol] = {
    **{f"tod/{name}": protocol for name, protocol in TOD.items()},
    **{f"tod/{name}_tod": protocol for name, protocol in TOD.items()},
    **{f"tod/{name}_tod_official": protocol for name, protocol in TOD.items()},
    **{f"gradnorm/{name}": protocol for name, protocol in GRADNORM.items()},
    "gradnorm/imagenet": VAAL_IMAGENET,
    "ads/cifar10": ADS,
    "ads/cifar10_official": ADS,
    "ads/cifar100": ADS_100,
    "gradnorm/cryo": CRYO,
    **{f"dast_al/{name}": protocol for name, protocol in DAST_AL.items()},
    "ll4al/cifar10": Protocol(
        "cifar10", 11_173_962, range(1000, 10_001, 1000), TENTH, **TOD_TRAINING
    ),
    "vaal/cifar10": Protocol("cifar10", 134_309_962, **VAAL),
    "vaal/cifar100": Protocol("cifar100", 134_678_692, **VAAL),
    "ta_vaal/cifar10": Protocol("cifar10", 11_173_962, range(1000, 10_001, 1000), **TA_VAAL),
    "ta_vaal/cifar100": Protocol("cifar100", 11_220_132, range(2000, 20_001, 2000), **TA_VAAL),
    "sraal/cifar10": Protocol(
        "cifar10",
        11_173_962,
        labels=range(5000, 20_001, 5000),
        scored=(45_000, 40_000, 35_000),
        **TOD_TRAINING | dict(length=19_500, drops=(9750, 13_650)),
    ),
    "gcn/cifar10": Protocol("cifar10", 11_173_962, range(1000, 5001, 1000), **GCN),
    "gcn/cifar100": Protocol("cifar100", 11_220_132, range(2000, 10_001, 2000), **GCN),
    "gcn/svhn": Protocol("svhn", 11_173_962, range(1000, 5001, 1000), **GCN | dict(augment={})),
    "gcn/fashion_mnist": Protocol(
        "fashion_mnist", 11_172_810, range(1000, 5001, 1000), **GCN | dict(augment={})
    ),
    "parting/cifar10": parting(*WRN_10, LARGE, {}),
    "parting/cifar10_augmented": parting(*WRN_10, LARGE, STRONG),
    "parting/cifar10_low": parting(*WRN_10, LOW_10, {}),
    "parting/cifar10_low_augmented": parting(*WRN_10, LOW_10, STRONG),
    "parting/cifar100": parting(*WRN_100, LARGE, {}),
    "parting/cifar100_augmented": parting(*WRN_100, LARGE, STRONG),
    "parting/cifar100_low": parting(*WRN_100, LOW_100, {}),
    "parting/cifar100_low_augmented": parting(*WRN_100, LOW_100, STRONG),
    "parting/cifar10_uda": parting(*WRN_10, LARGE, REFLECTED, 50_000),
    "parting/cifar10_low_uda": parting(*WRN_10, LOW_10, REFLECTED, 50_000),
    "parting/cifar100_uda": parting(*WRN_100, LARGE, REFLECTED, 50_000),
    "parting/cifar100_low_uda": parting(*WRN_100, LOW_100, REFLECTED, 50_000),
    "parting/cifar10_transfer": parting(*RESNET_10, range(5000, 12_501, 2500), **TUNED),
    "parting/cifar10_low_transfer": parting(*RESNET_10, range(250, 1001, 250), **TUNED),
    **{f"tod/{name}_full": full(TOD[name]) for name in TOD},
    "gradnorm/cifar10_full": full(GRADNORM["cifar10"]),
    "dast_al/cifar10_full": full(DAST_AL["cifar10"]),
    "uda/cifar10": Protocol(*WRN_10, [4000], **UDA, augment=REFLECTED),
    "uda/svhn": Protocol("svhn", 1_467_610, [1000], **UDA, augment=UNMIRRORED),
}


def load(name: str, overrides: Sequence[str] = ()) -> Experiment:
    return config.load(PAPERS / f"{name}.yaml", overrides)


def test_every_protocol_is_here() -> None:
    """A configuration that names a paper would be compared with nothing."""
    files = {str(path.relative_to(PAPERS).with_suffix("")) for path in PAPERS.rglob("*.yaml")}

    assert files == PROTOCOLS.keys() | dense_protocols()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_labels_and_candidates_are_the_published_ones(name: str) -> None:
    """A curve would have points where the paper has none, or be of another choice."""
    protocol, x = PROTOCOLS[name], load(name)
    checks.check(x, CARDS[protocol.dataset])
    cycles = list(plan_cycles(x, CARDS[protocol.dataset]))

    assert protocol.dataset == x.dataset.part_name()
    assert list(protocol.labels) == [cycle.labels for cycle in cycles]
    assert [*protocol.scored, 0] == [cycle.scored for cycle in cycles]
    assert [] == list(warnings(x, CARDS[protocol.dataset]))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_training_is_the_published_one(name: str) -> None:
    """Results would differ from the paper's for no reason of the method's."""
    protocol, x = PROTOCOLS[name], load(name)
    scheme, start = x.scheme, x.scheme.lr
    steps = 10 * protocol.length
    rates = [scheme.lr_at(10 * epoch, steps) for epoch in range(protocol.length)]

    assert (protocol.length, protocol.batch, protocol.lr) == (
        scheme.length,
        scheme.batch_size,
        start,
    )
    assert (0.9, protocol.weight_decay, protocol.nesterov) == (
        scheme.momentum,
        scheme.weight_decay,
        scheme.nesterov,
    )
    assert (protocol.start, "fp32") == (x.start, scheme.precision)
    assert protocol.augment == scheme.augment.model_dump(exclude_defaults=True) | (
        {"learned_on": scheme.augment.learned_on} if scheme.augment.policy else {}
    )
    if isinstance(protocol.drops, str):
        assert protocol.drops == scheme.schedule
    else:
        expected = [start * 0.1 ** sum(e >= d for d in protocol.drops) for e in range(len(rates))]
        assert rates == pytest.approx(expected)


MEANS = {
    "cifar10": (0.4914, 0.4822, 0.4465),
    "cifar100": (0.4914, 0.4822, 0.4465),
    "svhn": (0.4310, 0.4302, 0.4463),
    "caltech101": (0.5020, 0.5020, 0.5020),
    "imagenet": (0.485, 0.456, 0.406),
    "mrc_folder": (0.05964008,),
    "dast_al/vgg16_cifar100": (0.5071, 0.4867, 0.4408),
    "vaal/cifar10": (0.5, 0.5, 0.5),
    "vaal/cifar100": (0.5, 0.5, 0.5),
    "gcn/svhn": (0.0, 0.0, 0.0),
    "gcn/fashion_mnist": (0.0,),
}
STDS = {
    "cifar10": (0.2023, 0.1994, 0.2010),
    "cifar100": (0.2023, 0.1994, 0.2010),
    "svhn": (0.1965, 0.1984, 0.1992),
    "caltech101": (1.0, 1.0, 1.0),
    "imagenet": (0.229, 0.224, 0.225),
    "mrc_folder": (13.57436941,),
    "dast_al/vgg16_cifar100": (0.2675, 0.2565, 0.2761),
    "vaal/cifar10": (0.5, 0.5, 0.5),
    "vaal/cifar100": (0.5, 0.5, 0.5),
    "gcn/svhn": (1.0, 1.0, 1.0),
    "gcn/fashion_mnist": (1.0,),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_pixels_are_normalised_as_in_the_code(name: str) -> None:
    """TOD has CIFAR-10's numbers on CIFAR-100; Parting has no code: those of the pool, by which
    UDA's code normalises."""
    data = load(name).dataset
    key = name if name in MEANS else PROTOCOLS[name].dataset
    if name.endswith("_transfer"):
        key = "imagenet"  # what its weights have seen
    of_pool = name.startswith(("parting/", "uda/")) and key != "imagenet"
    expected = (None, None) if of_pool else (MEANS[key], STDS[key])

    assert expected == (data.mean, data.std)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_network_has_the_published_size(name: str) -> None:
    """Another network learns another curve. By hand: from 10 to 100 classes 90 x 513 more in
    ResNet-18 and VGG-16, 90 x 129 in WRN-28-2; 1,000 to 101 classes 899 x 513 less; of one channel
    2 x 64 x 9 less in ResNet-18."""
    protocol, x = PROTOCOLS[name], load(name)
    data = CARDS[protocol.dataset]
    with torch.device("meta"):  # shapes alone
        network = build(x.model, len(data.classes), data.image, seed=0)

    assert protocol.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("names", "strategy", "scheme"),
    [
        ("tod/{}", {"name": "random"}, {"name": "supervised"}),
        ("gradnorm/{}", {"name": "entropy_gradnorm", "norm": "sum"}, {"name": "supervised"}),
        (
            "tod/{}_tod",
            {"name": "cod"},
            {"name": "tod", "weight": 0.05, "heads": 1, "use_labeled": False, "reduction": "sum"},
        ),
        (
            "tod/{}_tod_official",
            {"name": "cod", "first_cycle": "smallest_vs_random_init"},
            {"name": "tod", "heads": 2, "use_labeled": True, "reduction": "mean"}
            | {"cycle0_unlabeled": "fixed"},
        ),
    ],
)
@pytest.mark.parametrize("dataset", TOD)
def test_methods_of_tod_and_gradnorm(
    names: str, strategy: dict[str, Any], scheme: dict[str, Any], dataset: str
) -> None:
    """A row of a table would be another row."""
    x = load(names.format(dataset))

    assert strategy.items() <= x.strategy.model_dump().items()
    assert scheme.items() <= x.scheme.model_dump().items()
    if (unlabeled := x.scheme.unlabeled(1)) is not None:
        assert x.scheme.batch_size == unlabeled.batch_size


@pytest.mark.parametrize("name", ["gradnorm/imagenet", "dast_al/imagenet"])
def test_imagenet_is_streamed(name: str) -> None:
    """Its pixels would fill the memory of a GPU beside the network."""
    x, protocol = load(name), PROTOCOLS[name]

    assert protocol.labels[0] * 3 * 224 * 224 > x.compute.resident_bytes
    assert ("uri", False) == (x.dataset.encoding, x.dataset.verify)


def test_gradnorm_on_imagenet() -> None:
    """A curve of another method."""
    x = load("gradnorm/imagenet")

    assert {"name": "entropy_gradnorm", "norm": "sum"}.items() <= x.strategy.model_dump().items()
    assert "supervised" == x.scheme.part_name()


@pytest.mark.parametrize(
    ("dataset", "weight"),
    [("cifar10", 0.02), ("cifar100", 0.05), ("svhn", 0.005), ("caltech101", 0.1)],
)
def test_official_tod(dataset: str, weight: float) -> None:
    """The code's weights and teacher, which are not the paper's."""
    scheme: Any = load(f"tod/{dataset}_tod_official").scheme

    assert weight == scheme.weight
    assert (True, "random", "own", 0.999) == (
        scheme.teacher.ramp,
        scheme.teacher.start,
        scheme.teacher.batch_norm,
        scheme.teacher.alpha,
    )


@pytest.mark.parametrize(
    ("name", "strength"),
    [("cifar10", 1.0), ("vgg16_cifar10", 1.0), ("vgg16_cifar100", 5.0), ("imagenet", 7.5)],
)
def test_methods_of_dast_al(name: str, strength: float) -> None:
    """Training without its augmentation, or scores from statistics of another kind."""
    x = load(f"dast_al/{name}")
    scheme, strategy = x.scheme.model_dump(), x.strategy.model_dump()
    shared = {"covariance": "diagonal", "reset": False}

    assert {
        "name": "isda",
        "strength": strength,
        "ramp": "epoch",
        **shared,
    }.items() <= scheme.items()
    assert {"name": "epmcm", "update_while_scoring": False, **shared}.items() <= strategy.items()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10", (0, 1.0, "nats", "shared")),
        ("cifar10_official", (3, 1 / 128, "bits", "fresh")),
        ("cifar100", (0, 1.0, "nats", "shared")),
    ],
)
def test_methods_of_ads(name: str, expected: tuple[Any, ...]) -> None:
    """Phases of the paper under the name of the code, or scores of other heads."""
    x = load(f"ads/{name}")
    scheme: Any = x.scheme
    heads = scheme.heads.prototypes

    assert expected == (heads, scheme.weight, scheme.entropy, scheme.optimizer_of_phases)
    assert {"name": "ads", "heads": {"prototypes": heads}} == x.strategy.model_dump()
    assert (0.1, 128, x.candidates) == (
        scheme.threshold,
        scheme.unlabeled_batch_size,
        scheme.unlabeled_subset,
    )


@pytest.mark.parametrize(
    ("row", "head", "epochs_at_first_rate"),
    [
        (0, {"detach_after": 0.6, "follows_schedule": True, "objective": "hinge"}, 160),
        (-1, {"detach_after": 0.605, "follows_schedule": True, "objective": "hinge"}, 159),
    ],
    ids=["paper", "code"],
)
def test_learning_loss(row: int, head: dict[str, Any], epochs_at_first_rate: int) -> None:
    """Paper and code differ by an epoch here and there; the number of weights is published."""
    x = load("ll4al/cifar10", list(commands("ll4al/cifar10"))[row][1])
    (spec,) = x.companions()
    data = CARDS["cifar10"]
    network = build(x.model, len(data.classes), data.image, seed=0)
    made = spec.build(network, len(data.classes), lambda: network)
    rates = [x.scheme.lr_at(epoch, 200) for epoch in range(200)]

    assert {"margin": 1.0, "weight": 1.0, "width": 128, "corner": None, **head} == spec.model_dump()
    assert 123_905 == sum(parameter.numel() for parameter in made.parameters())
    assert epochs_at_first_rate == rates.count(0.1)


@pytest.mark.parametrize(
    ("dataset", "epochs", "corner"),
    [("cifar10", 121, None), ("cifar100", 121, None), ("svhn", 121, None), ("caltech101", 31, 32)],
)
def test_learning_loss_of_tod(dataset: str, epochs: int, corner: int | None) -> None:
    """The code lets the model be after 120 < epoch, of Caltech-101 30 < epoch, counted from 0, and
    never lowers the head's rate."""
    rows = [each for _, each in commands(f"tod/{dataset}") if "ll4al" in " ".join(each)]
    assert len(rows) == 1
    x = load(f"tod/{dataset}", [each for each in rows[0] if not each.startswith("model.")])
    head: Any = x.strategy.companions()[0]

    assert epochs == sum(e / x.scheme.length < head.detach_after for e in range(x.scheme.length))
    assert (False, corner) == (head.follows_schedule, head.corner)


ADVERSARIAL = {
    "vaal/cifar10": (VaalSpec, "mean", 2 * 39_062, 2 * 39_062, {"flip": True}),
    "vaal/cifar100": (VaalSpec, "mean", 2 * 39_062, 2 * 39_062, {"flip": True}),
    "ta_vaal/cifar10": (TaVaalSpec, "mean", 8593, 14_843, {}),
    "ta_vaal/cifar100": (TaVaalSpec, "mean", 9375, 21_875, {}),
    "sraal/cifar10": (SraalSpec, "mean", 19_531, 19_531, FLIP_CROP),
}
"""Spec, divergence, steps of the first and the last fit, augmentation."""


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_fits(name: str) -> None:
    """A fit would be shorter than the published one, or of other images."""
    kind, divergence, *steps, augment = ADVERSARIAL[name]
    x, protocol = load(name), PROTOCOLS[name]
    (fit,) = x.fits()
    assert isinstance(fit, kind)
    counts = list(zip(protocol.labels, protocol.scored, strict=False))

    assert steps == [fit.steps(*counts[0]), fit.steps(*counts[-1])]
    assert (128, 5e-4, 128, 32) == (fit.batch_size, fit.lr, fit.width, fit.latent)
    assert (divergence, 1.0, 1.0) == (fit.divergence, fit.beta, fit.adversary)
    assert augment == fit.augment.model_dump(exclude_defaults=True)


@pytest.mark.parametrize("name", ["ta_vaal/cifar10", "ta_vaal/cifar100"])
def test_the_ranker_of_ta_vaal(name: str) -> None:
    """It would learn by the other objective, or let the model be at another time than the code."""
    x = load(name)
    (head,) = x.companions()
    epochs = [epoch for epoch in range(200) if epoch / 200 < head.detach_after]

    assert ("logistic", 1.0, 121) == (head.objective, head.weight, len(epochs))


@pytest.mark.parametrize("name", ["vaal/cifar10", "ta_vaal/cifar10"])
def test_the_codes_of_vaal_and_ta_vaal(name: str) -> None:
    """What papers and codes differ in would be run as the other."""
    ((_, options),) = [each for each in commands(name) if "score_mode" in " ".join(each[1])]
    x = load(name, options)
    (fit,) = x.fits()
    code = {"divergence": "sum"} if name.startswith("vaal") else {"first_ranks": "random"}

    assert "train" == x.strategy.score_mode and code.items() <= fit.model_dump().items()
    assert name.startswith("vaal") == (x.scheme.train_mode == "first_step")
    assert name.startswith("vaal") == (x.score_transform == "train")


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn", "fashion_mnist"])
def test_methods_of_gcn(dataset: str) -> None:
    """Both ask the graph of the code; rows of a header may be run beside one another."""
    name, data = f"gcn/{dataset}", CARDS[dataset]
    uncertain, core = (load(name, each).strategy for each in ([], ["strategy=core_gcn"]))
    (spec,) = uncertain.fits()
    network = build(load(name).model, len(data.classes), data.image, seed=0)
    made = spec.build(network, len(data.classes), data.image)
    published = {"width": 128, "dropout": 0.3, "unlabeled_weight": 1.2, "updates": 200}

    assert (spec,) == core.fits() and 0.1 == uncertain.model_dump()["margin"]
    assert {**published, "lr": 1e-3, "weight_decay": 5e-4} == spec.model_dump()
    assert 65_793 == sum(parameter.numel() for parameter in made.parameters())


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name.startswith("parting/")])
def test_methods_of_parting(name: str) -> None:
    """Its start is class-balanced, and everything else plain random selection."""
    x = load(name)
    scheme = "uda" if name.endswith("_uda") else "supervised"

    assert x.budget.balanced and x.ensemble == 1
    assert ("random", scheme) == (x.strategy.part_name(), x.scheme.part_name())
    assert (scheme == "uda") == (x.scheme.epochs is None)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name.endswith("_uda")])
def test_uda_of_parting(name: str) -> None:
    """Sec. 4.2: 64 and 320 images, those with .6, sharpened by .5; the strong view is that of
    training with strong augmentation."""
    scheme: Any = load(name).scheme
    strong = scheme.strong.model_dump(exclude_defaults=True)

    assert (320, 0.6, 0.5, 1.0) == (
        scheme.unlabeled_batch_size,
        scheme.threshold,
        scheme.temperature,
        scheme.weight,
    )
    assert {**STRONG, "padding": "reflect"} == {**strong, "learned_on": scheme.strong.learned_on}
    assert (None, None, "plain") == (scheme.average, scheme.annealing, scheme.mask)


def test_uda_of_its_authors() -> None:
    """The file and the block that documents the scheme would part."""
    text = str(uda.__doc__).split("    scheme:\n")[1].split("\n\n")[0]

    assert parts.build("schemes", yaml.safe_load(text)) == load("uda/cifar10").scheme


def test_uda_mirrors_no_digits() -> None:
    """A strong view of a mirrored digit is of another class, or of none."""
    digits: Any = load("uda/svhn").scheme
    objects: Any = load("uda/cifar10").scheme
    unmirrored = {
        name: getattr(objects, name).model_copy(update={"flip": False})
        for name in ("augment", "strong")
    }

    assert digits == objects.model_copy(update=unmirrored)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name.endswith("_full")])
def test_full_data_references(name: str) -> None:
    """A reference of equal compute would see more images than all cycles together, or fewer: with
    TOD's protocol 17.5 million on CIFAR-10, and 10 million with as many epochs as a cycle."""
    of_cycles = PROTOCOLS[name.removesuffix("_full")]
    pool = CARDS[of_cycles.dataset].pool
    found = [load(name, overrides) for _, overrides in commands(name)]
    if name.startswith("gradnorm/"):  # its header sends to TOD's
        assert 1 == len(found)
        found = [load("tod/cifar10_full", each) for _, each in commands("tod/cifar10_full")]
    equal_epochs, equal_compute = found

    assert {("random", of_cycles.batch, of_cycles.lr)} == {
        (x.strategy.part_name(), x.scheme.batch_size, x.scheme.lr) for x in found
    }
    assert of_cycles.length == equal_epochs.scheme.length
    visits = of_cycles.length * sum(of_cycles.labels)
    assert round(visits / pool) == equal_compute.scheme.length
    assert (4 * equal_compute.scheme.length // 5,) == equal_compute.scheme.milestones
    if of_cycles.dataset == "cifar10" and not name.startswith("dast_al/"):
        assert (10e6, 17.5e6) == tuple(x.scheme.length * pool for x in found)


RIVALS = {"random", "core_set", "vaal", "sraal", "ll4al"}
OF_TOD = {"cod", "ta_vaal", "uncertain_gcn", "core_gcn", "mc_dropout_entropy"}
OF_GRADNORM = {"entropy_gradnorm", "expected_gradnorm", "mc_dropout_entropy"}


@pytest.mark.parametrize(
    ("name", "strategies"),
    [
        *((f"tod/{dataset}", RIVALS | OF_TOD) for dataset in TOD),
        *((f"gradnorm/{dataset}", RIVALS | OF_GRADNORM) for dataset in TOD),
        *((f"dast_al/{name}", {*RIVALS, "epmcm", "ads"}) for name in DAST_AL if "vgg16" in name),
    ],
)
def test_all_rivals_of_a_figure_are_rows(name: str, strategies: set[str]) -> None:
    """Fig. 7 of TOD, Fig. 1 of gradnorm, Fig. 2 of DAST-AL: under one training but for what a
    method itself changes."""
    found = [load(name, overrides) for _, overrides in commands(name)]
    plain = next(x for x in found if x.strategy.part_name() == "vaal")

    assert strategies <= {x.strategy.part_name() for x in found}
    for x in found:
        assert plain.budget == x.budget and plain.candidates == x.candidates
        assert plain.scheme.length == x.scheme.length and plain.scheme.lr == x.scheme.lr
        assert plain.scheme.milestones == x.scheme.milestones and plain.start == x.start


def commands(name: str) -> Iterator[tuple[str, list[str]]]:
    """The `--set` values of the command in a header, and of each row that changes it."""
    text = (PAPERS / f"{name}.yaml").read_text().replace("\\\n#", "")
    base: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#") or "--set" not in line:
            continue
        words = shlex.split(line.lstrip("# "))
        given = [value for flag, value in zip(words, words[1:], strict=False) if flag == "--set"]
        if words[:2] == ["rayal", "run"]:
            base = given
            yield words[2], base
        else:
            yield f"configs/papers/{name}.yaml", [*base, *given]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_commands_of_a_header_run(name: str) -> None:
    """A reader would copy a command that is refused, or one of another file."""
    found = list(commands(name))

    assert f"configs/papers/{name}.yaml" == found[0][0]
    for _, overrides in found:
        local = [value for value in overrides if not value.startswith("model.pretrained")]
        checks.check(load(name, local), CARDS[PROTOCOLS[name].dataset])


def test_no_two_commands_share_a_run_folder() -> None:
    """The second would be refused as another experiment, hours after the first (a plain baseline
    and one under the method's own training have the same strategy and scheme)."""
    folders: dict[str, Experiment] = {}
    for name in PROTOCOLS:
        for _, overrides in commands(name):
            x = load(name, overrides)

            assert x == folders.setdefault(default_folder(x), x), f"{name}: {overrides}"
