"""The tutorial of a labeling lead, walked: 2,000 photographs, three rounds, two annotators on a
real server, killed twice; and the same picks as if nobody had been asked."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import rayal
from rayal.data.store import Store
from rayal.labeling.label_studio.server import TOKEN
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.request import Request
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from tests.support import label_studio
from tests.support.label_studio import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
EXPERIMENT = """\
name: photographs
dataset: {{name: unlabeled_folder, root: {root}, pool: photos, test: labeled, size: 32}}
model: {{name: small_cnn, width: 16}}
scheme: {{epochs: 6, batch_size: 32, lr: 0.05}}
strategy: margin
budget: {{initial: 60, per_cycle: 40, total: 140}}
oracle: {{name: people, format: label_studio, votes: 2}}
compute: {{engine: local, cpus_per_worker: 1}}
tracking: none
"""
KILLED = """
import sys
from pathlib import Path
import rayal
from rayal.errors import LabelsPending
from tests.support.killed_run import kill_after
run, point, *file = sys.argv[1:]
kill_after(point, run)
if file:
    rayal.add_labels(run, file[0])
else:
    rayal.run(rayal.load("photographs.yaml"), run)
"""
"""Does as a command does, and dies as soon as it has written a file."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with label_studio.running(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with photographs of which nobody knows the class, and some by class to test with;
    and what the annotators will see on each."""
    truth = dict[str, str]()
    (tmp_path / "photos").mkdir()
    samples = shared_data / "samples" / "caltech101_imagefolder"
    for number, path in enumerate(sorted(samples.glob("*/*/*.jpg"))):
        name, known = path.parent.name, number % 5 == 0
        place = f"labeled/{name}" if known else "photos"
        unit = f"{place}/{number:04}.jpg"
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / unit)
        if not known:
            truth[unit] = name
    (tmp_path / "photographs.yaml").write_text(EXPERIMENT.format(root=tmp_path))
    return tmp_path, truth


class Answered(Oracle):
    """Answers at once what people have said."""

    said: ClassVar[dict[str, int | None]] = {}

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        return {unit: Label(self.said[unit], 1.0) for unit in ids}


class Team:
    """Two annotators who answer by what is on the image: one skips a few, one is wrong at times,
    and a third who settles what they differ in."""

    def __init__(self, server: Server, truth: dict[str, str]) -> None:
        self.server, self.truth = server, truth
        self.ana, self.ben, self.cleo = (server.annotator(name) for name in ("ana", "ben", "cleo"))
        self.classes = sorted({*truth.values()})
        self.skipped, self.disputed = set[str](), set[str]()

    def answer(self, project: int) -> None:
        """Each of the two answers every task that is not answered yet."""
        for place, (unit, task) in enumerate(self.ana.tasks(project).items()):
            name, number = self.truth[unit], task["id"]
            for person in (self.ana, self.ben):
                if place % 17 == 3:
                    self.skipped.add(unit)
                    person.skip(number, 1.5)
                elif place % 11 == 5 and person is self.ben:
                    self.disputed.add(unit)
                    wrong = self.classes[(self.classes.index(name) + 1) % len(self.classes)]
                    person.choose(number, wrong, 3.0)
                else:
                    person.choose(number, name, 2.0)

    def settle(self, project: int, units: Sequence[str]) -> None:
        tasks = self.cleo.tasks(project)
        for unit in units:
            self.cleo.choose(tasks[unit]["id"], self.truth[unit], 4.0)


def rayal_does(folder: Path, *words: str) -> str:
    """What a command says, as a terminal shows it."""
    done = subprocess.run(
        [sys.executable, "-m", "rayal", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def killed(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -9, done.stdout + done.stderr


def test_three_rounds(
    server: Server,
    folder: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A label would be lost, doubled or changed, or a kill change what is asked for next."""
    place, truth = folder
    team, run = Team(server, truth), place / "run"
    monkeypatch.setenv(TOKEN, server.lead.token)
    said = list[str]()
    for turn in range(3):
        if turn == 1:
            killed(place, str(run), "cycle-000/train/weights.safetensors")
        said.append(rayal_does(place, "run", "photographs.yaml", "--out", str(run)))
        assert "waiting for" in said[-1]
        said.append(rayal_does(place, "labels", "push", str(run), "--server", server.url))
        project = _project(server)
        team.answer(project)
        if turn == 1:
            export = place / "export.json"
            tasks = server.lead.call("GET", f"/api/projects/{project}/export?exportType=JSON")
            export.write_text(json.dumps(tasks))
            killed(place, str(run), "*-asked/accepted/*", str(export))
            said.append(rayal_does(place, "labels", "add", str(run), str(export)))
            again = rayal_does(place, "labels", "add", str(run), str(export))
            assert "took 0 answers" in again or "nothing new" in again, again
        else:
            said.append(rayal_does(place, "labels", "pull", str(run), "--server", server.url))
        disputed = _request(run).disputed
        assert {*disputed} <= team.disputed
        team.settle(project, disputed)
        said.append(rayal_does(place, "labels", "pull", str(run), "--server", server.url))
        said.append(rayal_does(place, "labels", "status", str(run)))
    said.append(rayal_does(place, "run", "photographs.yaml", "--out", str(run)))
    said.append(rayal_does(place, "report", str(run)))
    print("\n".join(said))

    people = rayal.open_run(run)
    labels = people.labels().set_index("id")["label"]
    classes = people.experiment.dataset.open().card.classes
    assert people.complete and 140 == len(labels) == len({*labels.index})
    assert team.skipped == {*labels.index[labels.isna()]}
    for unit, label in labels.dropna().items():
        assert truth[str(unit)] == classes[int(label)]
    votes = people.votes()
    assert 2 * 140 + len(team.disputed) == len(votes)
    assert not votes.duplicated(["id", "annotator"]).any()

    Answered.said = {str(u): None if np.isnan(v) else int(v) for u, v in labels.items()}
    x = rayal.load(place / "photographs.yaml")
    fields = {name: getattr(x, name) for name in rayal.Experiment.model_fields}
    simulated = rayal.run(rayal.Experiment(**{**fields, "oracle": Answered()}), place / "simulated")
    assert [*people.labels()["id"]] == [*simulated.labels()["id"]]
    for cycle in range(2):
        first, second = (_chosen(each.url, cycle) for each in (people, simulated))
        assert first == second
    assert people.curve()["accuracy"].tolist() == simulated.curve()["accuracy"].tolist()


def _project(server: Server) -> int:
    """The newest one."""
    found = server.lead.call("GET", "/api/projects/?page_size=100")["results"]
    return max(int(each["id"]) for each in found)


def _request(run: Path) -> Request:
    found = Record(Folder(run)).request()
    assert found is not None
    return found[2]


def _chosen(url: str, cycle: int) -> tuple[str, ...]:
    found = Record(Folder(url)).result(cycle, Chosen)
    assert found is not None
    return found.ids
