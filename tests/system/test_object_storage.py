"""Run folders in a bucket, over HTTP to an S3 server on this machine: as on a disk, or one line."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import rayal
from rayal.api.active_learner import ActiveLearner
from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.pool.source import open_pool
from rayal.engine.local import LocalEngine
from rayal.errors import LabelsPending, LockedError, StorageError, UsageError
from rayal.experiment.sweep.trials import Assignment
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.find_records import find_records
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.storage import lock
from rayal.storage.folder import Folder
from rayal.storage.location import located
from rayal.storage.lock import Lock
from rayal.workflows.run import start_engine, start_run
from rayal.workflows.score import start_scoring
from rayal.workflows.score.settings import PoolScoring
from rayal.workflows.select import select
from rayal.workflows.select.request import Request
from rayal.workflows.sweep.sweeping import start_sweep
from rayal.workflows.sweep.trial import run_trial
from tests.data.test_images import encoded
from tests.storage.test_lock import HOLD
from tests.support.doubles import Silent
from tests.support.killed_run import Runs
from tests.support.people import table, truthful

s3fs = pytest.importorskip("s3fs")
boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto.server")

BUCKET = "bucket"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server with one bucket, told to this process and those it starts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "me")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for file in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(file, os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"http://{host}:{port}"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.fixture(scope="module")
def tiny(tiny: Callable[..., Any]) -> Callable[..., Any]:
    """Experiments of two short cycles: the server answers more slowly than they train."""
    scheme = {"name": "supervised", "epochs": 2, "batch_size": 16, "lr": 0.05}
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    return lambda **fields: tiny(**{"scheme": scheme, "budget": budget, **fields})


@pytest.fixture
def elsewhere(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`elsewhere(url)`: from now on S3 is at this address."""

    def move(url: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()  # which remember their address

    yield move
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def folder(server: str) -> Folder:
    """A folder of the test's own, which holds nothing."""
    return Folder(f"s3://{BUCKET}/runs/{uuid.uuid4().hex}")


def go(x: Any, out: str | Path) -> Record:
    """A whole run in this process, or what is left of it."""
    with start_run(x, str(out)) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)))
        return opened.record


def outcome(record: Record) -> tuple[list[bytes], bytes]:
    """What every cycle chose, and the last weights."""
    last = len(record.cycles()) - 1
    chosen = [stage_folder(record.folder, c, "select").read("chosen.csv") for c in range(last)]
    return chosen, stage_folder(record.folder, last, "train").read("weights.safetensors")


