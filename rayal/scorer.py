"""The worker of the scoring pass: opens a job's models once, then scores shard after shard."""

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal import scores
from rayal.augment import normalise
from rayal.companion import Companion
from rayal.dataset import Decoded, ImageSpec, Store
from rayal.errors import DataError, RayalError, StorageError, UsageError
from rayal.model import build, load_weights, placed, restore
from rayal.randomness import derive
from rayal.scoring import ScoreJob, ShardTask
from rayal.signals import Networks, Reference, SignalName, Signals, forward
from rayal.storage import FileLocation, Folder, Json
from rayal.strategy import Strategy
from rayal.task import Task
from rayal.teacher import Teacher

NO_IMAGES: frozenset[SignalName] = frozenset({"noise"})

Number = TypeVar("Number", bound=np.generic)


class Scorer:
    """Scores shards with the models of one job: opened once per worker."""

    def __init__(self, job: ScoreJob, device: str) -> None:
        x = job.experiment
        self.job, self.device = job, torch.device(device)
        self.store = Store(job.store)
        self.strategies, self.task, self.batch = x.scored(), x.task, x.compute.score_batch
        self.out = Folder(job.out)
        self.networks = self._networks()

    def reads_images(self) -> bool:
        """Whether any strategy looks at the images; where all are raw, random reads none."""
        looks = any((s.needs | s.kept()) - NO_IMAGES for s in self.strategies.values())
        return looks or self.store.card.encoding != "raw" or self.job.keeps_probs

    def decode(self, task: ShardTask) -> Decoded:
        """The task's images: the part of the work that needs no model and no GPU."""
        if not self.reads_images():
            return Decoded(task.ids, np.empty((len(task.ids), 0), np.uint8), {})
        pool = self.store.pool
        return pool.decode(pool.read(task.shard, keep=set(task.ids)))

    def score(self, task: ShardTask, decoded: Decoded) -> Json:
        """Writes the task's file and says how much there is in it."""
        started = monotonic()
        if set(decoded.ids) | set(decoded.bad) != set(task.ids):
            raise StorageError(f"shard {task.shard.index} of {self.job.store} changed while read")
        columns = self._columns(task, decoded)
        record = self.out.write(
            task.file, scores.encode(decoded.ids, columns, decoded.bad, self.job.digest)
        )
        return {
            "shard": task.shard.index,
            "rows": len(task.ids),
            "bad": dict(sorted(decoded.bad.items())),
            "file": record._asdict(),
            "seconds": monotonic() - started,
        }

    def _columns(self, task: ShardTask, decoded: Decoded) -> dict[str, NDArray[np.floating]]:
        cached = self._cached_probs(task, decoded)
        parts: dict[str, list[Tensor]] = {}
        for start in range(0, len(decoded.ids), self.batch):
            rows = slice(start, start + self.batch)
            for name, values in self._batch(decoded, rows, cached).items():
                parts.setdefault(name, []).append(values)
        # moved once a shard: every move makes a GPU wait
        columns = {name: torch.cat(values).cpu().numpy() for name, values in parts.items()}
        for name, column in columns.items():
            _check_finite(name, column, decoded.ids)
        return columns

    def _batch(
        self, decoded: Decoded, rows: slice, cached: NDArray[np.floating] | None
    ) -> dict[str, Tensor]:
        """The columns of one batch. A short batch is filled up with its last image: networks then
        always see one shape, so a unit's score does not depend on the size of its shard."""
        ids, images = decoded.ids[rows], decoded.images[rows]
        fill = self.batch - len(ids)
        signals = self._signals(
            ids + ids[-1:] * fill,
            np.concatenate([images, images[-1:].repeat(fill, 0)]) if fill else images,
            None if cached is None else _filled(cached[rows], fill),
        )
        columns: dict[str, Tensor] = {}
        for name, strategy in self.strategies.items():
            view = signals.declared_by(
                name, strategy.needs | strategy.kept(), strategy.reference(self.job.cycle)
            )
            score = _score(name, strategy, view, self.task)
            if score is not None:
                columns[f"score.{name}"] = score[: len(ids)].double()
            for signal in sorted(strategy.kept()):  # sets have another order in every process
                columns[f"keep.{signal}"] = getattr(view, signal)[: len(ids)].half()
        if self.job.keeps_probs:
            columns["probs"] = signals.probs[: len(ids)].half()
        return columns

    def _signals(
        self, ids: list[str], images: NDArray[np.uint8], cached: NDArray[np.floating] | None
    ) -> Signals:
        batch = torch.from_numpy(images).to(self.device)
        if self.reads_images():
            batch = normalise(batch, self.store.card.image)
        kept_probs = None if cached is None else torch.from_numpy(cached).to(self.device)
        return Signals(ids, batch, self.networks, kept_probs)

    def _cached_probs(self, task: ShardTask, decoded: Decoded) -> NDArray[np.floating] | None:
        """What the last cycle's model says, N C, as its own pass kept it; it is asked now for
        images that could not be read then."""
        if not self.job.reads_probs or not decoded.ids:
            return None
        table = scores.read_good(Folder(str(self.job.previous_scores)), task.file, ["id", "probs"])
        places = {unit: row for row, unit in enumerate(table["id"].to_pylist())}
        kept = [scores.matrix(table["probs"])] if places else []
        if new := [row for row, unit in enumerate(decoded.ids) if unit not in places]:
            kept.append(self._previous_probs(decoded.images[new]))
            places |= {decoded.ids[row]: len(places) + n for n, row in enumerate(new)}
        return np.concatenate(kept)[[places[unit] for unit in decoded.ids]]

    def _previous_probs(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """What the last cycle's model says, N C, as a pass keeps it."""
        x, model, parts = self.job.experiment, self._reference("previous", {}), []
        for start in range(0, len(images), self.batch):
            batch = images[start : start + self.batch]
            filled = torch.from_numpy(_filled(batch, self.batch - len(batch))).to(self.device)
            outputs = forward(model, normalise(filled, self.store.card.image), x.scheme.precision)
            probs = outputs.logits[: len(batch)].float().log_softmax(dim=1).exp()
            parts.append(probs.half().cpu().numpy())
        return np.concatenate(parts)

    def _networks(self) -> Networks:
        job, x = self.job, self.job.experiment
        model = self._restored(job.weights)
        strategies = self.strategies.values()
        asked = {spec.name for strategy in strategies for spec in strategy.companions()}
        companions = {name: self._companion(name, model) for name in sorted(asked)}
        ensemble = any("ensemble_log_probs" in s.needs | s.kept() for s in strategies)
        references = {s.reference(job.cycle) for s in strategies}
        if job.reads_probs:
            references.discard("previous")
        return Networks(
            model=model,
            references={r: self._reference(r, companions) for r in references if r is not None},
            members=[self._restored(weights) for weights in job.members if ensemble],
            companions=companions,
            seed=x.seed,
            cycle=job.cycle,
            precision=x.scheme.precision,
        )

    def _companion(self, name: str, model: nn.Module) -> Companion:
        classes = self._shape[0]
        with torch.random.fork_rng(devices=[]):
            companion = self.job.experiment.companions()[name].build(
                model, classes, partial(self._untrained, seed=0)
            )
        load_weights(companion, self.job.companions[name].read())
        return companion.to(self.device).eval()

    def _reference(self, name: Reference, companions: Mapping[str, Companion]) -> nn.Module:
        x = self.job.experiment
        if name == "teacher":
            return cast(Teacher, companions["teacher"]).network
        if name == "previous":
            assert self.job.previous is not None, "cycle 0 has no previous model"
            return self._restored(self.job.previous)
        if name == "initial":
            return self._placed(build(x.model, *self._shape, seed=derive(x.seed, 0, "init")))
        return self._placed(self._untrained(derive(x.seed, 0, "reference")))

    def _untrained(self, seed: int) -> nn.Module:
        model = self.job.experiment.model.model_copy(update={"pretrained": None})
        return build(model, *self._shape, seed=seed)

    def _restored(self, weights: FileLocation) -> nn.Module:
        return self._placed(restore(self.job.experiment.model, *self._shape, weights.read()))

    def _placed(self, network: nn.Module) -> nn.Module:
        return placed(network, self.device, self.job.experiment.scheme.precision).eval()

    @property
    def _shape(self) -> tuple[int, ImageSpec]:
        """What a network has to fit: classes and images."""
        return len(self.store.card.classes), self.store.card.image


def _score(name: str, strategy: Strategy, view: Signals, task: Task) -> Tensor | None:
    try:
        values = strategy.score(view)
    except (RayalError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's own strategy may raise anything
        raise DataError(f"strategy {name!r} raised {type(error).__name__}: {error}") from error
    if values is None and type(strategy).select is not Strategy.select:
        return None
    if not isinstance(values, Tensor) or values.is_complex():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"strategy {name!r} gave {kind} as scores: score returns a tensor of numbers, or None"
            " where select is its own"
        )
    try:
        per_unit = task.per_unit(values.detach())
    except UsageError as error:
        raise DataError(f"strategy {name!r}: {error}") from error
    if per_unit.shape != (len(view.ids),):
        raise DataError(
            f"strategy {name!r} gave scores of shape {tuple(values.shape)}"
            f" for {len(view.ids)} units"
        )
    return per_unit


def _check_finite(name: str, values: NDArray[np.floating], ids: list[str]) -> None:
    places = np.argwhere(~np.isfinite(values))
    if not len(places):
        return
    first = places[0]
    raise DataError(
        f"{name} of {ids[first[0]]!r} is {values[tuple(first)]}; "
        "a model that diverged gives such numbers: lower scheme.lr"
    )


def _filled(rows: NDArray[Number], fill: int) -> NDArray[Number]:
    return np.concatenate([rows, rows[-1:].repeat(fill, 0)])
