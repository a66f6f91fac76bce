"""Papers beside our runs: what would run, what is printed, and going on after a stop."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reproduction
from planned import CONFIGS, Planned, differences, listed, planned
from reproduction import Comparison, Method, Published

from rayal.cli.options import app
from rayal.data.card import ImageSpec
from rayal.errors import DataError, UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.trials import Assignment
from rayal.storage.folder import Folder
from rayal.workflows import checks
from rayal.workflows.plan.cycles import plan_cycles
from rayal.workflows.run import start_engine
from rayal.workflows.sweep import trial as sweep
from rayal.workflows.warnings import warnings
from tests.configs.test_dense_protocols import VOC_CARD
from tests.configs.test_protocols import CARDS as CLASSES
from tests.configs.test_protocols import commands, load
from tests.support.networks import build_to_look_at

JOBS = Path(reproduction.__file__).parent
PAPERS = {
    name: importlib.import_module(f"jobs.reproduce.{name}").COMPARISONS
    for name in ("tod", "gradnorm", "dast_al", "parting")
}
EVERY = [(job, name) for job, comparisons in PAPERS.items() for name in comparisons]


FRAMES = ImageSpec(channels=3, height=1024, width=2048, mean=(0.5,) * 3, std=(0.25,) * 3)
CARDS = {
    **CLASSES,
    "voc": VOC_CARD,
    "cityscapes": VOC_CARD.model_copy(
        update={"name": "cityscapes", "classes": VOC_CARD.classes[:19], "image": FRAMES}
        | {"pool": 2975, "test": 500}
    ),
}
LESS = "budget: the last cycle buys the 147 that are left, not 149"
"""Of Cityscapes, where 40 % of 2,975 frames are 1,190."""
SHORT = ("scheme.epochs=3", "scheme.milestones=[]")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a file have the same network, of which nobody asks for its weights."""
    build_to_look_at(monkeypatch)


def sweeps(job: str, name: str, given: tuple[str, ...] = ()) -> list[Planned]:
    return planned(name, PAPERS[job][name].methods, (0, 1, 2), given)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("job", "name"), EVERY)
def test_every_list_can_run(job: str, name: str) -> None:
    """A night on a cluster would end at the first sweep that is refused."""
    found = sweeps(job, name)
    methods = [method for each in found for method in each.methods]

    assert sorted(PAPERS[job][name].methods) == sorted(methods)
    for each in found:
        checks.check(each.x, CARDS[each.x.dataset.part_name()])  # builds the network
        for method, how in each.methods.items():
            x = each.experiment(method)
            named = f"strategy.name={how.strategy}"

            alone = config.load(CONFIGS / how.config, [*how.overrides, named])
            assert x == alone.model_copy(update={"keep": x.keep})  # which is a sweep's
            said = warnings(x, CARDS[x.dataset.part_name()])
            assert [] == [each for each in said if each != LESS]


@pytest.mark.parametrize(("job", "name"), EVERY)
def test_every_method_is_a_row_of_its_file(job: str, name: str) -> None:
    """Somebody who runs one method alone, by the head of its file, would get another experiment."""
    rows: dict[str, list[Experiment]] = {}
    for each in sweeps(job, name):
        for method, how in each.methods.items():
            if how.config not in rows:
                file = how.config.removeprefix("papers/").removesuffix(".yaml")
                rows[how.config] = [load(file, overrides) for _, overrides in commands(file)]
            x = each.experiment(method)
            fields = [row.model_dump(mode="json") for row in rows[how.config]]
            for row in fields:
                row["model"]["pretrained"] = None  # which a job's user names

            assert [] in [differences(row, x) for row in fields], method


