"""COD and TOD beside their paper: Tables 1 and 2, Figs. 7 to 10 (Huang et al., ICCV 2021).

    python jobs/reproduce/tod.py --dataset cifar10 --out /shared/reproductions \\
        --set dataset.download=true --address auto
    python jobs/reproduce/tod.py --dataset cifar10 --methods random,cod --list
    python jobs/reproduce/tod.py --out /shared/reproductions --report-only

    ray job submit --address http://head:8265 --submission-id tod-cifar10 --working-dir . -- \\
        python jobs/reproduce/tod.py --dataset cifar10 --out s3://bucket/reproductions

The paper has three trials of each; so has this, by default. `tod` trains as the official code does,
from which the numbers come; the paper's text is configs/papers/tod/<dataset>_tod.yaml. All methods
see the same 25,000 candidates; the paper does not say what each saw. Fig. 7 prints no numbers, so
on SVHN and Caltech-101 the paper's column stays empty. Caltech-101 wants
--set model.pretrained=resnet18-5c106cde.pth, Cityscapes dataset.root and the weights of drn_d_22.

`emaod` and `cyclic_od` are the ablations of Figs. 9 and 10; there is no code of them, and the
training of Fig. 9 is read as the plain one. jobs/analyse/ablation.py draws both figures, and Fig.
11, class by class, from the runs of this program. Figs. 1, 3, 5 and 6 are jobs/analyse/tod.py,
seconds (Table 3) costs.py.

Left out: VAAL and SRAAL on Cityscapes (Fig. 8), of whose masks nobody says what they reconstruct;
the loss of LL4AL under COD (Fig. 10), of which the paper does not tell how it goes with it.
"""

from further import by_class
from published import TOD_FULL, TOD_TABLE_1, TOD_TABLE_2, TOD_TABLE_2_MEANS, Published
from reproduction import Comparison, Method, launch
from rivals import (
    DROPOUT,
    LEARNED,
    WARM,
    WITHOUT_CODE,
    committee,
    learning_loss_of_tod,
    mc_dropout,
    rivals,
    task_aware,
)

LABELS = 1190
"""40 % of the frames of Cityscapes."""
CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "light", "sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle"),
    "bicycle",
)


def figure_7(dataset: str) -> dict[str, Method]:
    """What is shown on every dataset."""
    plain = f"papers/tod/{dataset}.yaml"
    return {
        "random": Method(plain, "random", "Base"),
        **rivals(plain, ("core_set", *LEARNED)),
        "ll4al": learning_loss_of_tod(plain, f"tod_ll4al_{dataset}", dataset),
        "ta_vaal": task_aware(plain, f"tod_ta_vaal_{dataset}"),
        "mc_dropout": mc_dropout(plain, f"tod_dropout_{dataset}"),
        "cod": Method(plain, "cod", "Base + Active (Ours-Task)"),
        "tod": Method(f"papers/tod/{dataset}_tod_official.yaml", "cod", "both (Ours-Semi)"),
    }


def with_all_labels(dataset: str) -> dict[str, Method]:
    """The line Full: one training."""
    return {"full": Method(f"papers/tod/{dataset}_full.yaml", "random", "Full")}


def table_1_and_ablations(dataset: str) -> dict[str, Method]:
    """What is shown on CIFAR alone."""
    cyclic = (
        f"name=cyclic_od_{dataset}",
        "scheme={name: cyclic_od, weight: 0.05, augment: {flip: true, crop: 4}}",
    )
    return {
        **figure_7(dataset),
        "tod_random": Method(f"papers/tod/{dataset}_tod_official.yaml", "random", "Base + Semi"),
        "emaod": Method(f"papers/tod/{dataset}.yaml", "emaod", "EMAOD, sampling (Fig. 9)"),
        "cyclic_od": Method(
            f"papers/tod/{dataset}.yaml", "cod", "CyclicOD, loss (Fig. 10)", cyclic
        ),
        **with_all_labels(dataset),
    }


FRAMES = "papers/tod/cityscapes.yaml"
FIGURE_8 = {
    "random": Method(FRAMES, "random", "Random"),
    "core_set": Method(FRAMES, "core_set", "Core-set"),
    "mc_dropout": mc_dropout(FRAMES, "tod_dropout_cityscapes"),
    "qbc": committee(FRAMES, "tod_ensemble_cityscapes"),
    "cod": Method(FRAMES, "cod", "Ours, task loss alone (Table 2)"),
    "tod": Method("papers/tod/cityscapes_tod.yaml", "cod", "Ours", ("name=cityscapes_tod",)),
}

WHY = {
    "ll4al": "at 40 % of CIFAR-10 94.1, where the paper of gradient norms, under the same protocol,"
    " leaves it at most 92.77 (its Table 3): two papers ran two things by this name",
    "vaal, ta_vaal, sraal, uncertain_gcn, core_gcn": WITHOUT_CODE,
    "mc_dropout": DROPOUT,
    "cod": "on cycle 0 as the code does it, smallest distance to an untrained network first; the"
    " text has the largest: strategy.first_cycle",
}
CIFAR_WHY = {
    **WHY,
    "emaod, cyclic_od": "of both there is a name and a curve, but no code",
    "full": WARM.format("17.5 million", "10 million"),
}
PER_CLASS = by_class(
    "Table 2: IoU of each class with 40 % of the frames", "per_class_iou", LABELS, CLASSES,
    TOD_TABLE_2,
)  # fmt: skip
TABLE_2 = {
    method: [Published("Table 2", (LABELS,), ((percent,),))]
    for method, percent in TOD_TABLE_2_MEANS.items()
}

COMPARISONS = {
    "cifar10": Comparison(
        table_1_and_ablations("cifar10"),
        {**TOD_TABLE_1["cifar10"], "full": [TOD_FULL]},
        why=CIFAR_WHY,
    ),
    "cifar100": Comparison(
        table_1_and_ablations("cifar100"), TOD_TABLE_1["cifar100"], why=CIFAR_WHY
    ),
    "svhn": Comparison(
        {**figure_7("svhn"), **with_all_labels("svhn")},
        note="Fig. 7 prints no numbers; 40 % of the labels are above all of them there.",
        why={**WHY, "full": WARM.format("25.6 million", "14.7 million")},
    ),
    "caltech101": Comparison(
        {**figure_7("caltech101"), **with_all_labels("caltech101")},
        note="Fig. 7 prints no numbers.",
        why={**WHY, "full": WARM.format("0.76 million", "0.39 million")},
    ),
    "cityscapes": Comparison(
        FIGURE_8,
        TABLE_2,
        note="Fig. 8 prints no numbers; Table 2 has those with 40 % of the frames.",
        why={
            "random, core_set, cod, tod": "the training is not in the paper; here it is that of"
            " the network's own code, fyu/drn, with 100 epochs, batches of 8 and crops of 688 px",
            "mc_dropout": DROPOUT,
            "qbc": "patches, their number and the members are not in the paper; images cost the"
            " same, so that nothing is left of its knapsack",
        },
        further=[PER_CLASS],
    ),
}

if __name__ == "__main__":
    launch("tod", __doc__, COMPARISONS)
