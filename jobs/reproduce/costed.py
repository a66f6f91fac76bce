"""What `costs.py` measures: one cycle of each method, under the protocol of a published table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from planned import CONFIGS
from published import DAST_TABLE_4, TOD_TABLE_3, Cost
from rivals import LEARNED

from rayal.experiment import config
from rayal.experiment.experiment import Experiment

LOCAL = ("compute.engine=local", "tracking=none")


class Table(NamedTuple):
    """A protocol of which one cycle is run."""

    source: str
    """Of the published numbers."""
    config: str
    """A file in configs/."""
    overrides: tuple[str, ...]
    published: Mapping[str, Cost]
    quick: bool = False
    """Whether methods that fit something do so as `QUICK` says."""


TOD_TOTALS = {"cifar10": 7500, "svhn": 10_986, "caltech101": 1302}
TABLES = {
    "dast_al": Table(
        "DAST-AL, Table 4, TITAN Xp",
        "papers/ll4al/cifar10.yaml",
        ("budget.total=2000",),
        DAST_TABLE_4,
    ),
    **{
        f"tod_{dataset}": Table(
            "TOD, Table 3, GTX 1080 Ti",
            f"papers/tod/{dataset}.yaml",
            (f"budget.total={total}",),
            TOD_TABLE_3[dataset],
        )
        for dataset, total in TOD_TOTALS.items()
    },
}
REDUCED = Table(
    "nothing: a network, a pool and fits of another size",
    "cifar10_small/reduced.yaml",
    (
        *("dataset.limit_pool=1000", "dataset.limit_test=200", "model.width=8"),
        *("scheme.epochs=10", "observers=[]", "compute.cpus_per_worker=1"),
        *("budget.initial=200", "budget.per_cycle=50", "budget.total=250"),
    ),
    {},
    quick=True,
)
"""A little of CIFAR-10, for machines without a GPU: which method costs more than which."""
SMALL = Table(
    "nothing: too small",
    "digits/base.yaml",
    (
        *("scheme.epochs=2", "scheme.milestones=[]", "candidates=300", "model.width=8"),
        *("budget.initial=50", "budget.per_cycle=50", "budget.total=100"),
    ),
    {},
    quick=True,
)

METHODS: dict[str, tuple[str, ...]] = {
    **{name: (f"strategy={name}",) for name in ("random", "entropy", "cod", "epmcm", "core_set")},
    **{name: (f"strategy={name}",) for name in LEARNED},
    "ads": ("strategy=ads",),
    "dast_al": ("strategy={name: epmcm, reset: false}",),
}
SCHEMES: dict[str, dict[str, Any]] = {
    "ads": {"name": "ads"},
    "dast_al": {"name": "isda", "strength": 1.0, "reset": False},
}
"""Of the methods that train otherwise; the numbers of the table's own training stay."""
QUICK = {
    **{
        name: (f"strategy.{name}.epochs=1", f"strategy.{name}.width=8")
        for name in ("vaal", "ta_vaal", "sraal")
    },
    **{name: ("strategy.graph.updates=20",) for name in ("uncertain_gcn", "core_gcn")},
}
"""What small tables make shorter of a method."""


def experiment(table: Table, method: str, given: Sequence[str] = ()) -> Experiment:
    """One cycle of a method, and what a second one begins with."""
    shorter = QUICK.get(method, ()) if table.quick else ()
    own = (*METHODS[method], *shorter, f"name=costs_{method}")
    alike = [*LOCAL, *table.overrides, *given]
    if method in SCHEMES:
        plain = config.load(CONFIGS / table.config, [*alike, "strategy=random"]).scheme
        kept = plain.model_dump(mode="json", exclude_defaults=True)
        own = (*own, f"scheme={json.dumps({**kept, **SCHEMES[method]})}")
    return config.load(CONFIGS / table.config, [*alike, *own])
