"""Features that are the dataset's vectors are read from there, and are those that were written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.cycle import shard_file
from rayal.cycle.referred import FEATURES, Referred, refers
from rayal.errors import LostError
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.linear_head import LinearHead
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Scored
from rayal.storage.folder import Folder
from tests.support.whole_runs import go, stopped_at

UNITS, WIDTH, BAD = 300, 6, (7, 150)
SCORE = Path("cycle-000") / "score"


def experiment(root: Path, strategy: str = "core_set", **fields: Any) -> Experiment:
    """Two cycles on vectors of which two are bad."""
    if not (root / "pool.npz").exists():
        rng = np.random.default_rng(1)
        for name, count in (("pool", UNITS), ("test", 20)):
            labels = np.arange(count) % 3
            vectors = (np.eye(WIDTH)[labels] * 9 + rng.standard_normal((count, WIDTH)) * 3) + 40
            if name == "pool":
                vectors[[*BAD]] = np.nan
            ids = np.array([f"{name}-{number:03d}" for number in range(count)])
            np.savez(root / f"{name}.npz", id=ids, features=vectors, label=labels)
    return Experiment.model_validate(
        {
            "name": "referred",
            "dataset": {
                "name": "features",
                "root": str(root),
                "store": str(root / "stores"),
                "pool": "pool.npz",
                "test": "test.npz",
            },
            "model": "linear_head",
            "scheme": {"epochs": 5, "lr": 0.01, "batch_size": 20},
            "strategy": strategy,
            "max_bad": len(BAD),
            "budget": {"initial": 10, "per_cycle": 10, "total": 30},
            "compute": {"engine": "local", "cpus_per_worker": 1, "shard_rows": 64},
            "tracking": "none",
            **fields,
        }
    )


def picks(out: Path) -> list[tuple[str, ...]]:
    chosen = [Record(Folder(out)).result(cycle, Chosen) for cycle in range(2)]
    return [each.ids for each in chosen if each is not None]


def column(out: Path) -> tuple[list[str], Any]:
    """Ids of a pass, and their features, however these are kept."""
    scored = Record(Folder(out)).result(0, Scored)
    assert scored is not None
    rows = [*shard_file.shards(Folder(out / SCORE), scored, ["id", FEATURES])]
    ids = [unit for each in rows for unit in each["id"].to_pylist()]
    return ids, np.concatenate([shard_file.matrix(each[FEATURES]) for each in rows])


@pytest.mark.parametrize("strategy", ["core_set", "badge", "typiclust"])
def test_the_picks_are_those_of_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, strategy: str
) -> None:
    """A rule to save space would buy other units, or show other numbers to whoever reads them."""
    x = experiment(tmp_path, strategy)
    go(x, tmp_path / "referred")
    monkeypatch.setattr(LinearHead, "passes_on", False)
    go(x, tmp_path / "copied")
    sizes = []
    for name, there in (("referred", False), ("copied", True)):
        files = sorted((tmp_path / name / SCORE).glob("*.parquet"))
        assert all((FEATURES in pq.read_schema(file).names) == there for file in files)
        sizes.append(sum(file.stat().st_size for file in files))
    (ids, features), (same_ids, same) = (column(tmp_path / n) for n in ("referred", "copied"))

    assert len(ids) >= UNITS - len(BAD) - 10 and ids == same_ids  # badge leaves out the labeled
    assert features.dtype == same.dtype and features.tobytes() == same.tobytes()
    assert sizes[0] < sizes[1] - 2 * WIDTH * UNITS / 2  # compressed, at most to the half
    assert len(picks(tmp_path / "referred")) == 2
    assert picks(tmp_path / "referred") == picks(tmp_path / "copied")


def test_all_that_is_there_is_read_alike(tmp_path: Path) -> None:
    """A table of scores would lack the column, or have it only where somebody asks."""
    go(experiment(tmp_path), tmp_path / "run")
    name = sorted(file.name for file in (tmp_path / "run" / SCORE).glob("*.parquet"))[0]
    folder = Folder(tmp_path / "run" / SCORE)
    whole = shard_file.read_shard(folder, name)

    assert whole.column_names == ["id", "status", FEATURES]
    assert shard_file.read_shard(folder, name, [FEATURES]).column_names == [FEATURES]
    assert shard_file.read_shard(folder, name, ["id"]).column_names == ["id"]


def test_units_that_could_not_be_read_have_no_numbers(tmp_path: Path) -> None:
    """The next unit's vector would be taken for theirs; or one that is lost would pass unseen."""
    store = experiment(tmp_path).dataset.open()
    (shard,) = store.pool.shards(UNITS)
    there = Referred.decode(Referred.of(store.pool, shard, store.card.image).encode())
    rows = {"id": ["pool-009", f"pool-{BAD[0]:03d}", "pool-001"], "status": ["ok", "lost", "ok"]}
    numbers = shard_file.matrix(pa.chunked_array([there.read(pa.table(rows), "shard")]))
    seen = store.pool.decode(store.pool.take(["pool-009", "pool-001"])).images.astype(np.float32)
    mean, std = store.card.image.moments

    assert np.isnan(numbers[1]).all()
    np.testing.assert_array_equal(numbers[[0, 2]], ((seen - mean) / std).astype(np.float16))
    rows["status"][1] = "ok"
    with pytest.raises(LostError, match="units are missing there"):
        there.read(pa.table(rows), "shard")


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """What a killed pass has written would not fit what it writes now."""
    x = experiment(tmp_path, guards={"min_distance": 0.1}, strategy="margin")
    assert refers(x)
    go(x, tmp_path / "whole")
    out = stopped_at(x, tmp_path / "stopped", 1, "select")
    sorted((out / SCORE).parent.parent.glob("cycle-001/score/*.parquet"))[0].unlink()
    (out / "cycle-001" / "score" / "done.json").unlink()
    go(x, out)

    assert picks(out) == picks(tmp_path / "whole")


def test_other_data_in_its_place_is_no_data(tmp_path: Path) -> None:
    """Units would be compared by vectors that the model has never seen."""
    go(experiment(tmp_path), tmp_path / "run")
    ids, before = column(tmp_path / "run")
    (tmp_path / "stores").rename(tmp_path / "elsewhere")
    with pytest.raises(LostError, match="put back the dataset that the pass was made of"):
        column(tmp_path / "run")
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "stores")
    (card,) = (tmp_path / "stores").rglob("card.json")
    said = json.loads(card.read_text())
    card.write_text(json.dumps({**said, "fingerprint": "0" * 64}))
    with pytest.raises(LostError, match="put back the dataset that the pass was made of"):
        column(tmp_path / "run")
    shutil.rmtree(tmp_path / "stores")
    (tmp_path / "elsewhere").rename(tmp_path / "stores")

    again = column(tmp_path / "run")
    assert ids == again[0] and before.tobytes() == again[1].tobytes()


def test_layers_that_change_are_kept(tmp_path: Path) -> None:
    """Hidden layers of another cycle would be taken for those of this one."""
    assert not refers(experiment(tmp_path, model="mlp_head"))
    assert not refers(experiment(tmp_path, strategy="margin"))
