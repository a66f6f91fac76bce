"""EMAOD: COD's score against the moving average of the model, and where that average comes from."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rayal.cycle.loop import run
from rayal.data.store import Store
from rayal.engine.local import LocalEngine
from rayal.errors import UsageError
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.strategies.cod import Cod
from rayal.strategies.emaod import Emaod
from rayal.training.augment import normalise
from tests.support.doubles import Says, Silent
from tests.support.whole_runs import short

COMPUTE = {"engine": "local", "shard_rows": 256}
SCHEME = {"epochs": 4, "batch_size": 16, "lr": 0.05}


def score(strategy: Emaod | Cod, now: Tensor, other: Tensor, cycle: int) -> Tensor:
    name = strategy.reference(cycle)
    assert name is not None
    ids = [f"unit-{i}" for i in range(len(now))]
    networks = Networks(Says(now).eval(), {name: Says(other).eval()}, cycle=cycle)
    signals = Signals(ids, now, networks)
    return strategy.score(signals.declared_by("emaod", strategy.needs, name))


@pytest.mark.parametrize("cycle", [0, 1])
def test_hand_values(cycle: int) -> None:
    """Half the squared distance of the probabilities, in the first cycle too."""
    now = torch.tensor([[40.0, 0.0], [40.0, 0.0], [0.0, 0.0]])
    average = torch.tensor([[40.0, 0.0], [0.0, 40.0], [40.0, 0.0]])

    assert [0.0, 1.0, 0.25] == pytest.approx(score(Emaod(), now, average, cycle).tolist())


def test_is_cod_with_another_model() -> None:
    """The two would differ in more than whom they compare with."""
    now, other = torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(0))

    assert torch.equal(score(Cod(), now, other, 1), score(Emaod(), now, other, 1))


def test_asks_for_its_teacher() -> None:
    """It would compare with the last cycle's model, or with an average of another span."""
    strategy = Emaod.model_validate({"teacher": {"alpha": 0.9}})

    assert [EmaTeacherSpec, EmaTeacherSpec] == [strategy.reference(cycle) for cycle in (0, 1)]
    assert (EmaTeacherSpec(alpha=0.9),) == strategy.companions()


def go(x: Any, folder: Path) -> list[list[str]]:
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        return [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]


