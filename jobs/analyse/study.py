"""A finished run, looked at again: its networks, its candidates, and their hidden labels.

Only here all of `Store.labels("pool")` is open: the *evaluation-only* copy of the pool's labels,
which no strategy, scheme or scoring pass can see. Nothing is written to a run folder.

M candidates of a cycle, N images of a batch. Networks are in eval mode and float32, whatever the
run's precision; images are the deterministic ones that scoring and evaluation see.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal import parts
from rayal.cycle import shard_file
from rayal.cycle.score import divide, shard_rows
from rayal.data.card import SplitName
from rayal.data.store import Store
from rayal.errors import DataError, UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.models.trained_model import TrainedModel
from rayal.randomness import derive
from rayal.runs.ledger import INITIAL, S, read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, Scored, Trained
from rayal.selection.candidates import Candidates
from rayal.signals.signal import SignalName
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

Compute = Callable[[Tensor, Tensor], Tensor]
"""Images N C H W and true labels N -> N, or N x anything."""


class Study:
    """A run whose cycles can be looked at again."""

    def __init__(self, record: Record) -> None:
        """Raises UsageError where labels are masks, and where the images are no longer those that
        the run saw."""
        self.record, self.url = record, record.folder.url
        self.x: Experiment = config.resolved(record.experiment(), record.plugins)
        if self.x.task.dense:
            raise UsageError(
                f"{self.url} has task {self.x.task.part_name()!r}, but analyses look at one label"
                " per image; give runs of task classification"
            )
        self.store: Store = self.x.dataset.open()
        self.card = self.x.card_for(self.store.card)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if record.folder.read_sealed("identity.json")["data"] != self.store.card.fingerprint:
            raise UsageError(
                f"{self.url} was made with other images than {self.store.url}; put back the"
                " dataset's files as they were"
            )

    @property
    def trained(self) -> list[int]:
        """The cycles whose network was evaluated."""
        return [row["cycle"] for row in self.record.cycles()]

    @property
    def passes(self) -> list[int]:
        """The cycles whose pass is finished and found units to choose.

        Raises UsageError where there are none.
        """
        selected = {c: self.record.result(c, Chosen) for c in self.trained}
        cycles = [c for c, result in selected.items() if result and result.ids]
        if not cycles:
            raise UsageError(
                f"{self.url} has no finished scoring pass; analyse a run of two cycles"
            )
        return cycles

    def columns(self, cycle: int, keeps: Iterable[SignalName] = ()) -> dict[str, Candidates]:
        """The candidates of a cycle's pass by strategy, all with the same M ids, sorted; with what
        the pass kept of these signals."""
        result = self._result(cycle, Scored)
        return shard_file.load(self._folder(cycle, "score"), result, keeps, self.labeled(cycle))

    def picks(self, cycle: int) -> list[str]:
        """The ids that the run chose in a cycle, best first."""
        return list(self._result(cycle, Chosen).ids)

    def evaluated(self, cycle: int, metric: str) -> float:
        """What the run measured on the test split; UsageError where it has no such metric."""
        metrics = self._result(cycle, Evaluated).metrics
        if metric not in metrics:
            raise UsageError(f"{self.url} measured no {metric!r}; {parts.suggest(metric, metrics)}")
        return float(metrics[metric])

    def labeled(self, cycle: int) -> dict[str, int]:
        """Id -> the oracle's label of all that a cycle's network was trained on."""
        stages = [(0, INITIAL), *((before, "label") for before in range(cycle))]
        return {
            unit: value
            for at, stage in stages
            for unit, value, _ in read_labels(self._folder(at, stage))
            if value is not None
        }

    def network(self, cycle: int) -> nn.Module:
        """What a cycle's training ended with, frozen; of an ensemble the first one."""
        file = self._result(cycle, Trained).weights
        weights = FileLocation(self._folder(cycle, "train").url, file)
        return self._placed(TrainedModel.read(weights, self.card).network())

    def previous(self, cycle: int) -> nn.Module:
        """The last cycle's network; for cycle 0 the untrained one that COD compares with there."""
        if cycle > 0:
            return self.network(cycle - 1)
        return self._placed(self.card.untrained(derive(self.x.seed, 0, "reference")))

    def truth(self, ids: Sequence[str], split: SplitName = "pool") -> Tensor:
        """The hidden labels of these units, N, on the CPU."""
        return torch.tensor([self._labels[split][unit] for unit in ids], dtype=torch.long)

    def batches(
        self, ids: Sequence[str], split: SplitName = "pool"
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Places in `ids`, images and true labels of a batch, in the order of the split; every
        unit once. Raises DataError for an image that can no longer be decoded."""
        images = self.store.pool if split == "pool" else self.store.test
        places = {unit: place for place, unit in enumerate(ids)}
        for task in divide(images, ids, shard_rows(self.x.compute, self.store.card)):
            decoded = images.decode(images.read(task.shard, keep=set(task.ids)))
            if decoded.bad:
                unit, reason = next(iter(decoded.bad.items()))
                raise DataError(f"image {unit!r} cannot be decoded: {reason}; restore the file")
            for start in range(0, len(decoded.ids), self.x.compute.score_batch):
                rows = slice(start, start + self.x.compute.score_batch)
                batch = torch.from_numpy(decoded.images[rows]).to(self.device)
                units = decoded.ids[rows]
                truth = self.truth(units, split).to(self.device)
                yield [places[u] for u in units], normalise(batch, self.store.card.image), truth

    def per_unit(
        self, ids: Sequence[str], compute: Compute, split: SplitName = "pool"
    ) -> NDArray[np.float64]:
        """`compute` of all these units, a row each, in the order of `ids`."""
        found, parts = [], []
        for places, images, truth in self.batches(ids, split):
            found += places
            parts.append(compute(images, truth).detach().cpu().double().numpy())
        values: NDArray[np.float64] = np.concatenate(parts)[np.argsort(found)]
        return values

    def losses(
        self, network: nn.Module, ids: Sequence[str], split: SplitName = "pool"
    ) -> NDArray[np.float64]:
        """The task's loss with the true labels, M: cross entropy in nats for classes."""

        def loss(images: Tensor, truth: Tensor) -> Tensor:
            with torch.no_grad():
                return self.x.task.loss(network(images).logits, truth)

        return self.per_unit(ids, loss, split)

    def _placed(self, network: nn.Module) -> nn.Module:
        return network.to(self.device).eval().requires_grad_(False)

    @cached_property
    def _labels(self) -> dict[SplitName, dict[str, int]]:
        return {"pool": self.store.labels("pool"), "test": self.store.labels("test")}

    def _folder(self, cycle: int, stage: str) -> Folder:
        return stage_folder(self.record.folder, cycle, stage)

    def _result(self, cycle: int, kind: type[S]) -> S:
        result = self.record.result(cycle, kind)
        if result is None:
            raise UsageError(
                f"{self.url}: {kind.stage} of cycle {cycle} is not finished; run it on"
            )
        return result
