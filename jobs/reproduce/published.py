"""All numbers that the four papers print, or log, about methods: in one place.

Only DAST-AL's Table 2, about its own bound, stands beside ours in jobs/analyse/dast_al.py.

Accuracies and IoU are in percent, seconds and counts as they are. Tables that cannot be right as
they stand are copied as they stand: docs/claims.md says which, and why.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple


class Published(NamedTuple):
    """What a paper says about one method, in percent."""

    source: str
    """Its table, figure or log."""
    labels: Sequence[int]
    trials: Sequence[Sequence[float]]
    """A value per label count for each trial that is known; mostly one row, the paper's mean."""
    approximate: bool = False
    """Known roughly only, as when it is read off a curve."""

    def at(self, labels: int) -> tuple[float, float | None]:
        """Mean and standard deviation over trials (n - 1), None for a single row."""
        values = [trial[self.labels.index(labels)] for trial in self.trials]
        return mean(values), stdev(values) if len(values) > 1 else None


Numbers = Mapping[str, Sequence[Published]]
"""By method."""


class Cost(NamedTuple):
    """What a method costs in one cycle; None where the paper does not say."""

    extra: float | None = None
    """Parameters beside the task network, in millions as the paper has them."""
    train: float | None = None
    """Seconds of all training."""
    sample: float | None = None
    """Seconds of scoring and selection."""
    minutes: float | None = None
    """All together."""


def _one(source: str, labels: int, percents: Mapping[str, float]) -> dict[str, list[Published]]:
    return {name: [Published(source, (labels,), ((x,),))] for name, x in percents.items()}


# --- TOD: Huang et al., ICCV 2021 ---------------------------------------------------------------

_TOD_METHODS = ("core_set", "ll4al", "vaal", "sraal", "random", "tod_random", "cod", "tod")
_TOD_TABLE_1 = {
    "cifar10": (91.8, 94.1, 92.0, 92.5, 91.8, 92.2, 94.2, 94.5),
    "cifar100": (65.0, 65.2, 65.4, 66.2, 62.3, 66.1, 67.3, 68.5),
}
TOD_TABLE_1: dict[str, Numbers] = {
    dataset: _one("Table 1", 20_000, dict(zip(_TOD_METHODS, percents, strict=True)))
    for dataset, percents in _TOD_TABLE_1.items()
}
"""Accuracy with 40 % of the labels."""
TOD_FULL = Published("text, all labels", (50_000,), ((93.1,),))
"""CIFAR-10."""

TOD_TABLE_2: Mapping[str, Sequence[int]] = {
    "cod": (92, 67, 82, 16, 27, 53, 53, 63, 87, 42, 84, 71, 43, 86, 19, 34, 20, 31, 69),
    "tod": (95, 72, 87, 24, 28, 56, 59, 72, 90, 49, 84, 77, 52, 90, 24, 42, 8, 39, 73),
}
"""IoU on Cityscapes by class, in the order of its 19, with 40 % of the frames; without and with
the unlabeled loss."""
TOD_TABLE_2_MEANS = {"cod": 54.7, "tod": 58.9}

TOD_TABLE_3: Mapping[str, Mapping[str, Cost]] = {
    dataset: dict(zip(("core_set", "vaal", "ll4al", "cod"), costs, strict=True))
    for dataset, costs in {
        "cifar10": [Cost(sample=s) for s in (91.4, 13.0, 7.7, 7.2)],
        "svhn": [Cost(sample=s) for s in (168.7, 17.2, 10.8, 10.1)],
        "caltech101": [Cost(sample=s) for s in (48.2, 32.6, 39.6, 26.9)],
    }.items()
}
"""Seconds of sampling on a GTX 1080 Ti, without the training of VAAL's autoencoder."""

# --- Gradient norms: Wang et al., AAAI 2022 -----------------------------------------------------

