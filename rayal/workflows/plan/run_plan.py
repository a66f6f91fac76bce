"""The cycles of a run, and what they need, as text and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rayal.experiment.keep import Keep
from rayal.labeling.budget import CostUnit
from rayal.report.amounts import duration
from rayal.report.shown import as_html, text
from rayal.storage.folder import Json
from rayal.workflows.plan.cycles import Cycle
from rayal.workflows.plan.final_training import TunePlan
from rayal.workflows.plan.lines import ends_lines, kept_lines, size_lines, spent, time_line
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.tariff import Tariff

if TYPE_CHECKING:
    from rich.console import Group


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
    """What a training worker, and the process of the run, hold -> bytes; torch is not counted."""
    warnings: tuple[str, ...]
    training: str
    """How each model is trained, in words: what a file says in another place than is thought."""
    files: int
    """What the run folder holds at the end under `keep`, about."""
    budget: float
    """What is spent on labels, in its unit."""
    unit: CostUnit
    tariff: Tariff
    keep: Keep
    """Which large files of past cycles are left."""
    fits: tuple[str, ...] = ()
    """What is trained beside each model, in words."""
    chooses: str = ""
    """Which strategy chooses, from what, and what is bought in the end, in words; empty where the
    first training has all labels."""
    guards: tuple[str, ...] = ()
    """What guards do, and what it takes, in words."""
    explore: str = ""
    """What is drawn at random, in words."""
    first: str = ""
    """What a strategy chooses before the first training, and from how many, in words."""
    fine_tune: TunePlan | None = None
    """The training after the last cycle."""
    tuned: str = ""
    """How that network is trained, in words."""

    @property
    def total_seconds(self) -> float | None:
        """Of all cycles, and of what comes after them; None where nothing was timed."""
        if self.seconds is None:
            return None
        end = None if self.fine_tune is None else self.fine_tune.seconds
        return sum(self.seconds) + (end or 0.0)

    ends: tuple[str, ...] = ()
    """Rules that may end the run before its last cycle, in words."""

    @property
    def device_hours(self) -> float | None:
        """Hours of one device (a GPU, or the cores of this machine), however many share the work;
        None where nothing was timed."""
        return None if self.total_seconds is None else self.total_seconds / 3600

    @property
    def price(self) -> float | None:
        """In the tariff's currency; None where a price is missing that it would need."""
        return self.tariff.price(self.device_hours, self.budget, self.unit)

    def to_dict(self) -> Json:
        """As JSON."""
        cycles = [cycle._asdict() for cycle in self.cycles]
        known = {"device_hours": self.device_hours, "price": self.price}
        return asdict(self) | {
            "cycles": cycles,
            "tariff": self.tariff._asdict(),
            **known,
            "keep": dict(self.keep),
            "fine_tune": None if self.fine_tune is None else self.fine_tune._asdict(),
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
        yield from (f"fit     {line}" for line in self.fits)
        yield from [f"choose  {self.chooses}"] if self.chooses else []
        if self.fine_tune is not None:
            yield from self.fine_tune.lines(self.tuned)
        if self.total_seconds and self.probe:
            yield time_line(self.total_seconds, self.probe.device)
        if self.unit == "seconds":
            yield f"people  {spent(self.budget, self.unit)}"
        yield from size_lines(self.disk, self.memory)
        yield f"files   about {self.files:,}"
        yield from kept_lines(self.keep)
        yield from [f"first   {self.first}"] if self.first else []
        yield from (f"guards  {line}" for line in self.guards)
        yield from [f"explore {self.explore}"] if self.explore else []
        yield from ends_lines(self.ends)
        yield from self.tariff.lines(self.device_hours, self.budget, self.unit)
        for warning in self.warnings:
            yield f"warning: {warning}"
