"""What a run will do and what it will cost, before anything starts."""

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from rayal.cycle.keep import SHARDS, WEIGHTS, Kind, may_go
from rayal.cycle.offer import Offer
from rayal.cycle.score import score_batch
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.experiment.keep import Keep
from rayal.models.build import build
from rayal.models.network import last_layer
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.report.amounts import duration, size
from rayal.report.shown import as_html, text
from rayal.signals.signal import SIGNALS, Width
from rayal.storage.folder import Json
from rayal.workflows.checks import Resources, check, check_strategies, shortages, warnings
from rayal.workflows.plan.cycles import Cycle, Prices, plan_cycles
from rayal.workflows.plan.probe import Probe, measure
from rayal.workflows.plan.tariff import FREE, Tariff

if TYPE_CHECKING:
    from rich.console import Group

ID_BYTES, SCORE_BYTES, KEPT_BYTES = 24, 8, 2  # id and status, float64, float16 in a row of scores
RUN_FILES, STAGE_FILES = 9, 2  # of every run and every stage, such as done.json
CHECKPOINTS = 3  # two are kept while a third is written
MOMENTS = {"sgd": 1, "adam": 2}  # numbers that an optimizer keeps of each weight
PRICED = 32  # images whose cost is asked for, where units differ in cost
CONNECT_SECONDS, TRAIN_SECONDS, SCORE_SECONDS = 6.0, 10.0, 4.0
"""Start-up on Ray: of Ray itself, of a training's workers, of a pass's actors (2 cores, 2.60)."""


