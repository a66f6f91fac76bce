"""What a pass that keeps features will take: time, disk and memory, for the images that are there
or for as many more."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.scorer import Scorer
from rayal.data.store import Store
from rayal.models.network import feature_width
from rayal.models.trained_model import TrainedModel
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.shown import as_html, text
from rayal.storage.folder import Folder, Json
from rayal.storage.stage_file import FileLocation
from rayal.workflows.features import FeaturePass, Features, open_pass
from rayal.workflows.plan.lines import size_lines, time_line
from rayal.workflows.plan.probe import CPU_BATCH
from rayal.workflows.plan.sizes import ID_BYTES, KEPT_BYTES
from rayal.workflows.plan.tariff import FREE, Tariff
from rayal.workflows.score import pool_shard_rows

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True)
class FeaturesPlan:
    """What `rayal features` will do, and what it needs."""

    images: int
    """Of the pool and of the test split."""
    width: int
    """Numbers of each vector."""
    shards: int
    """Files, and pieces of work that a pass which is stopped does not do again."""
    seconds: float | None
    """On one device of this machine: a GPU, or all its cores; None where nothing was timed."""
    device: str
    disk: dict[str, int]
    """What the folder holds -> bytes, before compression."""
    memory: dict[str, int]
    """What a process of the pass holds -> bytes, beside what torch itself takes."""
    tariff: Tariff

    @property
    def device_hours(self) -> float | None:
        """Hours of one device, however many share the work; None where nothing was timed."""
        return None if self.seconds is None else self.seconds / 3600

    @property
    def price(self) -> float | None:
        """In the tariff's currency; None where nothing is priced."""
        return self.tariff.price(self.device_hours, 0)

    def to_dict(self) -> Json:
        """As JSON."""
        known = {"device_hours": self.device_hours, "price": self.price}
        return asdict(self) | {"tariff": self.tariff._asdict(), **known}

    def to_rich(self) -> "Text":
        """As lines."""
        from rich.text import Text

        return Text("\n".join(self._lines()))

    def __str__(self) -> str:
        return text(self.to_rich())

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def _lines(self) -> Iterator[str]:
        yield f"images  {self.images:,} in {self.shards:,} shards, {self.width} numbers of each"
        if self.seconds is not None:
            yield time_line(self.seconds, self.device)
        yield from size_lines(self.disk, self.memory)
        yield from self.tariff.lines(self.device_hours, 0, "samples")


def make_features(
    x: FeaturePass,
    *,
    units: int | None = None,
    probe: bool = True,
    tariff: Tariff = FREE,
    plugins: Plugins = NO_PLUGINS,
) -> FeaturesPlan:
    """The plan of a pass; `units`: for a pool of so many images as those that are there. With
    `probe`, some of these are looked at to time it. Raises as the pass would at its start."""
    x, store, network, _ = open_pass(x, plugins)
    card = store.card
    width = feature_width(network.network())
    pool = card.pool if units is None else units
    rows = pool_shard_rows(pool, card.image.byte_count, x.compute, x.batch)
    device = "cuda" if x.compute.device != "cpu" and torch.cuda.is_available() else "cpu"
    images = pool + card.test
    vectors = images * (KEPT_BYTES * width + ID_BYTES)
    return FeaturesPlan(
        images=images,
        width=width,
        shards=-(-pool // rows) + -(-card.test // rows),
        seconds=images * _seconds(x, store, network, device) if probe else None,
        device=device,
        disk={"vectors": vectors, "shards, until the store is made of them": vectors},
        memory={
            "weights": len(network.data()),
            "decoded images of a shard": rows * card.image.byte_count,
            "a batch as the network sees it": 4 * x.batch * math.prod(network.card.image.shape),
            "vectors of a shard": rows * KEPT_BYTES * width,
        },
        tariff=tariff,
    )


def _seconds(x: FeaturePass, store: Store, network: TrainedModel, device: str) -> float:
    """One image through the pass, read, decoded and kept, once warm."""
    shard = store.pool.shards(1)[0]
    count = min(x.batch, CPU_BATCH) if device == "cpu" else x.batch
    ids = store.pool.ids_of(shard).to_pylist()[:count]
    with TemporaryDirectory(prefix="rayal-plan-") as place:
        out = Folder(place)
        job = ScoreJob(
            strategies={"features": Features()},
            card=network.card,
            model=network.card.model,
            images=store.pool,
            data=store.card.fingerprint,
            weights=FileLocation(out.url, network.write(out)),
            out=out.url,
            batch=len(ids),
        )
        scorer, task = Scorer(job, device), ShardTask(shard, ids)
        scorer.score(task, scorer.decode(scorer.read(task)))
        started = perf_counter()
        scorer.score(task, scorer.decode(scorer.read(task)))
        return (perf_counter() - started) / len(ids)
