"""Nodes that see another disk under the same path are named before they work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rayal.engine.shared_storage import SharedStorage, lacking
from rayal.errors import StorageError
from rayal.experiment import config
from rayal.storage.folder import Folder

ROOT = Path(__file__).parents[2]
NODES = {"1": "near (10.0.0.1)", "2": "far (10.0.0.2)"}


class Cluster:
    """Nodes that see the disk of this machine from another root each, and count the questions."""

    def __init__(self, here: Path, roots: dict[str, Path]) -> None:
        self.here, self.roots = str(here), roots
        self.asked: list[str] = []

    def nodes(self):
        return {node: NODES[node] for node in self.roots}

    def ask(self, nodes, expected):
        self.asked += nodes
        return {node: self.missing(str(self.roots[node]), expected) for node in nodes}

    def missing(self, root, expected):
        there = {path.replace(self.here, root, 1): path for path in expected}
        found = lacking({path: expected[there[path]] for path in there})
        return [there[path] for path in found]

    def storage(self):
        return SharedStorage(self.nodes, self.ask)


@pytest.fixture
def disk(tmp_path):
    """A run folder and a prepared store."""
    Folder(tmp_path / "here/run").write("run.json", b"{}")
    Folder(tmp_path / "here/store").write("card.json", b"{}")
    return tmp_path / "here"


def test_shared_storage_is_asked_for_once_per_node(disk):
    """Every stage would wait for all nodes; a node that joins later would not be asked."""
    nodes = Cluster(disk, {"1": disk})
    storage = nodes.storage()
    for _ in range(2):
        storage.check(str(disk / "run/cycle-000/train"), [str(disk / "store")])
    nodes.roots["2"] = disk
    storage.check(str(disk / "run/cycle-000/score"), [str(disk / "store")])

    assert ["1", "2"] == nodes.asked
    assert [] == os.listdir(disk / "run/cycle-000/score")


def test_another_disk_of_the_same_name(disk, tmp_path):
    """Even a copy made a minute ago is not the same disk: what is written here is not there."""
    shutil.copytree(disk, tmp_path / "copy")
    storage = Cluster(disk, {"1": disk, "2": tmp_path / "copy"}).storage()
    with pytest.raises(StorageError, match=r"run is not the same storage on node far") as caught:
        storage.check(str(disk / "run"))

    assert "use a shared path or URL" in str(caught.value)
    storage.check("memory://run")
    assert caught.value.exit_code == 4
    assert ["run.json"] == os.listdir(disk / "run")


@pytest.mark.parametrize("there", [None, b'{"other": "pixels"}'])
def test_a_store_that_a_node_lacks(disk, tmp_path, there):
    """A worker would say that the store is damaged, or train on other pixels."""
    (tmp_path / "other").symlink_to(disk)
    far = tmp_path / "far"
    (far / "store").mkdir(parents=True)
    (far / "run").symlink_to(disk / "run")
    if there is not None:
        (far / "store/card.json").write_bytes(there)
    storage = Cluster(disk, {"2": far}).storage()
    with pytest.raises(StorageError, match=f"^{disk}/store is not the same storage on node far"):
        storage.check(str(disk / "run"), [str(disk / "store")])


def test_a_node_that_does_not_answer_is_asked_again(disk):
    """A spot machine that leaves at that moment would end the run, or never be asked."""
    silent = SharedStorage(lambda: NODES, lambda nodes, expected: {})
    silent.check(str(disk / "run"))

    assert set() == silent._seen


def test_urls_are_the_same_for_all(disk):
    """A run in a bucket would be refused."""
    nodes = Cluster(disk, {"2": disk.parent / "nothing"})
    nodes.storage().check("memory://run", ["memory://store"])

    assert [] == nodes.asked


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_of_its_own_disk(tiny, tmp_path):
    """Two nodes that share a disk run; a third that does not is named (B15)."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no node can be given a disk of its own here")
    x = tiny(
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        compute={"engine": "ray", "scorers": 2, "cpus_per_worker": 1, "shard_rows": 256},
    )
    (tmp_path / "x.yaml").write_text(config.dump(x))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.run_on_disks", tmp_path / "x.yaml", tmp_path / "run"],
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    said = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr[-3000:]
    assert said[0].startswith("2 nodes, complete")
    assert said[1].startswith(f"3 nodes, StorageError {tmp_path}/run/own/cycle-")
    assert "is not the same storage on node " in said[1]
    assert not list((tmp_path / "run").rglob(".tmp-*"))