@dataclass(frozen=True)
class Plan:
    """The cycles of a run, and what they need."""

    cycles: tuple[Cycle, ...]
    seconds: tuple[float, ...] | None
    """Of each cycle on this machine, start-up included; None where nothing was timed."""
    probe: Probe | None
    disk: dict[str, int]
    """What the run folder holds at the end under `keep` -> bytes, before compression."""
    memory: dict[str, int]
    """What a training worker holds -> bytes."""
    warnings: tuple[str, ...]
    training: str
    """How each model is trained, in words: what a file says in another place than is thought."""
    files: int
    """What the run folder holds at the end under `keep`, about."""
    budget: float
    """What is spent on labels, in its unit."""
    unit: str
    tariff: Tariff
    keep: Keep
    """Which large files of past cycles are left."""

    @property
    def device_hours(self) -> float | None:
        """Hours of one device (a GPU, or the cores of this machine), however many share the work;
        None where nothing was timed."""
        return None if self.seconds is None else sum(self.seconds) / 3600

    @property
    def price(self) -> float | None:
        """In the tariff's currency; None where a price is missing that it would need."""
        return self.tariff.price(self.device_hours, self.budget)

    def to_dict(self) -> Json:
        """As JSON."""
        cycles = [cycle._asdict() for cycle in self.cycles]
        known = {"device_hours": self.device_hours, "price": self.price}
        return asdict(self) | {
            "cycles": cycles,
            "tariff": self.tariff._asdict(),
            **known,
            "keep": dict(self.keep),
        }

    def to_rich(self) -> "Group":
        """As a table of the cycles, the totals below it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(*Cycle._fields, *(["time"] if self.seconds else []), box=None)
        for column in table.columns:
            column.justify = "right"
        for i, cycle in enumerate(self.cycles):
            time = [duration(self.seconds[i])] if self.seconds else []
            table.add_row(*(f"{number:,}" for number in cycle), *time)
        return Group(table, Text("\n".join(["", *self._totals()])))

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def _totals(self) -> Iterator[str]:
        yield f"train   {self.training}"
        if self.seconds and self.probe:
            yield f"time    {duration(sum(self.seconds))} on this machine ({self.probe.device})"
        for title, sizes in (("disk", self.disk), ("memory", self.memory)):
            parts = ", ".join(f"{what} {size(count)}" for what, count in sizes.items())
            yield f"{title:7} {size(sum(sizes.values()))}: {parts}"
        yield f"files   about {self.files:,}"
        yield from kept_lines(self.keep)
        yield from self.tariff.lines(self.device_hours, self.budget, self.unit)
        for warning in self.warnings:
            yield f"warning: {warning}"


def make(
    x: Experiment,
    store: Store,
    *,
    probe: bool = True,
    timed: Probe | None = None,
    tariff: Tariff = FREE,
) -> Plan:
    """The plan of an experiment; with `probe`, times a few batches of it on this machine, unless
    that was `timed` before.

    Raises UsageError like `check`. That this machine lacks what is asked for is only a warning: the
    plan may be for a cluster.
    """
    card = store.card
    check(x, card)
    check_strategies(x, store)
    cycles, network = tuple(plan_cycles(x, card, prices(x, store))), _network(x, card)
    timed = timed or (measure(x, store) if probe else None)
    return Plan(
        cycles=cycles,
        seconds=tuple(_seconds(x, cycle, timed) for cycle in cycles) if timed else None,
        probe=timed,
        disk=_disk(x, card, cycles, network),
        memory=_memory(x, card, cycles, network),
        warnings=(*warnings(x, card), *shortages(x.compute, Resources.here())),
        training=_training(x),
        files=_files(x, store, cycles),
        budget=x.budget.amounts.total,
        unit=x.budget.unit,
        tariff=tariff,
        keep=x.keep,
    )


def kept_lines(keep: Keep) -> Iterator[str]:
    """`keep    weights last, shards last`, unless all files stay."""
    if {*dict(keep).values()} != {"all"}:
        yield "keep    " + ", ".join(f"{kind} {choice}" for kind, choice in keep)


def _training(x: Experiment) -> str:
    """`supervised, 40 epochs, lr 0.02 (multistep), batches of 32`"""
    scheme, unit = x.scheme, "steps" if x.scheme.steps else "epochs"
    return (
        f"{scheme.part_name()}, {scheme.length} {unit}, lr {scheme.lr:g} ({scheme.schedule}),"
        f" batches of {scheme.batch_size}"
    )


def prices(x: Experiment, store: Store) -> Prices:
    """Of some images of the pool."""
    ids = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    some = [ids[i] for i in np.linspace(0, len(ids) - 1, min(len(ids), PRICED)).astype(int)]
    offer = Offer(x, store, bought=())
    cost, units = float(offer.costs(some).sum()), list(x.strategy.units(some, offer.regions))
    image, unit = (max(1.0, cost / max(1, count)) for count in (len(some), len(units)))
    return Prices(image, unit, parts=x.strategy.divides_images)


def _seconds(x: Experiment, cycle: Cycle, probe: Probe) -> float:
    """How long a cycle takes on this machine."""
    train = x.ensemble * cycle.steps * probe.step(min(cycle.labels, x.scheme.batch_size))
    seen = cycle.scored + (cycle.labels if cycle.scored and _scans_labeled(x) else 0)
    score = seen * probe.score[min(cycle.cycle, 1)]
    work = train + cycle.evaluated * probe.evaluate + score
    if x.compute.engine == "local":
        return work
    work += TRAIN_SECONDS + (SCORE_SECONDS if cycle.scored else 0)
    return work + (CONNECT_SECONDS if cycle.cycle == 0 else 0)


def _disk(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    weights = len(TrainedModel.of(x.card_for(card), network).data())
    trained, passed = (left(x, kind, cycles) for kind in (WEIGHTS, SHARDS))
    kept = {signal for strategy in x.scored().values() for signal in strategy.kept()}
    numbers = sum(_width(SIGNALS[signal].width, card, network) for signal in kept)
    numbers += len(card.classes) if x.keeps_probs(0) else 0
    row = ID_BYTES + SCORE_BYTES * len(x.scored()) + KEPT_BYTES * numbers
    beside = sum(_companions(x, card, network).values())
    scans = _scans_labeled(x)
    rows = sum(cycle.scored + (cycle.labels if scans else 0) for cycle in passed)
    return {
        "weights": (weights + beside) * len(trained) * x.ensemble,
        "scores": row * rows,
        "checkpoints while training": CHECKPOINTS * (1 + MOMENTS[x.scheme.optimizer]) * weights,
    }


def _files(x: Experiment, store: Store, cycles: tuple[Cycle, ...]) -> int:
    """Of the folder, of the first units, and of every stage."""
    own = 1 + len(x.companions())
    told = x.ensemble if x.ensemble > 1 else 0  # of an ensemble, that each member is trained
    files = RUN_FILES + STAGE_FILES + 1
    for cycle in cycles:
        files += STAGE_FILES + x.ensemble  # epochs
        files += STAGE_FILES  # evaluate
        if cycle.bought:
            files += 2 * (STAGE_FILES + 1)  # select, label
        if cycle.scored:
            files += STAGE_FILES
    files += len(left(x, WEIGHTS, cycles)) * (x.ensemble * own + told)
    return files + len(left(x, SHARDS, cycles)) * len(store.pool.shards(x.compute.shard_rows))


def left(x: Experiment, kind: Kind, cycles: tuple[Cycle, ...]) -> list[Cycle]:
    """The cycles whose files of this kind are there when the run is complete."""
    of = {each.cycle: _stages(each) for each in cycles}
    done = {(cycle, stage) for cycle, stages in of.items() for stage in stages}
    return [
        each
        for each in cycles
        if kind.stage in of[each.cycle] and not may_go(x, kind, each.cycle, done, complete=True)
    ]


def _stages(cycle: Cycle) -> tuple[str, ...]:
    """Those that a cycle goes through."""
    bought = ("label",) if cycle.bought else ()
    return ("train", "evaluate", *(("score", "select", *bought) if cycle.scored else ()))


def _width(width: Width, card: Card, network: nn.Module) -> int:
    """How many numbers a pass keeps of a unit."""
    if width == "features":
        return feature_width(network)
    if width == "grid":
        return 2 + math.prod(_grid(network, card))
    return 1 if width == "one" else len(card.classes)


def _grid(network: nn.Module, card: Card) -> tuple[int, ...]:
    """Height and width of the grid of predictions, found without computing them."""
    with torch.no_grad():
        images = torch.empty(1, *card.image.shape, device="meta")
        logits = copy.deepcopy(network).to("meta").eval()(images).logits
    return tuple(logits.shape[2:])


def feature_width(network: nn.Module) -> int:
    """D: what the last layer reads, or of dense networks the channels of what it reads."""
    last = last_layer(network)
    width: int = cast(Any, network).layer_channels[-1] if last is None else last.weight.shape[1]
    return width


def _scans_labeled(x: Experiment) -> bool:
    """Whether labeled units go through the pass as well."""
    return any(strategy.scans_labeled for strategy in x.scored().values())


def _memory(
    x: Experiment, card: Card, cycles: tuple[Cycle, ...], network: nn.Module
) -> dict[str, int]:
    def resident(images: int, size: int) -> int:  # as stored
        return images * size if images * size <= x.compute.resident_bytes else 0  # else streamed

    image, pixels = card.image.byte_count, card.image.height * card.image.width
    most = cycles[-1].labels
    sizes = {
        "labeled images": resident(most, image),
        "weights, gradients and optimizer": (2 + MOMENTS[x.scheme.optimizer])
        * len(save_weights(network)),
    }
    if x.task.dense:
        sizes["masks"] = resident(most, pixels)
        maps = 4 * len(card.classes) * pixels  # float32
        sizes["a class map of each image of a scored batch"] = score_batch(x.compute, card) * maps
    if x.scheme.unlabeled(1):
        sizes["unlabeled images"] = resident(card.pool - cycles[0].labels, image)
    return sizes | _companions(x, card, network)


def _companions(x: Experiment, card: Card, network: nn.Module) -> dict[str, int]:
    """Bytes of what lives beside the model, by name."""
    classes = card.classes
    return {
        spec.name: len(save_weights(spec.build(network, len(classes), x.card_for(card).untrained)))
        for spec in x.companions()
    }


def _network(x: Experiment, card: Card) -> nn.Module:
    return build(x.model, len(card.classes), card.image, seed=0)