@pytest.mark.parametrize(("job", "name"), EVERY)
def test_published_numbers_stand_where_runs_are_evaluated(job: str, name: str) -> None:
    """A number at another count of labels, or of another method, would have nothing beside it."""
    comparison = PAPERS[job][name]
    named = {key for keys in comparison.why for key in keys.split(", ")} - {"all"}

    assert comparison.published.keys() | named <= comparison.methods.keys()
    for each in sweeps(job, name):
        card = CARDS[each.x.dataset.part_name()]
        for method in each.methods.keys() & comparison.published.keys():
            x = each.experiment(method)
            labels = [cycle.labels for cycle in plan_cycles(x, card)]
            if x.budget.unit != "samples":  # reports count what is paid
                labels = [x.budget.due(cycle - 1) for cycle in range(len(labels))]
            for published in comparison.published.get(method, ()):
                assert set(published.labels) <= set(labels)
                for trial in published.trials:
                    assert len(trial) == len(published.labels)
                    assert all(20 < value < 100 for value in trial)


@pytest.mark.parametrize("job", PAPERS)
def test_no_two_sweeps_share_a_folder(job: str) -> None:
    """The second would be refused, or be reported as the first."""
    folders = [each.folder for name in PAPERS[job] for each in sweeps(job, name)]

    assert len(folders) == len(set(folders))


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("method", ["random", "core_set", "ll4al", "vaal", "sraal", "mc_dropout"])
def test_two_papers_run_their_baselines_once(dataset: str, method: str) -> None:
    """14 trainings of ResNet-18 and each seed would be done twice."""
    (tod,) = (each for each in sweeps("tod", dataset) if method in each.methods)
    (gradnorm,) = (each for each in sweeps("gradnorm", dataset) if method in each.methods)

    assert (tod.folder, tod.arm(method)) == (gradnorm.folder, gradnorm.arm(method))
    assert tod.experiment(method) == gradnorm.experiment(method)


def test_the_count_of_what_will_run(tmp_path: Path) -> None:
    """By hand: 3 epochs on 5,000 + 7,500 + ... + 20,000 = 87,500 images; 7 x 10 steps x 128."""
    text = listed(sweeps("tod", "svhn"), Folder(tmp_path)) + "\n"
    text += listed(sweeps("tod", "cifar10", SHORT), Folder(tmp_path))

    plain = "random, core_set, vaal, sraal, uncertain_gcn, core_gcn, cod"
    assert f"svhn  tod_svhn: {plain}; 21 trials, 0 complete; each 7 cycles" in text
    assert "from 7,324 to 29,296 labels x 200 epochs, 25,634,000 images seen" in text
    assert "x 3 epochs, 262,500 images seen" in text
    steps = ("scheme.steps=10", "scheme.epochs=null", "scheme.milestones=[]")
    assert "x 10 steps, 8,960 images seen" in listed(sweeps("tod", "svhn", steps), Folder(tmp_path))
    assert "full; 3 trials, 0 complete; each 1 cycle with 50,000 labels x 3 epochs, 150,000" in text
    assert text.endswith("45 trials to run in 7 sweeps")
    clicks = listed(sweeps("parting", "voc"), Folder(tmp_path))
    assert "each 6 cycles from 5,000 to 30,000 clicks x 150 epochs x 5 models\n" in clicks


@pytest.fixture
def small(tiny: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Comparison]]:
    """Two methods on the digits, which train alike, and one that does not; with a number."""
    file = tmp_path / "small.yaml"
    file.write_text(config.dump(tiny(name="small", strategy="random")))

    def build() -> dict[str, Comparison]:
        other = ("name=longer", "scheme.epochs=5")
        methods = {
            "random": Method(str(file), "random", "Ran"),
            "margin": Method(str(file), "margin", "Margin"),
            "longer": Method(str(file), "random", "Longer", other),
        }
        published = {"margin": (Published("Table 9", (20, 60), ((50.0, 99.5),)),)}
        why = {"margin, random": "By the way."}
        return {"digits": Comparison(methods, published, note="In words.", why=why)}

    return build


class Stopped(Exception):
    """Ends a trial in its middle."""