@pytest.fixture(scope="module")
def expected(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outcome of the tiny run on a disk."""
    return outcome(go(tiny(), tmp_path_factory.mktemp("local") / "run"))


@pytest.fixture(scope="module")
def finished(server: str, tiny: Callable[..., Any]) -> Record:
    """The tiny run in the bucket."""
    return go(tiny(), f"s3://{BUCKET}/runs/finished")


def test_what_others_write_is_seen_at_once(folder: Folder) -> None:
    """A listing that is remembered hides what a worker wrote, and shows what was removed: a shard
    would be scored twice, a lock be overlooked."""
    other = boto3.client("s3")
    prefix = folder.url.removeprefix(f"s3://{BUCKET}/")
    folder.write("a/b", b"old")
    assert (["a"], ["b"]) == (folder.names(), (folder / "a").names())
    other.put_object(Bucket=BUCKET, Key=f"{prefix}/a/c", Body=b"x")
    other.put_object(Bucket=BUCKET, Key=f"{prefix}/a/b", Body=b"longer than before")

    assert ["b", "c"] == (folder / "a").names()
    assert folder.exists("a/c")
    assert b"longer than before" == folder.read("a/b")

    other.delete_object(Bucket=BUCKET, Key=f"{prefix}/a/b")

    assert not folder.exists("a/b")
    with pytest.raises(StorageError, match="a/b: there is no such file; check the path"):
        folder.read("a/b")


def test_a_folder_is_a_folder(folder: Folder) -> None:
    """What works on a disk would not in a bucket."""
    assert ([], False) == (folder.names(), folder.exists("a"))
    folder.remove("a")
    folder.delete()
    record = folder.write("a/b/c", b"content")
    for name in ("é文", "a b", "100%25", "x#y", "*?[x]"):
        (folder / name).write("file", name.encode())

        assert name.encode() == (folder / name).read("file")
    assert ["b"] == (folder / "a").folders()
    assert b"content" == folder.read("a/b/c", record)
    (folder / "a").delete()

    assert not folder.exists("a")


@pytest.mark.slow
def test_the_keys_of_a_pool_are_no_paths(folder: Folder, tmp_path: Path) -> None:
    """As in tests/data/test_walk.py, of a real listing; and each is read as itself."""
    other, prefix = boto3.client("s3"), folder.url.removeprefix(f"s3://{BUCKET}/")
    keys = ["a/b.png", "a//b.png", "a//c/d.png", "/top.png", "q?*[x].png", "a%2Fb.png", "bare"]
    for number, key in enumerate(keys):
        data = encoded(Image.new("RGB", (4, 4), (number, 0, 0)))
        other.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=data)
    for key in ("a/", "marker/", ".x/e.png", "a/../f.png", "notes.txt"):
        other.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=b"")
    spec = ImageSpec(channels=3, height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)
    options = {"decoding": Decoding(size=4), "spec": spec, "listing": Folder(tmp_path / "listing")}
    pool = open_pool(folder.url, **options)
    (shard,) = pool.shards(99)
    found = pool.images.decode(pool.images.read(shard))

    reds = dict(zip(found.ids, found.images[:, 0, 0, 0].tolist(), strict=True))
    assert {key: number for number, key in enumerate(keys)} == reds
    assert "2 hidden (first" in pool.left_out and "1 other files" in pool.left_out
    assert open_pool(folder.url, **options).changes is None
    other.put_object(Bucket=BUCKET, Key=f"{prefix}/bare", Body=encoded(Image.new("RGB", (4, 4))))
    assert "1 changed (first 'bare')" == str(open_pool(folder.url, **options).changes)


def test_a_file_of_many_parts(folder: Folder) -> None:
    """Weights of more than 100 MB go and come in pieces, which must fit together."""
    data = os.urandom(2**20) * 101
    record = folder.write("weights", data)

    assert data == folder.read("weights", record)


def test_a_bucket_that_is_not_there(server: str) -> None:
    """Whoever mistypes it would look for a file."""
    with pytest.raises(StorageError, match=r"^s3://nowhere/x/a: there is no such bucket; create"):
        Folder("s3://nowhere/x").write("a", b"")


@pytest.mark.parametrize("operation", ["read", "write", "exists", "names", "delete"])
def test_no_answer(elsewhere: Callable[[str], None], operation: str) -> None:
    """A command would try for minutes, and end in pages of frames."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        elsewhere(f"http://127.0.0.1:{free.getsockname()[1]}")
        folder = Folder(f"s3://{BUCKET}/x")
        arguments = {"read": ("a",), "write": ("a", b""), "exists": ("a",)}.get(operation, ())
        started = time.monotonic()
        with pytest.raises(StorageError, match=f"^s3://{BUCKET}/x.*Could not conn") as caught:
            getattr(folder, operation)(*arguments)

    assert "AWS_ENDPOINT_URL" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


class Forbids(BaseHTTPRequestHandler):
    """A store that knows nobody."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_PUT = do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


def test_no_permission(elsewhere: Callable[[str], None]) -> None:
    """Forbidden is not absent: a finished stage would be done and bought again."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbids) as forbids:
        threading.Thread(target=forbids.serve_forever, daemon=True).start()
        elsewhere(f"http://127.0.0.1:{forbids.server_port}")
        folder = Folder(f"s3://{BUCKET}/x")
        for attempt in (
            lambda: folder.exists("a"),
            lambda: folder.names(),
            lambda: folder.read("a"),
            lambda: folder.write("a", b""),
        ):
            with pytest.raises(StorageError, match=r"no permission \((Forbid|Access D)") as caught:
                attempt()
        forbids.shutdown()

    assert "secret" not in str(caught.value)


def test_no_credentials(elsewhere: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own error class would end in a traceback."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    elsewhere(os.environ["AWS_ENDPOINT_URL"])
    with pytest.raises(StorageError, match="Unable to locate credentials.*AWS_ACCESS_KEY_ID"):
        Folder(f"s3://{BUCKET}/x").write("a", b"")


def test_the_address_may_be_fsspecs(elsewhere: Callable[[str], None]) -> None:
    """Who has configured fsspec would have to say it again."""
    address = os.environ["AWS_ENDPOINT_URL"]
    elsewhere("http://127.0.0.1:9")
    script = (
        "import sys; from rayal.storage.folder import Folder; Folder(sys.argv[1]).write('a', b'x')"
    )
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    told = {**os.environ, "FSSPEC_S3_ENDPOINT_URL": address}
    subprocess.run([sys.executable, "-c", script, url], env=told, check=True, timeout=60)
    elsewhere(address)

    assert b"x" == Folder(url).read("a")


def test_without_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package is missing would be a riddle."""

    def lacks(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("rayal.storage.location.url_to_fs", lacks)
    with pytest.raises(UsageError, match=r"^s3://b/x needs .*: pip install s3fs$"):
        located("s3://b/x")


def test_two_processes(folder: Folder) -> None:
    """Two drivers would write one run."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD, folder.url, "0"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as first:
        assert first.stdin is not None and first.stdout is not None
        assert "held\n" == first.stdout.readline()
        with pytest.raises(LockedError, match=f"{folder.url} is locked by pid {first.pid} on"):
            Lock(folder).acquire()
        held = Lock(folder)
        held.acquire(break_lock=True)
        answer, _ = first.communicate("\n")
        held.check()
        held.release()

    assert f"was taken over by pid {os.getpid()} on" in answer


def test_heartbeat(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long training would look dead to other machines."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    held = Lock(folder)
    held.acquire()
    first = beat = folder.read_sealed("lock.json")["heartbeat"]
    end = time.monotonic() + 30
    while beat == first and time.monotonic() < end:
        beat = folder.read_sealed("lock.json")["heartbeat"]
    held.release()

    assert first < beat
    assert folder.read_sealed("lock.json")["released"]


def test_a_run_in_a_bucket_is_the_local_run(finished: Record, expected: Any) -> None:
    """Where results are kept would decide what they are."""
    assert expected == outcome(finished)
    assert finished.complete
    assert {"curve.csv", "curve.png", "experiment.yaml"} <= {*finished.folder.names()}


def test_a_complete_run_starts_nothing(finished: Record, tiny: Callable[..., Any]) -> None:
    """The same command again would run, or fail."""

    def refuse() -> Any:
        raise AssertionError("an engine was opened")

    with start_run(tiny(), finished.folder.url) as opened:
        pool = opened.run(refuse)

    assert finished.complete and len(pool.labels) == 40


@pytest.mark.parametrize(
    "point",
    [
        "cycle-001/train/checkpoint-*.json",
        pytest.param("cycle-000/select/done.json", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_continues(
    tiny: Callable[..., Any], process: Runs, folder: Folder, expected: Any, point: str
) -> None:
    """A run that was killed would be lost, or end otherwise (A01)."""
    x = tiny(compute={**tiny().compute.model_dump(mode="json"), "checkpoint_seconds": 0})
    killed = process(x, folder.url, point)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    holder = folder.read_sealed("lock.json")
    folder.write_sealed("lock.json", {**holder, "began": "on a machine of the same name"})
    with pytest.raises(LockedError, match="no such process is here.*--break-lock .*, or wait 60"):
        go(x, folder.url)
    folder.write_sealed("lock.json", holder)  # of this machine: it is gone, without a wait

    assert expected == outcome(go(x, folder.url))
    assert 2 == folder.read_sealed("lock.json")["attempt"]


def test_readers_of_runs(finished: Record) -> None:
    """`status` and `report` would know disks only."""
    found = find_records([f"s3://{BUCKET}/runs"])
    (record,) = [record for record in found if record.folder.url == finished.folder.url]
    (row,) = status_rows([record.folder.url])

    assert "complete" == row["state"]
    assert 3 == len(summarise([record]).to_csv().splitlines())


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_tracking_a_run_in_a_bucket(finished: Record, tmp_path: Path) -> None:
    """`rayal sync s3://...` would send nothing."""
    from mlflow import MlflowClient

    from rayal.runs.trackers.mlflow import Mlflow

    tracker = Mlflow(uri=f"sqlite:///{tmp_path}/mlflow.db")
    tracker.sync(finished)
    client, experiment = tracker._open()
    (run,) = client.search_runs([experiment], f"tags.`rayal.run` = '{finished.run_id}'")
    artifacts = {file.path for file in MlflowClient(tracker.uri).list_artifacts(run.info.run_id)}

    assert finished.folder.url == run.data.tags["rayal.folder"]
    assert finished.cycles()[-1]["accuracy"] == run.data.metrics["accuracy"]
    assert {"curve.png", "experiment.yaml", "selections"} <= artifacts


@pytest.fixture
def pools(server: str, tiny: Callable[..., Any], tmp_path: Path) -> tuple[str, str]:
    """The same images as a Parquet file on the disk and in the bucket."""
    import pyarrow.parquet as pq

    pool = tiny().dataset.open().pool
    table = pool.take(pool.ids()[:200])
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=50)
    place = Folder(f"s3://{BUCKET}/pools/{uuid.uuid4().hex}")
    place.write("pool.parquet", (tmp_path / "pool.parquet").read_bytes())
    return str(tmp_path / "pool.parquet"), f"{place.url}/pool.parquet"


def test_a_pool_in_a_bucket(
    finished: Record, pools: tuple[str, str], folder: Folder, tmp_path: Path
) -> None:
    """`rayal score` and `rayal select` would take other units than from a disk."""

    chosen = []
    for pool, out in zip(pools, (str(tmp_path / "scores"), folder.url), strict=True):
        x = PoolScoring.model_validate(
            {
                "checkpoint": finished.folder.url,
                "pool": pool,
                "strategies": ["entropy", "core_set"],
                "batch": 32,
                "compute": {"engine": "local", "device": "cpu", "shard_rows": 64},
            }
        )
        with start_scoring(x, out) as opened:
            opened.run(lambda x=x: start_engine(x.compute.for_engine()), Silent())
        for strategy in ("entropy", "core_set"):
            request = Request.model_validate({"strategy": strategy, "budget": 20})
            chosen.append(select(out, request).ids)

    assert chosen[:2] == chosen[2:]
    assert 20 == len(set(chosen[0]))


@pytest.mark.slow
def test_people_label_a_run_in_a_bucket(
    tiny: Callable[..., Any], folder: Folder, tmp_path: Path
) -> None:
    """Answers to a run whose workers are elsewhere could not be taken, or be overlooked after
    their folder was listed once."""
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    x = tiny(oracle="people", strategy="margin", budget=budget)
    truth, seen = truthful(x), list[tuple[int, int]]()
    for place in ("initial-asked", "label-asked"):
        with pytest.raises(LabelsPending, match=f"rayal labels add {folder.url} FILE"):
            go(x, folder.url)
        request = folder / "cycle-000" / place / "request"
        (tmp_path / "to_label.csv").write_bytes(request.read("to_label.csv"))
        (tmp_path / "answers.csv").write_text(table(tmp_path, truth))
        for _ in range(2):
            added = rayal.add_labels(folder.url, tmp_path / "answers.csv")
            seen.append((added.new, added.known))
    labels = go(x, folder.url)

    assert [(20, 0), (0, 20)] * 2 == seen and labels.complete
    assert [20, 20] == [each.labeled for each in rayal.label_status(folder.url).requests]


def test_a_sweep_in_a_bucket(tiny: Callable[..., Any], folder: Folder) -> None:
    """Trials would look for their folder on a disk."""
    from rayal.experiment.sweep.settings import SweptExperiment

    space = {"strategy": {"grid_search": ["random", "entropy"]}}
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    x = SweptExperiment.model_validate(
        {**tiny(budget=budget).model_dump(mode="json"), "sweep": {"seeds": [0], "space": space}}
    )
    with start_sweep(x, folder.url) as sweep:
        for trial in sweep.todo:
            assignment = Assignment(trial.arm, trial.experiment.seed)
            run_trial(
                sweep.fields,
                folder.url,
                x.sweep.objective,
                assignment,
                lambda: start_engine(x.compute),
                lambda cycle, value: None,
            )
        found = sweep.run(lambda: nullcontext(2), Silent())

    assert (2, 2) == (found.complete, found.trials)
    assert {"sweep.csv", "curves.png", "trials"} <= {*folder.names()}


@pytest.mark.slow
def test_the_whole_command_on_ray(tiny: Callable[..., Any], folder: Folder, tmp_path: Path) -> None:
    """Workers of a cluster would not find the bucket that the driver finds."""
    fields = tiny(compute={"scorers": 2, "cpus_per_worker": 1}).model_dump(mode="json")
    (tmp_path / "x.yaml").write_text(json.dumps(fields))
    local = go(tiny(), tmp_path / "local")
    command = [sys.executable, "-m", "rayal", "run", str(tmp_path / "x.yaml"), "--out", folder.url]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)

    assert 0 == ended.returncode, ended.stderr
    assert outcome(local)[0] == outcome(Record(folder))[0]


def test_a_pool_of_addresses_that_nobody_labeled(folder: Folder, tiny: Any, tmp_path: Path) -> None:
    """Photographs in a bucket would have to be copied before anybody could label them."""
    for number in range(8):
        folder.write(f"{number}.png", encoded(Image.new("RGB", (8, 8), (30 * number, 0, 0))))
    uris = [f"{folder.url}/{number}.png" for number in range(8)]
    (tmp_path / "pool.txt").write_text("\n".join([*uris[:6], f"{folder.url}/lost.png"]))
    (tmp_path / "test.csv").write_text(f"uri,label\n{uris[6]},cat\n{uris[7]},dog\n")
    x = tiny(
        dataset={"name": "uri_list", "root": str(tmp_path)},
        scheme={"epochs": 1, "batch_size": 2},
        strategy="margin",
    )
    card = x.dataset.open().card
    with ActiveLearner(x, tmp_path / "run") as learner:
        for _ in range(2):
            asked = learner.ask(2)
            learner.tell(dict.fromkeys(asked, "cat"))
            assert {*asked} < {*uris[:6]}
        assert "accuracy" in learner.learn()

    assert ("uri", 2, [f"{folder.url}/lost.png"]) == (card.encoding, card.test, [*card.bad])
