"""What may decide a choice: no label that is not bought, no test set; and what is paid (L)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import Tensor

from rayal.data.datasets.base import Dataset
from rayal.data.store import Split, Store
from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.oracles.simulated import Simulated
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.signals.batch import Signals
from rayal.signals.signal import SIGNAL_NAMES
from rayal.storage.folder import Folder
from rayal.strategies.base import Strategy
from tests.support.whole_runs import ONE_THREAD, chosen, go, outcome, stopped_at


def reachable(root: object) -> list[Any]:
    """All objects that can be reached from one: attributes, items, closures, bound objects."""
    waiting, found, known = [root], [], set()
    while waiting:
        item = waiting.pop()
        if id(item) in known or isinstance(item, type | ModuleType):
            continue
        known.add(id(item))
        found.append(item)
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += item
        elif isinstance(item, FunctionType):
            cells = [cell.cell_contents for cell in item.__closure__ or ()]
            waiting += [*cells, item.__defaults__, item.__kwdefaults__]
        elif isinstance(item, MethodType):
            waiting += [item.__self__, item.__func__]
        elif isinstance(item, partial):
            waiting += [item.func, item.args, item.keywords]
        waiting.append(getattr(item, "__dict__", None))
        waiting += [getattr(item, name, None) for name in getattr(item, "__slots__", ())]
    return found


class Spy(Strategy):
    """Keeps everything that it can reach while scoring."""

    # a map, which a classifier does not have, and what nobody made here
    needs = SIGNAL_NAMES - {"grid_entropy", "embedding"}

    def reference(self, cycle: int) -> Any:
        return "previous" if cycle else "random"

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (EmaTeacherSpec(),)

    def score(self, s: Signals) -> Tensor:
        values = [getattr(s, name) for name in self.needs - {"mc_log_probs", "companion"}]
        values += [s.mc_log_probs(2), s.companion(EmaTeacherSpec)]
        CAUGHT.append((list(s.ids), reachable([s, values])))
        return s.noise


CAUGHT: list[tuple[list[str], list[Any]]] = []


def test_scoring_sees_no_label(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A strategy could choose by the labels that it is to ask for (L01)."""
    CAUGHT.clear()
    model = {"name": "small_cnn", "width": 8, "dropout": 0.5}
    x = tiny(strategy=Spy(), compute=ONE_THREAD, ensemble=2, model=model)
    go(x, tmp_path)
    store = x.dataset.open()
    truth = store.labels("pool")

    assert 6 == len(CAUGHT)
    for ids, found in CAUGHT:
        assert len(found) > 100
        forbidden = (Store, Split, Dataset, Oracle, Experiment, Ledger, Record, Folder, Label)
        assert not [item for item in found if isinstance(item, forbidden)]
        texts = [item for item in found if isinstance(item, str) and item not in ids]
        assert not [text for text in texts if store.url in text or str(tmp_path) in text]
        labels = [truth[unit] for unit in ids]
        arrays = [item for item in found if isinstance(item, Tensor | np.ndarray)]
        assert not [
            array
            for array in arrays
            if array.shape == (len(ids),)
            and np.array_equal(
                np.asarray(array.cpu() if isinstance(array, Tensor) else array), labels
            )
        ]


def test_scoring_needs_no_label(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """The pass would read the labels, whether it uses them or not (L01)."""
    x = tiny(
        dataset={"name": "digits", "limit_pool": 600, "limit_test": 100, "store": str(tmp_path)},
        observers=["entropy", "margin"],
        compute=ONE_THREAD,
    )
    go(x, tmp_path / "whole")
    out, folder = stopped_at(x, tmp_path / "run", 0, "score"), Path(x.dataset.open().url)
    for name in ("labels.parquet", "test_labels.parquet"):
        (folder / name).rename(folder / f"{name}.hidden")
        (folder / name).write_bytes(b"nobody may read this")
    with pytest.raises(DataError, match=r"/labels.parquet is damaged or missing"):
        go(x, out)

    assert (0, "label") == Record(Folder(out)).stage_now()
    assert chosen(out) == chosen(tmp_path / "whole")[:1]


def test_the_test_set_decides_nothing(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A model or a selection that follows the test metric reports its own choice (L02)."""
    ends = []
    for name in ("true", "wrong"):
        dataset = {"name": "digits", "limit_pool": 600, "limit_test": 100}
        x = tiny(dataset={**dataset, "store": str(tmp_path / f"{name}-store")}, compute=ONE_THREAD)
        labels = Path(x.dataset.open().url) / "test_labels.parquet"
        if name == "wrong":
            table = pq.read_table(labels)
            wrong = pa.array([(label + 1) % 10 for label in table["label"].to_pylist()])
            pq.write_table(table.set_column(1, "label", wrong), labels)
        go(x, tmp_path / name)
        ends.append(outcome(tmp_path / name))
    curves = [end.pop("curve") for end in ends]

    assert ends[0] == ends[1]
    assert curves[0][-1][3] > 0.3 > curves[1][-1][3]


class Refuses(Oracle):
    """Cannot label every fifth unit that it is asked for; each question costs 1."""

    def answer(self, store: Store, ids: Any, out: Folder) -> dict[str, Label]:
        ASKED.append(list(ids))
        answers = Simulated().answer(store, ids, out)
        return {
            u: a._replace(value=None) if n % 5 == 0 else a
            for n, (u, a) in enumerate(answers.items())
        }


ASKED: list[list[str]] = []


def test_refused_units_are_paid_for_and_not_asked_again(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A budget that forgets refusals buys more than was agreed, or asks for ever (L10, F09)."""
    ASKED.clear()
    x = tiny(oracle=Refuses(), compute=ONE_THREAD)
    pool = go(x, tmp_path)
    asked = [unit for ids in ASKED for unit in ids]
    rows = Record(Folder(tmp_path)).cycles()

    assert (60.0, 48, 12) == (pool.spent, len(pool.labels), len(pool.refused))
    assert 60 == len(asked) == len(set(asked))
    assert [(16, 20.0), (32, 40.0), (48, 60.0)] == [(row["labels"], row["cost"]) for row in rows]
    assert Record(Folder(tmp_path)).complete
