"""What one cycle on features has bought, and the matrix that it chose from, for comparisons with
other libraries.

N units, C classes, D features, S members of a committee.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear

from rayal.experiment.experiment import Experiment
from rayal.models.trained_model import TrainedModel
from rayal.randomness import unit_keys
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Scored, Trained, member_place
from rayal.signals.dropout import UnitNoise
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise
from tests.support.whole_runs import go

UNITS, FEATURES, CLASSES, INITIAL, BOUGHT = 200, 12, 5, 20, 30


class Bought(NamedTuple):
    """What a run chose, and the matrix that it chose from."""

    chosen: list[int]
    """Rows of the pool, the best first."""
    labeled: list[int]
    ids: list[str]
    features: NDArray[np.float32]
    """N D, as the pass keeps them."""
    heads: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    """Weight C D and bias C of each of the ensemble, the model itself first."""
    scores: dict[str, NDArray[np.float64]]
    """Of the strategy and its observers, by name; NaN of labeled units."""

    def probs(self, member: int = 0, features: NDArray[np.float32] | None = None) -> Any:
        """N C, by numpy alone, of other features where some are given."""
        weight, bias = self.heads[member]
        seen = self.features if features is None else features
        logits = (seen @ weight.T + bias).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def votes(self, passes: int, dropout: float) -> NDArray[np.float64]:
        """S N C of the first cycle's passes with dropout: the random numbers are rayal's."""
        noise = UnitNoise(unit_keys(self.ids, 0, 0, "dropout"), torch.device("cpu"))
        masks = [noise.take(FEATURES).numpy() >= dropout for _ in range(passes)]
        seen = [np.where(mask, self.features / (1 - dropout), 0) for mask in masks]
        return np.stack([self.probs(features=each.astype(np.float32)) for each in seen])

    @property
    def unit_length(self) -> NDArray[np.float64]:
        """N D, in float64 from what the pass keeps."""
        kept = self.features.astype(np.float16).astype(np.float64)
        lengths = np.linalg.norm(kept, axis=1, keepdims=True)
        scaled: NDArray[np.float64] = kept / lengths
        return scaled

    @property
    def candidates(self) -> NDArray[np.intp]:
        return np.setdiff1d(np.arange(UNITS), self.labeled)

    def marked(self, *more: int) -> NDArray[np.float64]:
        """N, as scikit-activeml has it: some label of what is labeled, and of these; else NaN."""
        labels = np.full(UNITS, np.nan)
        known = [*self.labeled, *more]
        labels[known] = np.arange(len(known)) % CLASSES
        return labels


def corners(root: Path) -> dict[str, Any]:
    """The dataset: around the corners of five classes, which normalising leaves as it is."""
    rng = np.random.default_rng(2)
    for name, count in (("pool", UNITS), ("test", 20)):
        labels = np.arange(count) % CLASSES
        around = np.eye(FEATURES)[labels] + rng.standard_normal((count, FEATURES))
        ids = np.array([f"{name}-{number:03d}" for number in range(count)])
        np.savez(root / f"{name}.npz", id=ids, features=around.astype(np.float16), label=labels)
    zeros, ones = (0.0,) * FEATURES, (1.0,) * FEATURES
    files = {"root": str(root), "pool": "pool.npz", "test": "test.npz"}
    return {"name": "features", **files, "mean": zeros, "std": ones}


def bought(vectors: dict[str, Any], out: Path, strategy: Any, **fields: Any) -> Bought:
    """One selection of this strategy by a linear head, by an experiment with these fields."""
    x = Experiment.model_validate(
        {
            "name": "peers",
            "dataset": vectors,
            "model": "linear_head",
            "scheme": {"epochs": 20, "optimizer": "adamw", "lr": 0.02, "batch_size": 20},
            "strategy": strategy,
            "budget": {"initial": INITIAL, "per_cycle": BOUGHT, "total": INITIAL + BOUGHT},
            "compute": {"engine": "local", "cpus_per_worker": 1},
            "tracking": "none",
            **fields,
        }
    )
    go(x, out)
    store, record = x.dataset.open(), Record(Folder(out))
    trained, scored = record.result(0, Trained), record.result(0, Scored)
    chosen = record.result(0, Chosen)
    assert trained is not None and scored is not None and chosen is not None
    place = {unit: row for row, unit in enumerate(store.pool.ids())}
    images = torch.from_numpy(store.pool.decode(store.pool.take(list(place))).images)
    heads = []
    for number in range(x.ensemble):
        folder = str(out / "cycle-000" / "train" / member_place(number))
        file = FileLocation(folder, trained.member(number).weights)
        state = TrainedModel.read(file, x.card_for(store.card)).state
        heads.append((state["classifier.weight"].numpy(), state["classifier.bias"].numpy()))
    features = normalise(images, store.card.image)
    assert linear(features, torch.from_numpy(heads[0][0])).shape == (UNITS, CLASSES)
    scores: dict[str, NDArray[np.float64]] = {}
    for shard in scored.shards:
        table = pq.read_table(out / "cycle-000" / "score" / shard.name)
        rows = [place[unit] for unit in table["id"].to_pylist()]
        for column in table.column_names:
            if column.startswith("score."):
                values = scores.setdefault(column.removeprefix("score."), np.full(UNITS, np.nan))
                values[rows] = table[column].to_numpy()
    return Bought(
        chosen=[place[unit] for unit in chosen.ids],
        labeled=sorted(place[unit] for unit in record.initial()),
        ids=list(place),
        features=features.numpy(),
        heads=heads,
        scores=scores,
    )