def train(each: Planned, out: Path, method: str, seed: int, cycles: int | None = None) -> None:
    """Runs a trial, or its first cycles, as a worker of the sweep does."""

    def told(cycle: int, objective: float) -> None:
        if cycle == cycles:
            raise Stopped

    place = str(out / each.folder)
    fields = each.x.model_dump(mode="json", exclude={"sweep"})
    opened = start_engine
    try:
        sweep.run_trial(
            fields,
            place,
            "aulc",
            Assignment(each.arm(method), seed),
            lambda: opened(each.x.compute),
            told,
        )
    except Stopped:
        pass


def report(out: Path, comparisons: dict[str, Comparison]) -> str:
    reproduction.reproduce("small", comparisons, out=str(out), only_report=True)
    return (out / "small_digits.md").read_text()


def test_a_half_done_sweep_is_reported(
    small: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there counts, with its n; what is not is a dash, never a zero."""
    comparisons, out = small(), tmp_path / "out"
    text = report(out, comparisons)
    assert "Not run yet: random, margin, longer" in text
    assert "| random | Ran | – | – | – | not run | 0 | – | – |" in text
    assert "- `margin, random`: By the way." in text

    both, longer = planned("digits", comparisons["digits"].methods, (0, 1))
    train(both, out, "margin", 0)
    train(both, out, "margin", 1, cycles=1)
    text = report(out, comparisons)
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if "| margin" in line]
    by_labels = {row[2]: row for row in cells}

    assert ["20", "40", "60"] == list(by_labels)
    assert ["2", "1", "1"] == [row[6] for row in cells]
    assert "±" in by_labels["20"][5] and "±" not in by_labels["60"][5]
    assert ["99.50", "Table 9"] == by_labels["60"][3:5] and "–" == by_labels["60"][8]
    assert ["–", "–"] == by_labels["40"][3:5]
    assert "In words." in text and "Warning" not in text
    assert "Not run yet: random, longer." in text
    assert text in capsys.readouterr().out
    assert {"md", "csv", "png", "svg"} == {path.suffix[1:] for path in out.glob("small_*")}
    assert "4 trials, 1 complete" in listed([both], Folder(out))


def test_what_others_ran_is_left_alone(small: Callable[..., Any], tmp_path: Path) -> None:
    """Another paper's methods, or seeds that were not asked for, would count as done."""
    methods, out = small()["digits"].methods, tmp_path / "out"
    train(planned("digits", methods, (0,))[0], out, "margin", 0)
    (other,) = planned("digits", {"random": methods["random"]}, (0,))
    later, _ = planned("digits", methods, (1,))

    assert [] == list(other.records(Folder(out)))
    assert ["margin"] == [method for method, _ in later.records(Folder(out))]
    assert "2 trials, 0 complete" in listed([later], Folder(out))


def test_runs_of_other_settings_are_told(small: Callable[..., Any], tmp_path: Path) -> None:
    """Four epochs for the paper's 200 would pass for a failed reproduction, and so would a mix."""
    comparisons, out = small(), tmp_path / "out"
    given = ("scheme.lr=0.01", "dataset.store=" + str(tmp_path / "store"))
    both, _ = planned("digits", comparisons["digits"].methods, (3,), given)
    train(both, out, "random", 3)

    warning = "Warning:** not the protocol: scheme.lr=0.01 instead of 0.05 (random seed 3)"
    assert warning in report(out, comparisons)
    with pytest.raises(UsageError, match="scheme.lr=0.01 instead of 0.05; repeat its --set"):
        reproduction.check(planned("digits", comparisons["digits"].methods, (4,)), Folder(out))
    reproduction.check([both], Folder(out))


def test_differences_are_of_what_matters(tiny: Callable[..., Any]) -> None:
    """Who watches, where files lie and which seed it is change no result."""
    meant = tiny()
    fields = meant.model_dump(mode="json")
    fields |= {"seed": 7, "name": "other", "tracking": {"name": "mlflow"}, "observers": ["margin"]}
    fields["dataset"]["root"] = "/elsewhere"
    assert [] == differences(fields, meant)

    fields["budget"]["total"], fields["strategy"] = 80, {"name": "margin"}
    assert {"budget.total=80 instead of 60", "strategy=margin instead of cod"} <= {
        *differences(fields, meant)
    }


def test_a_failed_sweep_does_not_keep_the_others(
    small: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad method would cost the night; passing unnoticed would cost the table."""

    def run(each: Planned, out: Folder, address: str | None, break_lock: bool) -> None:
        if "margin" in each.methods:
            raise DataError("the loss overflowed")
        train(each, tmp_path / "out", "longer", 0)

    monkeypatch.setattr(reproduction, "run", run)
    with pytest.raises(DataError, match="overflowed"):
        reproduction.reproduce("small", small(), seeds="0", out=str(tmp_path / "out"))
    text = (tmp_path / "out" / "small_digits.md").read_text()

    assert "| longer | Longer | 60 | – | – |" in text and "Not run yet: random, margin." in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "digit"}, "--dataset: there is no 'digit' here; did you mean 'digits'?"),
        ({"methods": "cod"}, "--methods: there is no 'cod' here; choose one of: random, margin"),
        ({"seeds": "0;1"}, "--seeds: expected whole numbers"),
        ({"set": ["strategy=cod"]}, "--set strategy=cod: is set here"),
        ({"set": ["strategy.reset=true"]}, "is set here; use --methods"),
        ({"set": ["scheme.epoch=1"]}, "scheme.epoch: there is no such key; did you mean 'epochs'"),
    ],
)
def test_what_cannot_be_run_is_refused(
    options: dict[str, Any], message: str, small: Callable[..., Any], tmp_path: Path
) -> None:
    """It would be ignored, and the table be of something else."""
    with pytest.raises(UsageError) as refused:
        reproduction.reproduce("small", small(), out=str(tmp_path / "out"), **options)

    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_program_lists(
    program: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`python jobs/reproduce/parting.py --list` from anywhere."""
    monkeypatch.chdir(tmp_path)
    before = list(app.registered_commands)

    assert 0 == program("reproduce/parting.py", "--dataset", "cifar10_low", "--list")
    assert before == app.registered_commands  # a program's command is none of `rayal`
    said = capsys.readouterr().out
    assert "150 epochs x 5 models, 6,750,000 images seen" in said
    assert "15 trials to run in 2 sweeps" in said
    assert [] == list(tmp_path.iterdir())


PROGRAM = """
import sys
sys.path.insert(0, {jobs!r})
from reproduction import Comparison, Method, Published, launch

methods = {{"margin": Method({file!r}, "margin", "Margin")}}
published = {{"margin": (Published("Table 9", (20, 60), ((50.0, 99.5),)),)}}
if __name__ == "__main__":
    launch("small", "Small.", {{"digits": Comparison(methods, published)}})
"""


@pytest.mark.slow
@pytest.mark.ray
def test_end_to_end(small: Callable[..., Any], tmp_path: Path) -> None:
    """Two trials on a cluster of its own, the table beside the paper's, and the same command again
    runs nothing."""
    small()
    (tmp_path / "program.py").write_text(
        PROGRAM.format(jobs=str(JOBS), file=str(tmp_path / "small.yaml"))
    )
    command = [sys.executable, "program.py", "--seeds", "0,1", "--set", "sweep.concurrent=1"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    refused = subprocess.run(
        [*command, "--dataset", "x"], cwd=tmp_path, capture_output=True, text=True
    )

    assert 0 == first.returncode, first.stderr
    assert "2 trials, 0 complete" in first.stdout and "2 of 2" in first.stderr
    assert 0 == again.returncode, again.stderr
    assert "0 trials to run" in again.stdout and "2 of 2" not in again.stderr
    assert 2 == refused.returncode and "there is no 'x' here" in refused.stderr
    table = (tmp_path / "reproductions" / "small_digits.md").read_text()
    assert table.strip() in first.stdout and table.strip() in again.stdout
    assert "| margin | Margin | 60 | 99.50 | Table 9 |" in table and "| 2 |" in table
