"""Selection against augmentation and unlabeled data, as in "Parting with Illusions" (Mittal, 2019).

    python jobs/reproduce/parting.py --dataset cifar10,cifar10_augmented \\
        --out /shared/reproductions --set dataset.download=true --address auto
    python jobs/reproduce/parting.py --methods variation_ratio --seeds 0,1 --list
    python jobs/reproduce/parting.py --out /shared/reproductions --report-only

    ray job submit --address http://head:8265 --submission-id parting --working-dir . -- \\
        python jobs/reproduce/parting.py --dataset cifar10 --out s3://bucket/reproductions

Figs. 2 and 3 are cifar10 and cifar100 with and without `_augmented`, Figs. 4 and 5 `_uda`, Figs. 6
and 7 all `_low`, Figs. 8 and 9 the method `transfer` beside `random` of cifar10_uda and
cifar10_low_uda, Fig. 13 the whole images of voc and voc_s4gan, Fig. 15 the polygons there. Fig. 1
sums them up: the report has it, with all tables together.

The paper shows curves without numbers, so its column is empty and what it says in words stands
above each table. It has three trials, of ensembles two. `variation_ratio` trains five models in
each cycle and is evaluated by its first. Clicks against tolerance (Figs. 10 and 11) are no
training: `rayal plan` of papers/parting/voc.yaml counts them. voc_full is one training on all
images of VOC, on polygons and on the masks themselves.
"""

from published import PARTING_VOC_FULL
from reproduction import Comparison, Method, launch
from rivals import rivals

LARGE = "In the paper learning loss is {} points above random selection; there are no numbers."
AUGMENTED = "In the paper {} under strong augmentation; there are no numbers."
LOW = "In the paper nothing beats random selection consistently; there are no numbers."
UDA = (
    "In the paper random selection with 5,000 labels is where selection without unlabeled data is"
    " with 20,000, and learning loss {}; there are no numbers."
)
UDA_LOW = "In the paper random selection with unlabeled data is best of all; there are no numbers."
ABOVE = "0.7 points above it after six cycles"
NOTES = {
    "cifar10": LARGE.format(3.2),
    "cifar10_augmented": AUGMENTED.format("all methods end within 0.4 points"),
    "cifar10_low": LOW,
    "cifar10_low_augmented": LOW,
    "cifar10_uda": UDA.format(ABOVE) + " It is above fine-tuning from ImageNet, too.",
    "cifar10_low_uda": UDA_LOW + " It is above fine-tuning from ImageNet, too.",
    "cifar100": LARGE.format(1.4),
    "cifar100_augmented": AUGMENTED.format("the differences between methods vanish"),
    "cifar100_low": LOW,
    "cifar100_low_augmented": LOW,
    "cifar100_uda": UDA.format("below it"),
    "cifar100_low_uda": UDA_LOW,
}
THREE_STAGES = "the network has three stages, and the paper does not say what the head reads there"
TUNED = (
    "learning rate, length and resolution are not in the paper; ours are 0.01, 50 epochs, 224 px"
)
MOSTLY = (
    "the paper starts from weights for COCO in a file of Caffe, which do not fit; ours are"
    " torchvision's for ImageNet"
)


def methods(dataset: str) -> dict[str, Method]:
    """Those of the figures on CIFAR."""
    file = f"papers/parting/{dataset}.yaml"
    five = (f"name=parting_ensemble_{dataset}", "ensemble=5")
    found = {
        **rivals(file, ("random", "entropy", "core_set")),
        "ll4al": Method(file, "ll4al", "LL"),
        "variation_ratio": Method(file, "variation_ratio", "ENS-varR", five),
    }
    if dataset in ("cifar10_uda", "cifar10_low_uda"):
        tuned = file.replace("_uda", "_transfer")
        found["transfer"] = Method(tuned, "random", "ImageNet, fine-tuned (Figs. 8, 9)")
    return found


def with_clicks(name: str) -> dict[str, Method]:
    """Whole images and polygons on VOC."""
    file, named = f"papers/parting/{name}.yaml", (f"name=parting_{name}",)
    by_polygon = {
        "random_polygon": Method(file, "random_polygon", "Random-Polygon", named),
        "random_image_entropy_polygon": Method(
            file, "random_image_entropy_polygon", "Random-Image-Entropy-Polygon", named
        ),
    }
    if name == "voc_s4gan":
        images = {"d_score": Method(file, "d_score", "SSL-D-score", named)}
        return {**rivals(file, ("random",), named), **images, **by_polygon}
    averaged = "strategy={name: ensemble_entropy, pixels: above, threshold: 0.6}"
    five = (f"name=parting_ensemble_{name}", averaged, "ensemble=5")
    return {
        **rivals(file, ("random", "entropy", "core_set", "ll4al"), named),
        "ensemble_entropy": Method(file, "ensemble_entropy", "ENS-ent", five),
        **by_polygon,
    }


ALL = "papers/parting/voc_full.yaml"
MASKS = (
    "name=parting_voc_full_masks",
    "oracle=simulated",
    "budget={initial: 10582, per_cycle: 10582, total: 10582, unit: samples}",
)
VOC_FULL = {
    "polygons": Method(ALL, "random", "DeepLabv2, approximated labels"),
    "masks": Method(ALL, "random", "DeepLabv2", MASKS),
}

COMPARISONS = {
    **{
        name: Comparison(
            found := methods(name),
            note=note,
            why={"ll4al": THREE_STAGES, **({"transfer": TUNED} if "transfer" in found else {})},
        )
        for name, note in NOTES.items()
    },
    "voc": Comparison(
        with_clicks("voc"),
        note="In the paper entropy is 1.1 mIoU above random selection after five cycles, learning"
        " loss below it, and polygons by entropy above random ones; there are no numbers.",
        why={"all": MOSTLY},
    ),
    "voc_s4gan": Comparison(
        with_clicks("voc_s4gan"),
        note="In the paper random selection with s4GAN is 4.1 mIoU above that without it, and best;"
        " polygons by entropy are no better than random ones; there are no numbers.",
        why={"all": MOSTLY},
    ),
    "voc_full": Comparison(
        VOC_FULL,
        PARTING_VOC_FULL,
        note="All 10,582 images; those on polygons stand at the 500,000 clicks that buy them all.",
        why={"all": MOSTLY},
    ),
}

if __name__ == "__main__":
    launch("parting", __doc__, COMPARISONS)
