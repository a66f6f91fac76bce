"""The worker of the scoring pass: opens a job's models once, then scores shard after shard."""

from functools import cached_property
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal.blame import located
from rayal.cycle import shard_file
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.data.pixels import valid_pixels
from rayal.data.pool import Decoded, Images
from rayal.data.tasks.base import Task
from rayal.errors import DataError, RayalError, StorageError, UsageError, quoted
from rayal.models.build import build
from rayal.models.companions.base import Companion, Companions, CompanionSpec
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.randomness import derive
from rayal.runs.results import Scored, ScoredShard, read_result
from rayal.signals.batch import Networks, Reference, Signals, forward
from rayal.storage.folder import FileLocation, FileRecord, Folder
from rayal.storage.journal import is_done
from rayal.strategies.base import Strategy
from rayal.training.augment import normalise

Number = TypeVar("Number", bound=np.generic)

KEPT = torch.float16
"""Of what a pass keeps for the selection."""


class Scorer:
    """Scores shards with the models of one job: opened once per worker."""

    def __init__(self, job: ScoreJob, device: str) -> None:
        self.job, self.device = job, torch.device(device)
        self.out = Folder(job.out)
        self.networks = self._networks()

    def reads_images(self) -> bool:
        """Whether any strategy looks at the images; where all are raw, random reads none."""
        job = self.job
        looks = any("pixels" in s.requires() for s in job.strategies.values())
        return looks or not job.images.raw or job.keeps_probs or job.keeps_predicted

    def read(self, task: ShardTask) -> pa.Table:
        """The task's rows, columns id and image."""
        if task.ids is not None and not self.reads_images():
            return pa.table({"id": pa.array(task.ids, pa.string())})
        return read_rows(self.job.images, task)

    def decode(self, rows: pa.Table) -> Decoded:
        """The images of these rows: the part of the work that needs no model and no GPU."""
        if "image" not in rows.column_names:
            ids: list[str] = rows["id"].to_pylist()
            return Decoded(ids, np.empty((len(ids), 0), np.uint8), {})
        return self.job.images.decode(rows)

    def score(self, task: ShardTask, decoded: Decoded) -> ScoredShard:
        """Writes the task's file and says how much there is in it."""
        started = monotonic()
        _check_rows(task, decoded)
        columns = self.columns(decoded, self._cached_probs(task, decoded))
        record = self.out.write(
            task.file, shard_file.encode(decoded.ids, columns, decoded.bad, self.job.digest)
        )
        return ScoredShard(
            shard=task.shard.index,
            rows=task.rows,
            bad=len(decoded.bad),
            first_bad=min(decoded.bad.items(), default=None),
            file=record,
            seconds=monotonic() - started,
            ranges=shard_file.ranges(columns),
        )

    def columns(
        self, decoded: Decoded, cached: NDArray[np.floating] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Scores and kept signals of good images; `cached`, N C, replaces the last cycle's model.

        Raises DataError for a score that is not finite.
        """
        columns = self.computed(decoded, cached)
        for name, column in columns.items():
            self._check_finite(name, column, decoded, cached)
        return columns

    def computed(
        self, decoded: Decoded, cached: NDArray[np.floating] | None = None
    ) -> dict[str, NDArray[Any]]:
        """As `columns`, whatever the numbers are."""
        parts: dict[str, list[Tensor]] = {}
        for start in range(0, len(decoded.ids), self.job.batch):
            rows = slice(start, start + self.job.batch)
            for name, values in self._batch(decoded, rows, cached).items():
                parts.setdefault(name, []).append(values)
        # moved once a shard: every move makes a GPU wait
        return {name: torch.cat(values).cpu().numpy() for name, values in parts.items()}

    def _check_finite(
        self,
        name: str,
        values: NDArray[Any],
        decoded: Decoded,
        cached: NDArray[np.floating] | None,
    ) -> None:
        finite = np.isfinite(values)
        if finite.all():
            return
        first = np.argwhere(~finite)[0]
        row = int(first[0])
        if name.startswith("keep."):
            self._check_kept(name, decoded, row, cached)
        raise DataError(
            f"{name} of {quoted(decoded.ids[row])} is {values[tuple(first)]}; "
            "a model that diverged gives such numbers: train it with a lower learning rate"
        )

    def _check_kept(
        self, name: str, decoded: Decoded, row: int, cached: NDArray[np.floating] | None
    ) -> None:
        """Raises DataError where a kept number of this row is only too large to be kept."""
        start = row - row % self.job.batch
        rows = slice(start, start + self.job.batch)
        whole = self._batch(decoded, rows, cached, kept=torch.float32)[name][row - start]
        if whole.isfinite().all():
            signal = name.removeprefix("keep.")
            those = [n for n, each in self.job.strategies.items() if signal in each.kept()]
            raise DataError(
                f"{signal} of {quoted(decoded.ids[row])} are up to {whole.abs().max():g}, and rayal"
                f" keeps them as float16, which ends at {torch.finfo(KEPT).max:g}; use a network"
                f" whose last block is normalised, or other strategies than {', '.join(those)}"
            )

    def _batch(
        self,
        decoded: Decoded,
        rows: slice,
        cached: NDArray[np.floating] | None,
        kept: torch.dtype = KEPT,
    ) -> dict[str, Tensor]:
        """The columns of one batch. A short batch is filled up with its last image: networks then
        always see one shape, so a unit's score does not depend on the size of its shard."""
        job, ids, images = self.job, decoded.ids[rows], decoded.images[rows]
        fill = job.batch - len(ids)
        signals = self._signals(
            ids + ids[-1:] * fill,
            _filled(images, fill) if fill else images,
            None if cached is None else _filled(cached[rows], fill),
            None if decoded.sizes is None else _filled(decoded.sizes[rows], fill),
        )
        columns: dict[str, Tensor] = {}
        for name, strategy in job.strategies.items():
            view = signals.declared_by(name, strategy.signals(), strategy.reference(job.cycle))
            score = _score(name, strategy, view, job.card.task)
            if score is not None:
                columns[f"score.{name}"] = score[: len(ids)].double()
            for signal in sorted(strategy.kept()):  # sets have another order in every process
                columns[f"keep.{signal}"] = getattr(view, signal)[: len(ids)].to(kept)
        if job.keeps_probs:
            columns["probs"] = signals.probs[: len(ids)].half()
        if job.keeps_predicted:
            columns["predicted"] = signals.logits[: len(ids)].argmax(dim=1).int()
        return columns

    def _signals(
        self,
        ids: list[str],
        images: NDArray[np.uint8],
        cached: NDArray[np.floating] | None,
        sizes: NDArray[np.int32] | None,
    ) -> Signals:
        batch = torch.from_numpy(images).to(self.device)
        if self.reads_images():
            batch = normalise(batch, self.job.card.image)
        kept_probs = None if cached is None else torch.from_numpy(cached).to(self.device)
        valid = None
        if sizes is not None:
            valid = valid_pixels(torch.from_numpy(sizes).to(self.device), *batch.shape[2:])
        return Signals(ids, batch, self.networks, kept_probs, valid)

    def _cached_probs(self, task: ShardTask, decoded: Decoded) -> NDArray[np.floating] | None:
        """What the last cycle's model says, N C, as its own pass kept it; it is asked now for
        images that could not be read then."""
        if self.job.previous_scores is None or not decoded.ids:
            return None
        record = self._previous_shards.get(task.file)
        table = shard_file.read_good(
            Folder(self.job.previous_scores), task.file, ["id", "probs"], record
        )
        places = {unit: row for row, unit in enumerate(table["id"].to_pylist())}
        kept = [shard_file.matrix(table["probs"])] if places else []
        if new := [row for row, unit in enumerate(decoded.ids) if unit not in places]:
            kept.append(self._previous_probs(decoded.images[new]))
            places |= {decoded.ids[row]: len(places) + n for n, row in enumerate(new)}
        return np.concatenate(kept)[[places[unit] for unit in decoded.ids]]

    @cached_property
    def _previous_shards(self) -> dict[str, FileRecord]:
        """The files of the last cycle's pass, by name, where a stage has recorded them."""
        assert self.job.previous_scores is not None
        folder = Folder(self.job.previous_scores)
        shards = read_result(Scored, folder).shards if is_done(folder) else ()
        return {record.name: record for record in shards}

    def _previous_probs(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """What the last cycle's model says, N C, as a pass keeps it."""
        job, model, parts = self.job, self._previous_model, []
        for start in range(0, len(images), job.batch):
            batch = images[start : start + job.batch]
            filled = torch.from_numpy(_filled(batch, job.batch - len(batch))).to(self.device)
            outputs = forward(model, normalise(filled, job.card.image), job.card.precision)
            probs = outputs.logits[: len(batch)].float().log_softmax(dim=1).exp()
            parts.append(probs.half().cpu().numpy())
        return np.concatenate(parts)

    @cached_property
    def _previous_model(self) -> nn.Module:
        """The last cycle's model, restored once for all shards."""
        assert self.job.previous is not None, "cycle 0 has no previous model"
        return self._restored(self.job.previous)

    def _networks(self) -> Networks:
        job, model = self.job, self._restored(self.job.weights)
        strategies = job.strategies.values()
        specs = {type(spec): spec for strategy in strategies for spec in strategy.companions()}
        companions = Companions((spec, self._companion(spec, model)) for spec in specs.values())
        ensemble = any("ensemble" in s.requires() for s in strategies)
        references = {s.reference(job.cycle) for s in strategies}
        if job.previous_scores is not None:
            references.discard("previous")
        return Networks(
            model=model,
            references={r: self._reference(r, companions) for r in references if r is not None},
            members=[self._restored(weights) for weights in job.members if ensemble],
            companions=companions,
            seed=job.seed,
            cycle=job.cycle,
            precision=job.card.precision,
        )

    def _companion(self, spec: CompanionSpec, model: nn.Module) -> Companion:
        with torch.random.fork_rng(devices=[]):
            companion = spec.build(model, len(self.job.card.classes), self.job.card.untrained)
        load_weights(companion, self.job.companions[spec.name].read())
        return companion.to(self.device).eval()

    def _reference(self, reference: Reference, companions: Companions) -> nn.Module:
        job = self.job
        if isinstance(reference, type):
            return companions.of(reference).network
        if reference == "previous":
            return self._previous_model
        if reference == "initial":
            seed, classes = derive(job.seed, 0, "init"), len(job.card.classes)
            return self._placed(build(job.model, classes, job.card.image, seed))
        if reference == "random":
            return self._placed(job.card.untrained(derive(job.seed, 0, "reference")))
        raise UsageError(
            f"a strategy names {reference!r} as its reference; choose one of: previous, initial,"
            " random, or the spec of a teacher, such as EmaTeacherSpec"
        )

    def _restored(self, weights: FileLocation) -> nn.Module:
        return self._placed(TrainedModel.read(weights, self.job.card).network())

    def _placed(self, network: nn.Module) -> nn.Module:
        return placed(network, self.device, self.job.card.precision).eval()


def read_rows(images: Images, task: ShardTask) -> pa.Table:
    """The task's rows, columns id and image (undecoded)."""
    return images.read(task.shard, None if task.ids is None else set(task.ids))


def _check_rows(task: ShardTask, decoded: Decoded) -> None:
    found, shard = {*decoded.ids, *decoded.bad}, task.shard
    same = len(found) == shard.rows if task.ids is None else found == set(task.ids)
    if not same or len(decoded.ids) + len(decoded.bad) != task.rows:
        raise StorageError(
            f"shard {shard.index}, {task.rows} rows of {shard.file}, changed while it was read, or"
            " an id in it is used twice; restore the file, and the same command goes on"
        )


def _score(name: str, strategy: Strategy, view: Signals, task: Task) -> Tensor | None:
    try:
        values = strategy.score(view)
    except (RayalError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's own strategy may raise anything
        raise DataError(f"strategy {name!r} raised {located(error)}") from error
    if values is None and type(strategy).select is not Strategy.select:
        return None
    if not isinstance(values, Tensor) or values.is_complex():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"strategy {name!r} gave {kind} as scores: score returns a tensor of numbers, or None"
            " where select is its own"
        )
    try:
        per_unit = task.per_unit(values.detach(), view.valid)
    except UsageError as error:
        raise DataError(f"strategy {name!r}: {error}") from error
    if per_unit.shape != (len(view.ids),):
        raise DataError(
            f"strategy {name!r} gave scores of shape {tuple(values.shape)}"
            f" for {len(view.ids)} units"
        )
    return per_unit


def _filled(rows: NDArray[Number], fill: int) -> NDArray[Number]:
    return np.concatenate([rows, rows[-1:].repeat(fill, 0)])
