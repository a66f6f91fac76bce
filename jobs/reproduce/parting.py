"""Selection against augmentation, as in "Parting with Illusions": Figs. 2, 3, 6, 7 (Mittal, 2019).

    python jobs/reproduce/parting.py --dataset cifar10,cifar10_augmented \\
        --out /shared/reproductions --set dataset.download=true --address auto
    python jobs/reproduce/parting.py --methods variation_ratio --seeds 0,1 --list
    python jobs/reproduce/parting.py --out /shared/reproductions --report-only

    ray job submit --address http://head:8265 --submission-id parting --working-dir . -- \\
        python jobs/reproduce/parting.py --dataset cifar10 --out s3://bucket/reproductions

The paper shows curves without numbers, so its column is empty and what it says in words stands
above each table. It has three trials, of ensembles two. `variation_ratio` trains five models in
each cycle and is evaluated by its first.

Left out: everything with UDA (Figs. 4 and 5, the curves SSL of 6 and 7), which is no scheme yet;
fine-tuning from ImageNet (Figs. 8 and 9); PASCAL VOC (Figs. 10 to 15), with segmentation.
"""

from reproduction import Comparison, Method, launch

LARGE = "In the paper learning loss is {} points above random selection; there are no numbers."
AUGMENTED = "In the paper {} under strong augmentation; there are no numbers."
LOW = "In the paper nothing beats random selection consistently; there are no numbers."
NOTES = {
    "cifar10": LARGE.format(3.2),
    "cifar10_augmented": AUGMENTED.format("all methods end within 0.4 points"),
    "cifar10_low": LOW,
    "cifar10_low_augmented": LOW,
    "cifar100": LARGE.format(1.4),
    "cifar100_augmented": AUGMENTED.format("the differences between methods vanish"),
    "cifar100_low": LOW,
    "cifar100_low_augmented": LOW,
}


def methods(dataset: str) -> dict[str, Method]:
    """Those of the figures that rayal has."""
    file = f"papers/parting/{dataset}.yaml"
    five = (f"name=parting_ensemble_{dataset}", "ensemble=5")
    return {
        "random": Method(file, "random", "Random"),
        "entropy": Method(file, "entropy", "Entropy"),
        "core_set": Method(file, "core_set", "Core-set"),
        "ll4al": Method(file, "ll4al", "LL"),
        "variation_ratio": Method(file, "variation_ratio", "ENS-varR", five),
    }


COMPARISONS = {name: Comparison(methods(name), note=note) for name, note in NOTES.items()}

if __name__ == "__main__":
    launch("parting", __doc__, COMPARISONS)