def scores(folder: Path, cycle: int, column: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for file in (folder / f"cycle-{cycle:03d}/score").glob("*.parquet"):
        table = pq.read_table(file)
        values = table[f"score.{column}"].to_pylist()
        found |= dict(zip(table["id"].to_pylist(), values, strict=True))
    return found


@pytest.mark.parametrize("name", ["supervised", "tod"])
def test_scores_are_those_of_the_saved_teacher(tiny: Any, tmp_path: Path, name: str) -> None:
    """The pass would compare with another network than the one that training left."""
    teacher = {"alpha": 0.9}
    scheme = {"name": name, **SCHEME, **({"teacher": teacher} if name == "tod" else {})}
    x = short(tiny, scheme=scheme, strategy={"name": "emaod", "teacher": teacher}, compute=COMPUTE)
    picks = go(x, tmp_path)
    store = x.dataset.open()
    for cycle in (0, 1):
        actual = scores(tmp_path, cycle, "emaod")
        expected = by_hand(x, store, tmp_path / f"cycle-{cycle:03d}/train", list(actual))
        assert list(actual.values()) == pytest.approx(expected, abs=1e-6)
        best = sorted(actual, key=lambda unit: -actual[unit])[:20]
        assert set(best) == set(picks[cycle])
        assert max(actual.values()) > 1e-3


def by_hand(x: Any, store: Store, train: Path, ids: list[str]) -> list[float]:
    """The scores of these units, from the files that a training left."""
    image = store.card.image
    model = TrainedModel.parse((train / "weights.safetensors").read_bytes(), str(train)).network()
    companion = x.strategy.teacher.build(model, 10, lambda: model)
    load_weights(companion, (train / "companion-teacher.safetensors").read_bytes())
    decoded = store.pool.decode(store.pool.take(ids))
    images = normalise(torch.from_numpy(decoded.images), image)
    with torch.no_grad():
        p, q = (net.eval()(images).logits.softmax(1) for net in (model, companion.network))
    values = [((a - b) ** 2).sum().item() / 2 for a, b in zip(p, q, strict=True)]
    found = dict(zip(decoded.ids, values, strict=True))
    return [found[unit] for unit in ids]


class Forgetful(Emaod):
    """Compares with a teacher that it does not ask for."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return ()


class Dated(Emaod):
    """Names its teacher as 0.4 did."""

    def reference(self, cycle: int) -> Any:
        return "teacher"


@pytest.mark.parametrize(
    ("strategy", "message"),
    [(Forgetful(), "EmaTeacherSpec .* ask for it in `companions`"), (Dated(), "the spec of a")],
)
def test_a_users_own_reference(tiny: Any, tmp_path: Path, strategy: Emaod, message: str) -> None:
    """It would end in a bare error of unpacking, or be compared with random weights."""
    with pytest.raises(UsageError, match=message):
        go(short(tiny, strategy=strategy, compute=COMPUTE), tmp_path)


def test_alpha_zero_scores_nothing(tiny: Any, tmp_path: Path) -> None:
    """The average would lag behind the model by more than alpha says (methods, Sec. 2)."""
    strategy = {"name": "emaod", "teacher": {"alpha": 0.0}}
    x = short(tiny, scheme={"name": "supervised", **SCHEME}, strategy=strategy, compute=COMPUTE)
    go(x, tmp_path)

    # not 0: of equal logits the two softmaxes differ in their last bit
    assert max(scores(tmp_path, 1, "emaod").values()) < 1e-12


def test_alpha_one_is_the_distance_to_the_first_weights(tiny: Any, tmp_path: Path) -> None:
    """A teacher that keeps all of itself would move: with alpha 1 EMAOD is COD against the
    initial model (methods, Sec. 2)."""
    x = short(
        tiny,
        scheme={"name": "supervised", **SCHEME},
        strategy={"name": "emaod", "teacher": {"alpha": 1.0, "ramp": False}},
        observers=[{"name": "cod", "first_cycle": "largest_vs_init"}],
        compute=COMPUTE,
    )
    go(x, tmp_path)
    emaod, cod = (scores(tmp_path, 0, column) for column in ("emaod", "cod"))

    assert emaod == pytest.approx(cod, abs=1e-7)
    assert scores(tmp_path, 1, "emaod") != pytest.approx(scores(tmp_path, 1, "cod"), abs=1e-3)


def test_under_supervised_it_changes_no_weight(tiny: Any, tmp_path: Path) -> None:
    """Runs of EMAOD and of other strategies would not share their first model; as an observer,
    it would change the run that it watches."""
    scheme = {"name": "supervised", **SCHEME}
    alone = go(short(tiny, scheme=scheme, compute=COMPUTE), tmp_path / "alone")
    watched = short(tiny, scheme=scheme, observers=["emaod"], compute=COMPUTE)

    assert alone == go(watched, tmp_path / "watched")
    for cycle in range(3):
        file = f"cycle-{cycle:03d}/train/weights.safetensors"
        expected = (tmp_path / "alone" / file).read_bytes()
        assert expected == (tmp_path / "watched" / file).read_bytes()


def test_shares_the_teacher_of_tod(tiny: Any) -> None:
    """There would be two averages, or one that is not what the file says."""
    teacher = {"alpha": 0.99, "ramp": True}
    x = short(
        tiny,
        scheme={"name": "tod", "teacher": teacher},
        strategy={"name": "emaod", "teacher": teacher},
    )

    assert (EmaTeacherSpec(alpha=0.99, ramp=True),) == x.companions()


SCHEMES = {
    "tod": (
        {"name": "tod", "teacher": {"alpha": 0.9}},
        r"'emaod' wants a teacher with EmaTeacherSpec\(alpha=0.999, .* but 'tod' has one with"
        r" EmaTeacherSpec\(alpha=0.9, .* give both the same",
    ),
    "cyclic_od": (
        {"name": "cyclic_od"},
        "'emaod' cannot be used beside 'cyclic_od', whose teacher is another",
    ),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_another_teacher_is_refused(tiny: Any, name: str) -> None:
    """EMAOD would silently score with a teacher that it did not ask for."""
    scheme, message = SCHEMES[name]
    with pytest.raises(ValidationError, match=message):
        short(tiny, scheme=scheme, strategy="emaod")
    short(tiny, scheme={"name": "tod"}, strategy="emaod")  # another scheme, or the same teacher
    short(tiny, scheme=scheme, strategy="entropy")


def test_a_teacher_that_nobody_asks_is_refused(tiny: Any) -> None:
    """Its own running statistics would stay at their start, and its answers be uniform."""
    strategy = {"name": "emaod", "teacher": {"batch_norm": "own"}}
    with pytest.raises(ValidationError, match="'emaod' wants a .* 'supervised' .*; use its other"):
        short(tiny, strategy=strategy)

    short(tiny, strategy="emaod")
    short(tiny, strategy=strategy, scheme={"name": "tod", "teacher": {"batch_norm": "own"}})


def test_the_run_folder_says_which_average(tiny: Any) -> None:
    """A run would continue with an average of another span."""
    one = short(tiny, strategy="emaod").identity()

    assert {"alpha": 0.999, "ramp": True, "start": "copy", "batch_norm": "averaged"} == json.loads(
        json.dumps(one["strategy"])
    )["teacher"]
    assert one != short(tiny, strategy={"name": "emaod", "teacher": {"alpha": 0.9}}).identity()
