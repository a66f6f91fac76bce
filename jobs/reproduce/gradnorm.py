"""Gradient norms beside their paper: Figs. 1 and 2 (Wang et al., AAAI 2022).

    python jobs/reproduce/gradnorm.py --dataset cifar10 --out /shared/reproductions \\
        --set dataset.download=true --address auto
    python jobs/reproduce/gradnorm.py --dataset imagenet --seeds 0,1 \\
        --set dataset.root=/data/imagenet
    python jobs/reproduce/gradnorm.py --out /shared/reproductions --report-only

    ray job submit --address http://head:8265 --submission-id gradnorm --working-dir . -- \\
        python jobs/reproduce/gradnorm.py --dataset cifar10 --out s3://bucket/reproductions

The curves print no numbers; the text quotes two points of entropy-gradnorm on CIFAR-10. The second
cannot come from the same averages as the paper's Table 3: 94.39 % on the test set and a gap of 5.65
points make 100.04 % on the training set. The two gradient norms are one function of the weights, so
that curves of one seed should differ by rounding alone. The protocol on CIFAR and the baselines
there are those of tod.py: with the same --out they run once for both.

Left out: Cityscapes (Fig. 2), with segmentation; VAAL, SRAAL, learning loss and MC-dropout, of
which the paper does not tell how they were trained; core-set on ImageNet. Overlaps (Tables 1 and
2) and influence (Fig. 3) are jobs/analyse/gradnorm.py and jobs/analyse/influence.py; the gap
between training and test (Table 3) is measured nowhere yet.
"""

from reproduction import Comparison, Method, Published, launch

PUBLISHED = {
    "cifar10": {
        "entropy_gradnorm": (Published("text on Fig. 1", (12_500, 20_000), ((91.77, 94.39),)),)
    }
}


def figure_1(dataset: str) -> dict[str, Method]:
    """The methods of its panels that rayal has."""
    file = f"papers/gradnorm/{dataset}.yaml"
    return {
        "random": Method(file, "random", "random"),
        "core_set": Method(file, "core_set", "core-set"),
        "entropy_gradnorm": Method(file, "entropy_gradnorm", "entropy-gradnorm"),
        "expected_gradnorm": Method(file, "expected_gradnorm", "expected-gradnorm"),
    }


FIGURE_2 = {
    "random": Method("papers/gradnorm/imagenet.yaml", "random", "random"),
    "entropy_gradnorm": Method(
        "papers/gradnorm/imagenet.yaml", "entropy_gradnorm", "entropy-gradnorm"
    ),
}

COMPARISONS = {
    "cifar10": Comparison(figure_1("cifar10"), PUBLISHED["cifar10"]),
    "cifar100": Comparison(figure_1("cifar100"), note="Fig. 1 prints no numbers."),
    "svhn": Comparison(figure_1("svhn"), note="Fig. 1 prints no numbers."),
    "caltech101": Comparison(figure_1("caltech101"), note="Fig. 1 prints no numbers."),
    "imagenet": Comparison(FIGURE_2, note="Fig. 2 prints no numbers, and shows two runs each."),
}

if __name__ == "__main__":
    launch("gradnorm", __doc__, COMPARISONS)