BUDGETS = range(5000, 20_001, 2500)
"""10, 15, ... 40 % of CIFAR-10."""
GRADNORM_TEXT: Numbers = {
    "entropy_gradnorm": [Published("text on Fig. 1", (12_500, 20_000), ((91.77, 94.39),))],
    "full": [Published("text, all labels", (50_000,), ((93.16,),))],
}
GRADNORM_TABLE_1: Mapping[str, Sequence[int]] = {
    "core_set": (217, 230, 284, 339, 329, 289, 255),
    "vaal": (268, 259, 215, 231, 256, 240, 256),
    "ll4al": (391, 893, 1084, 1710, 1698, 2035, 1817),
    "sraal": (506, 819, 1120, 1765, 1842, 2133, 2196),
    "expected_gradnorm": (703, 980, 1216, 1942, 2318, 2427, 2448),
    "entropy_gradnorm": (677, 932, 1141, 1993, 2317, 2429, 2443),
}
"""Of 2,500 chosen, those among the 2,500 largest true gradients; by `BUDGETS`, CIFAR-10."""
GRADNORM_TABLE_2 = (2290, 2377, 2396, 2432, 2449, 2438, 2482)
"""Of 2,500 by Eq. 5, those among the 2,500 by Eq. 3; cycles 0 to 6."""
GRADNORM_TABLE_3: Mapping[str, Sequence[float]] = {
    "mc_dropout": (16.14, 10.25, 9.47, 8.77, 8.24, 7.35),
    "core_set": (14.59, 12.73, 10.88, 9.95, 8.92, 8.31),
    "vaal": (15.01, 12.24, 11.08, 9.66, 8.57, 8.08),
    "ll4al": (13.83, 10.7, 8.89, 8.78, 7.64, 7.23),
    "sraal": (14.09, 11.55, 10.24, 8.62, 8.01, 6.94),
    "expected_gradnorm": (12.74, 10.04, 8.06, 7.05, 6.09, 5.66),
    "entropy_gradnorm": (13.05, 9.9, 7.76, 6.79, 6.29, 5.65),
}
"""Training minus test accuracy in points; `BUDGETS` but the first, CIFAR-10."""

# --- DAST-AL: ECCV 2022 -------------------------------------------------------------------------


def _dast_table_1(*percents: float) -> Published:
    """ResNet-18 on CIFAR-10 with 5, 10, ... 35 % of the labels."""
    return Published("Table 1", range(2500, 17_501, 2500), (percents,))


DAST_TABLE_1: Numbers = {
    "random": [_dast_table_1(67.13, 80.06, 85.25, 87.14, 89.25, 90.36, 91.21)],
    "most_confident": [_dast_table_1(67.13, 76.37, 79.88, 81.40, 82.84, 83.46, 84.60)],
    "random_isda": [_dast_table_1(69.27, 80.76, 85.60, 87.82, 89.30, 90.67, 91.15)],
    "most_confident_isda": [_dast_table_1(69.27, 76.35, 81.13, 81.72, 82.85, 83.24, 84.03)],
    "dast_al": [
        _dast_table_1(69.27, 82.98, 87.84, 90.42, 92.10, 93.06, 93.32),
        Published("log, mean of 7", (17_500,), ((93.72,),)),
        Published("log", (20_000, 22_500, 25_000), ((94.05, 94.4, 94.6),), approximate=True),
    ],
    "full": [Published("text, all labels", (50_000,), ((93.5,),))],
}
DAST_FIGURE_2: Mapping[str, Numbers] = {
    "vgg16_cifar10": {
        "dast_al": [
            Published(
                "log, 1 trial",
                range(1000, 10_001, 1000),
                ((42.72, 68.43, 76.32, 79.51, 80.47, 84.60, 86.25, 87.20, 88.23, 88.96),),
            )
        ]
    },
    "vgg16_cifar100": {
        "dast_al": [
            Published(
                "log, 2 trials",
                range(5000, 27_501, 2500),
                (
                    (32.20, 49.40, 54.99, 57.76, 59.10, 60.95, 62.94, 64.44, 66.92, 67.23),
                    (32.35, 50.59, 55.58, 58.73, 60.83, 63.80, 65.51, 66.43, 68.99, 70.88),
                ),
            )
        ]
    },
}
DAST_TABLE_4: Mapping[str, Cost] = {
    "core_set": Cost(None, 114.98, 73.29, 3.14),
    "ll4al": Cost(0.2, 120.72, 2.97, 2.06),
    "vaal": Cost(88.18, 62_855, 36.12, 1048),
    "sraal": Cost(90.22, 17_897, 41.67, 298.9),
    "ads": Cost(0.98, 2688.6, 4.83, 44.91),
    "dast_al": Cost(None, 128.30, 7.59, 2.26),
}
"""The first cycle of CIFAR-10 on a TITAN Xp."""

# --- Parting with Illusions: Mittal et al., 2019 ------------------------------------------------

PARTING_VOC_FULL: Numbers = {
    "polygons": [Published("text, all labels", (500_000,), ((71.6,),))],
    "masks": [Published("text, all labels", (10_582,), ((73.6,),))],
}
"""Mean IoU of VOC, whole; all of it on polygons is what 500,000 clicks buy, which cost 349,000."""
