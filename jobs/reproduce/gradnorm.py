"""Gradient norms beside their paper: Figs. 1 and 2, Tables 1 to 3 (Wang et al., AAAI 2022).

    python jobs/reproduce/gradnorm.py --dataset cifar10 --out /shared/reproductions \\
        --set dataset.download=true --address auto
    python jobs/reproduce/gradnorm.py --dataset imagenet --seeds 0,1 \\
        --set dataset.root=/data/imagenet
    python jobs/reproduce/gradnorm.py --out /shared/reproductions --report-only

    ray job submit --address http://head:8265 --submission-id gradnorm --working-dir . -- \\
        python jobs/reproduce/gradnorm.py --dataset cifar10 --out s3://bucket/reproductions

The curves print no numbers; the text quotes two points of entropy-gradnorm on CIFAR-10. Tables 1
to 3 are of CIFAR-10, and of what jobs/analyse/gradnorm.py and influence.py find in its runs: the
report says which commands are left, and shows what they wrote. The protocol on CIFAR and the
baselines there are those of tod.py: with the same --out they run once for both.

Left out: VAAL, SRAAL, LL4AL and core-set on ImageNet, and all but core-set and MC-dropout on
Cityscapes (Fig. 2): with which options is in an appendix that was not found. Fig. 3 is
jobs/analyse/influence.py.
"""

from further import Analysis, analysed
from published import BUDGETS, GRADNORM_TABLE_1, GRADNORM_TABLE_2, GRADNORM_TABLE_3, GRADNORM_TEXT
from reproduction import Comparison, Method, launch
from rivals import DROPOUT, WARM, WITHOUT_CODE, learning_loss_of_tod, mc_dropout, rivals

SHARED = ("cifar10", "cifar100")
"""Where the protocol is TOD's, so that the experiments are called as in tod.py."""


def figure_1(dataset: str) -> dict[str, Method]:
    """The methods of its panels."""
    file = f"papers/gradnorm/{dataset}.yaml"
    paper = "tod" if dataset in SHARED else "gradnorm"
    return {
        "random": Method(file, "random", "random"),
        **rivals(file, ("core_set", "vaal", "sraal")),
        "ll4al": learning_loss_of_tod(file, f"{paper}_ll4al_{dataset}", dataset),
        "mc_dropout": mc_dropout(file, f"{paper}_dropout_{dataset}"),
        "entropy_gradnorm": Method(file, "entropy_gradnorm", "entropy-gradnorm"),
        "expected_gradnorm": Method(file, "expected_gradnorm", "expected-gradnorm"),
    }


FULL = {"full": Method("papers/tod/cifar10_full.yaml", "random", "all labels")}
IMAGENET, FRAMES = "papers/gradnorm/imagenet.yaml", "papers/gradnorm/cityscapes.yaml"
FIGURE_2 = {
    "imagenet": {
        "random": Method(IMAGENET, "random", "random"),
        "entropy_gradnorm": Method(IMAGENET, "entropy_gradnorm", "entropy-gradnorm"),
    },
    "cityscapes": {
        "random": Method(FRAMES, "random", "random"),
        "core_set": Method(FRAMES, "core_set", "core-set"),
        "mc_dropout": mc_dropout(FRAMES, "tod_dropout_cityscapes"),
        "entropy_gradnorm": Method(FRAMES, "entropy_gradnorm", "entropy-gradnorm"),
    },
}

TABLES = (
    analysed(
        "Table 1: of 2,500 chosen, how many have one of the 2,500 largest true gradients",
        Analysis(
            "gradnorm.py",
            "gradnorm_table1.csv",
            "labels",
            {"overlap": ""},
            only=("method", "chosen by the run"),
        ),
        {
            method: dict(zip(BUDGETS, overlaps, strict=True))
            for method, overlaps in GRADNORM_TABLE_1.items()
        },
        digits=0,
        note="By chance 250, among 25,000 candidates. The paper does not say among which units; its"
        " numbers are too high for the whole pool.",
    ),
    analysed(
        "Table 2: of the 2,500 by Eq. 5, how many are among the 2,500 by Eq. 3",
        Analysis(
            "influence.py",
            "influence_table2.csv",
            "cycle",
            {"signed": "", "absolute": ", by size alone"},
        ),
        {"entropy_gradnorm": dict(enumerate(GRADNORM_TABLE_2))},
        digits=0,
        note="Ours has no row for the last cycle: Eq. 3 wants the network that was trained on what"
        " a cycle chose.",
    ),
    analysed(
        "Table 3: accuracy on the labeled set minus test accuracy, in points",
        Analysis("gradnorm.py", "gradnorm_table3.csv", "labels", {"gap": ""}),
        {
            method: dict(zip(BUDGETS[1:], gaps, strict=True))
            for method, gaps in GRADNORM_TABLE_3.items()
        },
        digits=2,
        note="Ours in eval mode, on images without augmentation, after the last epoch; the paper"
        " does not say.",
    ),
)
WHY = {
    "ll4al, vaal, sraal": WITHOUT_CODE
    + "; learning loss as in TOD's code, of which this paper's is a fork",
    "mc_dropout": DROPOUT,
    "entropy_gradnorm, expected_gradnorm": "one function of the weights, so that curves of one seed"
    " differ by rounding alone; what sets them apart in the paper is chance",
}
CIFAR10_WHY = {
    **WHY,
    "entropy_gradnorm": "94.39 on the test set and a gap of 5.65 (Table 3) make 100.04 on the"
    " training set: they are not of the same averages",
    "full": WARM.format("17.5 million", "10 million"),
}
UNPRINTED = "Fig. 1 prints no numbers."

COMPARISONS = {
    "cifar10": Comparison(
        {**figure_1("cifar10"), **FULL}, GRADNORM_TEXT, why=CIFAR10_WHY, further=TABLES
    ),
    "cifar100": Comparison(figure_1("cifar100"), note=UNPRINTED, why=WHY),
    "svhn": Comparison(figure_1("svhn"), note=UNPRINTED, why=WHY),
    "caltech101": Comparison(figure_1("caltech101"), note=UNPRINTED, why=WHY),
    "imagenet": Comparison(
        FIGURE_2["imagenet"], note="Fig. 2 prints no numbers, and shows two runs each."
    ),
    "cityscapes": Comparison(
        FIGURE_2["cityscapes"], note="Fig. 2 prints no numbers.", why={"mc_dropout": DROPOUT}
    ),
}

if __name__ == "__main__":
    launch("gradnorm", __doc__, COMPARISONS)
