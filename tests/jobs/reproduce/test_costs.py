"""What methods cost, at sizes at which the numbers mean nothing."""

import csv
from collections.abc import Callable
from pathlib import Path

import costs
import pytest
from costed import METHODS, REDUCED, SMALL, TABLES, Table, experiment
from costs import Measured, circumstances, markdown, row
from published import Cost

from rayal.errors import UsageError
from rayal.storage.folder import Folder
from rayal.workflows.plan.cycles import plan_cycles
from tests.configs.test_protocols import CARDS

OURS = Measured(2_000_000, 3 * 2**20, 30.0, 60.0, 20.0, 10.0, 300, "a day, a machine")


def cells(table: str, method: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {method} |"))
    return line.strip("| ").split(" | ")[1:]


def test_a_row_by_hand() -> None:
    """30 + 60 + 20 + 10 s are two minutes; what nobody measured or printed is no zero."""
    whole = row("vaal", Cost(88.18, 62_855, 36.12, 1048), OURS)
    table = markdown([whole, row("cod", None, OURS), row("ads", Cost(sample=4.83), None)])

    numbers = ["88.18", "2", "3", "62,855", "30", "60", "36.12", "20", "10", "1,048", "2"]
    assert numbers == cells(table, "vaal")
    assert "–" == cells(table, "cod")[0] == cells(table, "cod")[3]
    two = ["not run"] * 2
    assert ["–", *two, "–", *two, "4.83", *two, "–", "not run"] == cells(table, "ads")


@pytest.mark.parametrize("table", TABLES)
def test_every_published_method_can_be_run(table: str) -> None:
    """One cycle of the protocol, its training and its candidates, whatever the method is."""
    plain = experiment(TABLES[table], "random")
    card = CARDS[plain.dataset.part_name()]
    alike = [cycle.scored for cycle in plan_cycles(plain, card)]
    shared = {key: x for key, x in plain.scheme.model_dump().items() if key != "name"}

    assert TABLES[table].published.keys() <= METHODS.keys()
    assert (
        2 == len(alike)
        and {"dast_al": 10_000, "tod_svhn": 29_302}.get(table, alike[0]) == (alike[0])
    )
    for method in METHODS:
        x = experiment(TABLES[table], method)
        assert shared.items() <= x.scheme.model_dump().items()
        assert ("local", "none") == (x.compute.engine, x.tracking.part_name())
        assert alike == [cycle.scored for cycle in plan_cycles(x, card)]


@pytest.mark.parametrize(
    ("table", "labels", "candidates", "epochs"),
    [(SMALL, 50, 300, 2), (REDUCED, 200, 800, 10)],
    ids=["small", "reduced"],
)
def test_small_experiments_are_small(
    table: Table, labels: int, candidates: int, epochs: int
) -> None:
    """Trying it would take hours; an option of a method that is gone would be refused."""
    for method in METHODS:
        x = experiment(table, method)
        steps = [fit.steps(labels, candidates) for fit in x.fits()]

        assert (epochs, labels) == (x.scheme.length, x.budget.amounts[0])
        assert all(count <= 20 for count in steps), method


@pytest.fixture
def given(cache: Path, undrawn: None) -> list[str]:
    return ["dataset.limit_pool=400", "dataset.limit_test=50", "compute.cpus_per_worker=1"]


def test_end_to_end(given: list[str], tmp_path: Path) -> None:
    """Each column is what the run's own stages say; what was run before is not run again; what
    was run otherwise is refused."""
    out = Folder(tmp_path)
    costs.costs("dast_al", ["uncertain_gcn"], given, out, small=True)
    text = costs.costs("dast_al", ["random"], given, out, small=True)
    with (tmp_path / "costs_small.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    run = tmp_path / "costs" / "small" / "uncertain_gcn"

    assert METHODS.keys() == rows.keys()
    graph, random = (
        {name: float(value) for name, value in rows[each].items() if value and name != "method"}
        for each in ("uncertain_gcn", "random")
    )
    kept = run / "cycle-000" / "fit" / "graph" / "companion-graph.safetensors"
    assert graph["extra MiB"] == pytest.approx(kept.stat().st_size / 2**20)
    assert graph["fit s"] > 0 == random["fit s"] == random["extra M"]
    assert graph["min"] == pytest.approx(
        sum(graph[f"{part} s"] for part in ("train", "fit", "score", "select")) / 60
    )
    assert "300 candidates" in text and "2 epochs" in text
    assert "cores" in text and "(random, uncertain_gcn)." in text
    assert text == (tmp_path / "costs_small.md").read_text()
    with pytest.raises(UsageError, match="scheme.lr=0.02 instead of 0.01; repeat its --set"):
        costs.costs("dast_al", ["random"], [*given, "scheme.lr=0.01"], out, small=True)


def test_parameters_are_those_of_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """VAAL's 23,115,204 and learning loss's 123,905 for ResNet-18 on CIFAR-10: 88.18 MiB."""
    x = experiment(TABLES["dast_al"], "vaal")
    monkeypatch.setattr(type(x.dataset), "open", lambda _: type("", (), {"card": CARDS["cifar10"]}))

    assert 22_835_139 + 280_065 == costs.parameters(x)
    assert 123_905 == costs.parameters(experiment(TABLES["dast_al"], "ll4al"))
    assert 0 == costs.parameters(experiment(TABLES["dast_al"], "core_set"))


def test_every_number_has_its_machine() -> None:
    """Times of another day and another GPU would pass for this one's."""
    x, other = experiment(TABLES["dast_al"], "vaal"), OURS._replace(where="another")
    text = circumstances(TABLES["dast_al"], x, {"cod": OURS, "vaal": other, "random": OURS})

    assert "1,000 labels, 300 candidates, 200 epochs, batches of 128 in training" in text
    assert "Ours: a day, a machine (cod, random).\nOurs: another (vaal)." in text


def test_a_run_that_was_cut_short_does_not_count(given: list[str], tmp_path: Path) -> None:
    """Its last attempt found part of the work done."""
    costs.costs("dast_al", ["random"], given, Folder(tmp_path), small=True)
    (tmp_path / "costs" / "small" / "random" / costs.WHERE).unlink()

    with pytest.raises(UsageError, match="small/random was cut short"):
        costs.costs("dast_al", ["random"], given, Folder(tmp_path), small=True)


@pytest.mark.parametrize(
    ("table", "method", "message"),
    [
        ("dast", "vaal", "there is no 'dast' here; did you mean 'dast_al'?"),
        ("dast_al", "vall", "there is no 'vall' here; did you mean 'vaal'?"),
    ],
)
def test_unknown_names_are_refused(table: str, method: str, message: str, tmp_path: Path) -> None:
    """Everything would run in place of the one."""
    with pytest.raises(UsageError) as refused:
        costs.costs(table, [method], (), Folder(tmp_path))

    assert message in str(refused.value) and [] == list(tmp_path.iterdir())


def test_the_program_says_what_it_takes(
    program: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`python jobs/reproduce/costs.py` from anywhere."""
    monkeypatch.chdir(tmp_path)

    assert 2 == program("reproduce/costs.py", "--table", "dast")
    assert "did you mean 'dast_al'?" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
