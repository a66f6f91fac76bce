"""The Ray engine gives what the local engine gives, survives what it must, and refuses the rest.

What every engine promises is in test_engine_contract.py."""

import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from rayal.cycle import shard_file
from rayal.cycle.first_choice import choose_first
from rayal.cycle.loop import run
from rayal.cycle.score import ScoreJob, divide, pending, summary
from rayal.engine import capacity, start
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.errors import ClusterError, StorageError, UsageError
from rayal.experiment.compute import Compute
from rayal.models.build import build
from rayal.models.weights import save_weights
from rayal.runs.ledger import Ledger
from rayal.runs.result_files import read_result
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from tests.support.doubles import Silent
from tests.support.head import ray_head

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def finish(x, engine, folder: Path):
    """Runs to the end; the chosen ids of every cycle and the last weights."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        chosen = [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]
        return chosen, ledger.stage(pool.cycle, "train").read("weights.safetensors")


def score(x, engine, folder: Path, seed: int = 1):
    """One pass with fresh weights; the columns of all shards, by id."""
    store = x.dataset.open()
    network = build(x.model, len(store.card.classes), store.card.image, seed=seed)
    weights = Folder(folder / "weights")
    record = weights.write("weights.safetensors", save_weights(network))
    out = Folder(folder / "score")
    job = ScoreJob.of(x, store, 0, FileLocation(weights.url, record), out.url)
    tasks = divide(store.pool, store.pool.ids(), x.compute.shard_rows)
    todo, done = pending(job, tasks)
    result = summary(job, tasks, [*done, *engine.score(job, todo)])
    tables = [
        shard_file.read_shard(out, f.name, ["id", "status", "score.cod"]) for f in result.shards
    ]
    return pa.concat_tables(tables).sort_by("id").to_pydict(), result


def on_ray(x, **compute):
    return RayEngine(x.compute.model_copy(update={"engine": "ray", **compute}), cores=8)


COMPUTE = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 2, "checkpoint_seconds": 0}


def test_a_run_on_ray_is_the_local_run(tiny, workers, tmp_path):
    """Moving an experiment from a laptop to a cluster would change its result."""
    x = tiny(compute=COMPUTE, budget={"initial": 20, "per_cycle": 20, "total": 40})
    local, local_weights = finish(x, LocalEngine(x.compute), tmp_path / "local")
    ray, ray_weights = finish(x, workers, tmp_path / "ray")

    assert local == ray and len(local) == 1
    assert local_weights == ray_weights


def test_guards_on_ray_are_those_of_one_process(tiny, workers, tmp_path):
    """Near-duplicates would be bought, or not, by where the pass ran."""
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    guards = {"min_distance": 1.0, "per_class": 5}
    x = tiny(compute=COMPUTE, budget=budget, strategy="margin", guards=guards)
    local, _ = finish(x, LocalEngine(x.compute), tmp_path / "local")
    ray, _ = finish(x, workers, tmp_path / "ray")
    done = [
        read_result(Chosen, Folder(tmp_path / name / "cycle-000/select")).to_json()
        for name in ("local", "ray")
    ]

    assert local == ray and done[0] == done[1]
    assert done[0]["passed_over"] and max(done[0]["predicted"].values()) <= 5


@pytest.mark.slow
@pytest.mark.parametrize(("scorers", "shard_rows"), [(1, 1024), (2, 256)])
def test_scores_do_not_depend_on_actors_and_shards(tiny, tmp_path, scorers, shard_rows):
    """Another number of actors or another size of shards would select other units."""
    x = tiny()
    expected, _ = score(x, LocalEngine(x.compute), tmp_path / "local")
    sharded = tiny(compute={"engine": "local", "shard_rows": shard_rows})
    actual, _ = score(sharded, on_ray(sharded, scorers=scorers), tmp_path / "ray")

    assert expected["id"] == actual["id"]
    assert np.array_equal(expected["score.cod"], actual["score.cod"])


@pytest.mark.slow
def test_the_first_units_do_not_depend_on_actors_and_shards(tiny, tmp_path):
    """A run on a cluster would begin with other labels than the same run on one machine."""

    def first(x, engine, name):
        folder = Folder(tmp_path / name)
        return choose_first(x, x.dataset.open(), engine, lambda done, total: None, folder).ids

    x = tiny(first="core_set")
    expected = first(x, LocalEngine(x.compute), "local")
    for scorers, shard_rows in ((1, 1024), (2, 256), (3, 100)):
        sharded = tiny(first="core_set", compute={"engine": "local", "shard_rows": shard_rows})
        engine = on_ray(sharded, scorers=scorers)

        assert expected == first(sharded, engine, f"ray-{scorers}")


@pytest.fixture
def encoded(tiny, tmp_path):
    """An experiment on a pool of encoded images, one of which is cut off in the middle."""
    rng = np.random.default_rng(0)

    def png() -> bytes:
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (80, 70, 3), np.uint8)).save(data, "PNG")
        return data.getvalue()

    for name, count in (("pool", 400), ("test", 8)):
        images = [png() for _ in range(count)]
        if name == "pool":
            images[7] = images[7][:200]
        columns = {"id": [f"{name}-{i:03d}" for i in range(count)], "image": images}
        labels = [i % 3 for i in range(count)]
        pq.write_table(pa.table({**columns, "label": labels}), tmp_path / f"{name}.parquet")
    dataset = {"name": "parquet", "root": str(tmp_path), "pool": ["pool.parquet"], "size": 32}
    return tiny(dataset={**dataset, "test": ["test.parquet"], "encoding": "bytes"})


def test_encoded_images_are_decoded_apart_from_the_actors(encoded, workers, tmp_path):
    """The CPU stage would hand on other pixels than the local decoder, or lose the bad image."""
    expected, _ = score(encoded, LocalEngine(encoded.compute), tmp_path / "local")
    actual, _ = score(encoded, workers, tmp_path / "ray")

    assert expected == actual
    assert 1 == len(actual["status"]) - actual["status"].count(shard_file.OK)
    assert actual["status"][7] != shard_file.OK and actual["score.cod"][7] is None


def test_living_processes_take_the_weights_that_are_there_now(tiny, workers, tmp_path):
    """They stay from pass to pass: a cycle would be scored by the model of the one before."""
    x = tiny()
    first, _ = score(x, workers, tmp_path / "ray")
    processes = list(workers.scorers.seats)
    shutil.rmtree(tmp_path / "ray" / "score")
    second, _ = score(x, workers, tmp_path / "ray", seed=2)  # in the same file

    assert processes == workers.scorers.seats
    assert second == score(x, LocalEngine(x.compute), tmp_path / "local", seed=2)[0]
    assert first["score.cod"] != second["score.cod"]


def test_weights_that_change_behind_its_back_end_a_pass(tiny, tmp_path, monkeypatch):
    """Scores of a model that nobody trained would be taken for those of this one."""
    x = tiny()
    write = Folder.write

    def damaged(self, name, data):
        record = write(self, name, data)
        if name == "weights.safetensors":
            write(self, name, data[:-1] + bytes([data[-1] ^ 1]))
        return record

    monkeypatch.setattr(Folder, "write", damaged)
    with pytest.raises(StorageError, match=r"weights\.safetensors.*sha256"):
        score(x, on_ray(x, scorers=1), tmp_path)  # it closes them: others wait for the next test


def test_a_killed_scoring_actor_is_replaced(tiny, workers, tmp_path):
    """A pass would lose the units of a dead actor, or score them twice."""
    marker = tmp_path / "died"
    unit = tiny().dataset.open().pool.ids()[300]
    killer = {"name": "faulty.dies_scoring", "unit": unit, "marker": str(marker)}
    x = tiny(observers=[killer])
    expected, _ = score(tiny(), LocalEngine(x.compute), tmp_path / "local")
    actual, result = score(x, workers, tmp_path / "ray")

    assert marker.exists()
    assert max(Counter(actual["id"]).values()) == 1 and result.units == 600
    assert expected == actual


@pytest.mark.slow
def test_an_actor_that_always_dies_ends_the_pass(tiny, tmp_path):
    """One image that kills its process would keep a cluster busy for ever (A04)."""
    marker = tmp_path / "died"
    unit = tiny().dataset.open().pool.ids()[300]
    killer = {"name": "faulty.dies_scoring", "unit": unit, "marker": str(marker), "deaths": 99}
    x = tiny(observers=[killer])
    with pytest.raises(ClusterError, match="the scoring pass failed: .*died 3 times") as ended:
        score(x, on_ray(x, scorers=1, max_failures=2), tmp_path / "ray")

    assert 5 == ended.value.exit_code
    left = r"\((1|2) of 3 shards are left, first shard-00001.parquet: 256 rows of pool/part-00000"
    assert re.search(left, str(ended.value))
    assert 1 + 2 == marker.stat().st_size


@pytest.mark.slow
def test_an_actor_that_stands_still_scores_its_shard_once(tiny, tmp_path):
    """A machine that hangs for a moment and wakes would write a shard twice (A11)."""
    marker = tmp_path / "stopped"
    unit = tiny().dataset.open().pool.ids()[300]
    sleeper = {"name": "faulty.stands_still", "unit": unit, "marker": str(marker), "seconds": 8}
    x = tiny(observers=[sleeper])
    expected, _ = score(tiny(), LocalEngine(x.compute), tmp_path / "local")
    actual, result = score(x, on_ray(x, scorers=2), tmp_path / "ray")

    assert marker.exists()
    assert expected == actual and 600 == result.units


@pytest.mark.slow  # a scoring actor is killed by default; a training and a fit, in one process
@pytest.mark.parametrize("strategy", ["dies_training", "dies_fitting"])
def test_a_killed_training_worker_continues(tiny, workers, tmp_path, strategy):
    """A training or a fit that lost a worker would start over, or end with other weights."""
    weights = []
    for engine, name in ((workers, "killed"), (LocalEngine(workers.compute), "alone")):
        marker = tmp_path / name
        if name == "alone":
            marker.touch()
        x = tiny(
            strategy={"name": f"faulty.{strategy}", "marker": str(marker)},
            budget={"initial": 40, "per_cycle": 20, "total": 60 if "fit" in strategy else 40},
            compute=COMPUTE,
        )
        _, last = finish(x, engine, tmp_path / f"{name}-run")
        weights.append(last)
        assert marker.exists()

    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ({"device": "cuda"}, r"each with . CPU and 1 GPU, but .* has room for 0; use compute.dev"),
        ({"scorers": 99}, r"compute.scorers is 99, each with 1 CPU, .* has room for 18; lower it"),
        ({"train_workers": 99}, r"compute.train_workers is 99, .* has room for 18; lower it"),
        ({"cpus_per_worker": 19}, r"compute.train_workers is 1, each with 19 CPU, .* lower it or"),
    ],
)
def test_more_than_the_cluster_has_is_refused_at_once(compute, message):
    """A run would wait for ever for resources that never come."""
    with pytest.raises(ClusterError, match=message):
        RayEngine(Compute(**compute), cores=8)


def test_training_takes_its_share_of_a_node_that_can_train():
    """The larger nodes that only decode would set a share that no GPU node has: refused."""
    nodes = [{"CPU": 8, "GPU": 4}, {"CPU": 64}, {"CPU": 64}]
    asked = capacity.resolved_compute(Compute(train_workers=4, device="cuda"), nodes, cores=136)
    assert (asked.cpus_per_worker, asked.scorers) == (2, 4)
    capacity.require(asked, nodes)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere", "host:port"])
def test_a_dead_address_fails_in_seconds(address):
    """ray.init retries a dead address for minutes without a word."""
    started = time.monotonic()

    with pytest.raises(ClusterError, match=address):
        start.connect(address)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("port", ["http", "silent"])
def test_another_server_is_told_from_ray(port, monkeypatch):
    """ray.init waits for minutes where the dashboard's port, or any other, is given (C04)."""
    if port == "silent":
        monkeypatch.setattr(start, "PROBE_SECONDS", 0.5)
    started = time.monotonic()
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        if port == "http":
            threading.Thread(target=other.serve_forever, daemon=True).start()
        said = "is not Ray; give the port of" if port == "http" else "timed out"
        with pytest.raises(ClusterError, match=f"127.0.0.1:{other.server_port}.*{said}"):
            start.connect(f"127.0.0.1:{other.server_port}")
        if port == "http":
            other.shutdown()

    assert time.monotonic() - started < 10


