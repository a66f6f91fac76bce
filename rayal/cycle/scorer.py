"""The worker of the scoring pass: opens a job's models once, then scores shard after shard."""

from functools import cached_property, partial
from time import monotonic
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal.cycle import shard_file
from rayal.cycle.columns import Columns
from rayal.cycle.referred import FEATURES, Referred
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.data.images import Stored
from rayal.data.pixels import valid_pixels
from rayal.data.pool import Decoded, Images
from rayal.errors import StorageError, UsageError
from rayal.models.build import build
from rayal.models.companions.base import Companion, Companions, CompanionSpec
from rayal.models.device import sent
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.randomness import derive, unit_keys
from rayal.runs.passes import ScoredShard
from rayal.runs.result_files import read_result
from rayal.runs.results import Scored
from rayal.signals.batch import Signals
from rayal.signals.dropout import UnitNoise
from rayal.signals.networks import Networks, Reference, forward
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.journal import is_done
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise
from rayal.training.fits.base import FitSpec

Rows = TypeVar("Rows", bound=NDArray[Any])


class Scorer:
    """Scores shards with the models of one job: opened once per worker."""

    def __init__(self, job: ScoreJob, device: str) -> None:
        self.job, self.device = job, torch.device(device)
        self.out = Folder(job.out)
        self.networks = self._networks()

    @cached_property
    def reads_images(self) -> bool:
        """Whether any strategy looks at the images; where all are raw, random reads none."""
        job = self.job
        looks = any("pixels" in s.requires() for s in job.strategies.values())
        keeps = job.keeps_probs or job.keeps_predicted or job.keeps_features
        return looks or not job.images.raw or keeps

    def read(self, task: ShardTask) -> pa.Table:
        """The task's rows, columns id and image."""
        if task.ids is not None and not self.reads_images:
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
        record = self.out.write(task.file, self._encoded(task, decoded, columns))
        return ScoredShard(
            shard=task.shard.index,
            rows=task.rows,
            bad=len(decoded.bad),
            first_bad=min(decoded.bad.items(), default=None),
            file=record,
            seconds=monotonic() - started,
            ranges=shard_file.ranges(columns),
        )

    def _encoded(
        self, task: ShardTask, decoded: Decoded, columns: dict[str, NDArray[Any]]
    ) -> bytes:
        job, there = self.job, None
        if job.refers:
            there = Referred.of(job.images, task.shard, job.card.image)
            columns = {name: each for name, each in columns.items() if name != FEATURES}
        return shard_file.encode(decoded.ids, columns, decoded.bad, job.digest, there)

    def columns(
        self, decoded: Decoded, cached: NDArray[np.floating] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Scores and kept signals of good images; `cached`, N C, replaces the last cycle's model.

        Raises DataError for a score that is not finite.
        """
        return self._asked().of(decoded.ids, partial(self._batch, decoded, cached))

    def computed(self, decoded: Decoded) -> dict[str, NDArray[Any]]:
        """As `columns`, whatever the numbers are."""
        return self._asked().computed(decoded.ids, partial(self._batch, decoded, None))

    def _asked(self) -> Columns:
        job = self.job
        return Columns(
            strategies=job.strategies,
            task=job.card.task,
            cycle=job.cycle,
            batch=job.batch,
            keeps_probs=job.keeps_probs,
            keeps_predicted=job.keeps_predicted,
            keeps_features=job.keeps_features,
        )

    def _batch(
        self, decoded: Decoded, cached: NDArray[np.floating] | None, rows: slice, fill: int
    ) -> Signals:
        ids, images, sizes = decoded.ids[rows], decoded.images[rows], decoded.sizes
        return self._signals(
            ids + ids[-1:] * fill,
            _filled(images, fill) if fill else images,
            None if cached is None else _filled(cached[rows], fill),
            None if sizes is None else _filled(sizes[rows], fill),
        )

    def _signals(
        self,
        ids: list[str],
        images: Stored,
        cached: NDArray[np.floating] | None,
        sizes: NDArray[np.int32] | None,
    ) -> Signals:
        batch = sent(torch.from_numpy(images), self.device)
        if self.reads_images:
            batch = normalise(self._augmented(ids, batch), self.job.card.image)
        kept_probs = None if cached is None else sent(torch.from_numpy(cached), self.device)
        valid = None
        if sizes is not None:
            valid = valid_pixels(sent(torch.from_numpy(sizes), self.device), *batch.shape[2:])
        known = None if sizes is None else sizes.tolist()
        return Signals(ids, batch, self.networks, kept_probs, valid, known)

    def _augmented(self, ids: list[str], images: Tensor) -> Tensor:
        """The images, N C H W as stored, after what is drawn for each of these units."""
        job = self.job
        if job.augment is None:
            return images
        noise = UnitNoise(unit_keys(ids, job.seed, job.cycle, "augment"), torch.device("cpu"))
        return job.augment(images, noise.take(job.augment.numbers))

    def _cached_probs(self, task: ShardTask, decoded: Decoded) -> NDArray[np.floating] | None:
        """What the last cycle's model says, N C, as its own pass kept it; it is asked now for
        images that could not be read then, and for all of a pass that kept nothing of them, as
        somebody had the run choose by another strategy then."""
        if self.job.previous_scores is None or not decoded.ids:
            return None
        record = self._previous_shards.get(task.file)
        table = shard_file.read_good(
            Folder(self.job.previous_scores), task.file, ["id", "probs"], record
        )
        there = table["id"].to_pylist() if "probs" in table.column_names else []
        places = {unit: row for row, unit in enumerate(there)}
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

    def _previous_probs(self, images: Stored) -> NDArray[np.float16]:
        """What the last cycle's model says, N C, as a pass keeps it."""
        job, model, parts = self.job, self._previous_model, []
        for start in range(0, len(images), job.batch):
            batch = images[start : start + job.batch]
            filled = sent(torch.from_numpy(_filled(batch, job.batch - len(batch))), self.device)
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
        trained = {type(spec): spec for each in strategies for spec in each.companions()}
        fitted = {type(spec): spec for each in strategies for spec in each.fits()}
        companions = Companions(
            [(spec, self._companion(spec, model)) for spec in trained.values()]
            + [(spec, self._fitted(spec, model)) for spec in fitted.values()]
        )
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
        card = self.job.card
        with torch.random.fork_rng(devices=[]):
            companion = spec.build(model, len(card.classes), card.untrained)
        return self._loaded(spec.name, companion)

    def _fitted(self, spec: FitSpec, model: nn.Module) -> Companion:
        card = self.job.card
        with torch.random.fork_rng(devices=[]):
            companion = spec.build(model, len(card.classes), card.image)
        return self._loaded(spec.name, companion)

    def _loaded(self, name: str, companion: Companion) -> Companion:
        load_weights(companion, self.job.companions[name].read())
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
    whole = task.ids is None or len(task.ids) == task.shard.rows
    return images.read(task.shard, None if whole else set(task.ids or ()))


def _check_rows(task: ShardTask, decoded: Decoded) -> None:
    if decoded.ids == task.ids and not decoded.bad:
        return
    found, shard = {*decoded.ids, *decoded.bad}, task.shard
    same = len(found) == shard.rows if task.ids is None else found == set(task.ids)
    if not same or len(decoded.ids) + len(decoded.bad) != task.rows:
        raise StorageError(
            f"shard {shard.index}, {task.rows} rows of {shard.file}, changed while it was read, or"
            " an id in it is used twice; restore the file, and the same command goes on"
        )


def _filled(rows: Rows, fill: int) -> Rows:
    return cast(Rows, np.concatenate([rows, rows[-1:].repeat(fill, 0)]))
