"""The methods that the papers compare with, as each paper's protocol runs them.

None of the four papers tells the options of its rivals, and only TOD's code has one of them, LL4AL.
Where nothing is said they have rayal's defaults, which are those of their own papers or codes.
"""

from collections.abc import Sequence

from planned import Method

CALLED = {
    "random": "Random",
    "entropy": "Entropy",
    "core_set": "Core-set",
    "ll4al": "LL4AL",
    "vaal": "VAAL",
    "ta_vaal": "TA-VAAL",
    "sraal": "SRAAL",
    "uncertain_gcn": "UncertainGCN",
    "core_gcn": "CoreGCN",
}
LEARNED = ("ll4al", "vaal", "ta_vaal", "sraal", "uncertain_gcn", "core_gcn")
"""Those that train something beside the task network."""


def rivals(file: str, names: Sequence[str], overrides: tuple[str, ...] = ()) -> dict[str, Method]:
    """Methods that are one strategy with its defaults, trained alike."""
    return {name: Method(file, name, CALLED[name], overrides) for name in names}


def learning_loss_of_tod(file: str, name: str, dataset: str) -> Method:
    """LL4AL as TOD's code makes and trains its head; `name` is the experiment's."""
    small = "detach_after: 0.605"  # 121 epochs of 200, and 31 of 50
    options = "detach_after: 0.62, corner: 32" if dataset == "caltech101" else small
    head = f"{{{options}, follows_schedule: false}}"
    overrides = (f"name={name}", f"strategy={{name: ll4al, loss_head: {head}}}")
    return Method(file, "ll4al", CALLED["ll4al"], overrides)


def task_aware(file: str, name: str) -> Method:
    """TA-VAAL, by a name of its own: its ranker changes what the model learns at the first labels
    already."""
    return Method(file, "ta_vaal", CALLED["ta_vaal"], (f"name={name}",))


def mc_dropout(file: str, name: str) -> Method:
    """Its networks have no dropout in the papers' protocols: here before the last layer, 0.5."""
    overrides = (f"name={name}", "model.dropout=0.5")
    return Method(file, "mc_dropout_entropy", "MC-dropout", overrides)


def committee(file: str, name: str) -> Method:
    """QBC with five members; images cost the same, so that the highest are taken."""
    return Method(file, "qbc", "QBC", (f"name={name}", "ensemble=5"))


WITHOUT_CODE = (
    "neither options nor training are in the paper; here the defaults, those of the papers and"
    " codes where these methods come from, under this protocol"
)
DROPOUT = (
    "the protocol's network has no dropout, and the paper does not say where it put it; here 0.5"
    " before the last layer, which changes the training, too"
)
WARM = (
    "cycles start warm: together they see {} images, the one training on all labels {}; see"
    " docs/claims.md before reading that a share of the labels beats all of them"
)