CONNECT = """
import sys
import ray
if sys.argv[2]:
    ray.__version__ = sys.argv[2]
from rayal.engine import start
from rayal.errors import ClusterError
try:
    print("cores", start.connect(sys.argv[1]))
except ClusterError as error:
    print(error.exit_code, error)
"""


@pytest.mark.parametrize(
    ("version", "said"), [("", "cores 18\n"), ("1.13.0", "5 Ray at .*[Vv]ersion mismatch")]
)
def test_joining_a_cluster(version, said):
    """A driver of another version would fail with pages of frames, if at all (C04)."""
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-W", "ignore", "-c", CONNECT, address, version]
    joined = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert re.match(said, joined.stdout), joined.stdout + joined.stderr


def test_what_cannot_travel_is_named(tiny, tmp_path):
    """A strategy that holds a lock would end in a traceback from pickle (C13)."""
    x = tiny(strategy="faulty.keeps_a_lock")
    with pytest.raises(UsageError, match=r"faulty.keeps_a_lock._guard cannot .*_thread.lock"):
        finish(x, on_ray(x), tmp_path)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of its own that asks for the token `a` * 32."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    with ray_head(tmp_path / "head.log", token) as (address, _):
        yield address


@pytest.mark.slow
def test_a_wrong_token_is_refused(guarded):
    """A driver would wait for minutes, or end in pages of frames (C04)."""
    for mode, token, said in (
        ("token", "a", "cores 1\n"),
        ("token", "b", "5 Ray at .* cannot be used: .*RAY_AUTH_MODE=token"),
        ("disabled", "", "5 Ray at .* cannot be used: .*RAY_AUTH_MODE=token"),
    ):
        started = time.monotonic()
        joined = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CONNECT, guarded, ""],
            env=os.environ | {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": token * 32},
            capture_output=True,
            text=True,
        )

        assert re.match(said, joined.stdout), joined.stdout + joined.stderr
        assert time.monotonic() - started < 30 + 10  # the imports of a busy machine
