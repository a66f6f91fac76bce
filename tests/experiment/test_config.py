"""From a file and overrides to an experiment, or to every problem at once."""

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.engine.draws import all_arms
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.mistakes import held
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import PACKAGES, find, names

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
CONFIGS = sorted({*(ROOT / "configs").rglob("*.yaml")} - {*SWEEPS})


def within(path: Path) -> str:
    """As a command names it."""
    return str(path.relative_to(ROOT))


MINIMAL = """\
name: tiny
dataset: digits
model: small_cnn
strategy: cod
budget: {initial: 20, per_cycle: 20, total: 100}
"""

WRONG = """\
name: ../escape
dataset: {name: digits, rot: x}
model: small_cn
strategy: {name: cod, first_cycle: no}
sheme: {epochs: 20}
scheme:
  lerning_rate: 1
  epochs: 1:30
  augment: {flop: true}
observers: [entropy, {name: margin, k: 1}]
budget: {initial: -1, per_cycle: [20]}
compute: {device: gpu}
"""


def write(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    return write(tmp_path, MINIMAL)


def problems(path: Path, *overrides: str) -> list[str]:
    """The lines of the error, without the folder of the file."""
    with pytest.raises(UsageError) as caught:
        config.load(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_a_file_holds_what_differs(minimal: Path) -> None:
    """Everything else has a default, and a bare name is a part with its defaults."""
    x = config.load(minimal)

    assert "tiny" == x.name
    assert ["digits", "small_cnn", "cod"] == [
        part.part_name() for part in (x.dataset, x.model, x.strategy)
    ]
    assert ["classification", "supervised", "simulated", "mlflow"] == [
        part.part_name() for part in (x.task, x.scheme, x.oracle, x.tracking)
    ]
    assert (20, 20, 100) == (x.budget.initial, x.budget.per_cycle, x.budget.total)


def test_a_part_that_goes_without_saying_can_be_changed(minimal: Path) -> None:
    """`--set scheme.epochs=5` must not require to say that the scheme is `supervised`."""
    x = config.load(minimal, ["scheme.epochs=5", "compute.scorers=2"])

    assert ("supervised", 5) == (x.scheme.part_name(), x.scheme.epochs)
    assert 2 == x.compute.scorers


def test_another_strategy_on_the_command_line(minimal: Path) -> None:
    """Comparing strategies is one override; options of the old one must not stick to the new."""
    written = write(
        minimal.parent, "extends: x.yaml\nstrategy: {first_cycle: entropy}\n", "cod.yaml"
    )

    assert "entropy" == config.load(written).strategy.first_cycle
    for override in ("strategy=margin", "strategy.name=margin", "strategy={name: margin}"):
        assert "margin" == config.load(written, [override]).strategy.part_name()


@pytest.mark.parametrize(
    "given", ["scheme=supervised", "scheme={name: supervised}", "scheme.name=supervised"]
)
def test_the_spellings_of_a_part_mean_the_same(minimal: Path, given: str) -> None:
    """A run of 2 epochs would become one of 200 by the name that the file has already."""
    written = write(minimal.parent, "extends: x.yaml\nscheme: {epochs: 2, lr: 0.05}\n", "s.yaml")
    above = write(minimal.parent, "extends: s.yaml\nscheme: supervised\n", "above.yaml")
    nameless = write(minimal.parent, "extends: x.yaml\nmodel: {width: 4}\n", "nameless.yaml")

    for path, overrides in ((written, [given]), (above, [])):
        scheme = config.load(path, overrides).scheme
        assert (2, 0.05) == (scheme.epochs, scheme.lr)
    assert 4 == config.load(nameless, ["model=small_cnn"]).model.width
    assert 200 == config.load(written, ["scheme=tod"]).scheme.epochs


def test_all_problems_at_once(tmp_path: Path) -> None:
    """A round trip per typo makes ten of a new file; a line says where, what and the way out."""
    path = write(tmp_path, WRONG)

    expected = [
        "14 problems in x.yaml",
        "--set seed=null: seed: should be a whole number, got null",
        "x.yaml:1: name: should be a text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, got ",
        "x.yaml:2: dataset.rot: there is no such key; did you mean 'root'?",
        "x.yaml:3: model: there is no 'small_cn' in models; did you mean 'small_cnn'?",
        "x.yaml:4: strategy.first_cycle: should be 'smallest_vs_random_init', 'largest_vs_init', "
        "'entropy' or 'random', got \"no\"",
        "x.yaml:5: sheme: there is no such key; did you mean 'scheme'?",
        "x.yaml:7: scheme.lerning_rate: there is no such key; choose one of: ",
        'x.yaml:8: scheme.epochs: should be a whole number, got "1:30"',
        "x.yaml:9: scheme.augment.flop: there is no such key; did you mean 'flip'?",
        "x.yaml:10: observers.1.k: there is no such key; choose one of: pixels",
        "x.yaml:11: budget.initial: should be greater than or equal to 0, got -1",
        "x.yaml:11: budget.per_cycle: should be a whole number, got [20]",
        "x.yaml:11: budget.total: is required",
        "x.yaml:12: compute.device: should be 'auto', 'cpu' or 'cuda', got \"gpu\"",
    ]
    actual = [line.strip() for line in problems(path, "seed=null")]
    for wanted, line in zip(expected, actual, strict=True):
        assert line.startswith(wanted)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("seed=q", "seed: should be a whole number, got"),
        ("sede=1", "sede: there is no such key; did you mean 'seed'?"),
        (
            "sweep={seeds: [0]}",
            "sweep: is for sweeps: `rayal sweep`, `rayal submit sweep` and `rayal plan`; in Python"
            " rayal.load_sweep",
        ),
        ("strategy=cdo", "strategy: there is no 'cdo' in strategies; did you mean 'cod'?"),
        ("strategy=os.system", "strategy: 'os.system' is code outside rayal"),
        ("strategy={_target_: os.system}", "strategy._target_: there is no such key"),
        ("scheme=null", "scheme: expected a name or {name: ..., ...} from schemes, got None"),
        ("scheme.lr=.nan", "scheme.lr: should be a finite number, got NaN"),
        ("budget=5", "budget: should be a mapping"),
        ("name=a%2e/..", "name: should be a text that matches"),
        ("scheme.milestones=[500]", "scheme: milestones (500,) go beyond the training's 200"),
        ("dataset.root=''", "dataset.root: should be a text of length 1 or more"),
        (
            "budget.initial=101",
            "budget.initial: 101 is more than budget.total, 100; lower it, or raise that",
        ),
        (
            "candidates=10",
            "candidates: 10 cannot fill budget.per_cycle, 20; raise it, or lower that",
        ),
    ],
)
def test_one_problem_is_one_line(minimal: Path, override: str, problem: str) -> None:
    """The line names what the user wrote, so that it can be found and mended."""
    (line,) = problems(minimal, override)

    assert line.startswith(f"--set {override}: {problem}")


def test_a_problem_is_all_that_a_notebook_shows(minimal: Path) -> None:
    """Its traceback would begin with the same in pydantic's words."""
    with pytest.raises(UsageError) as told:
        config.load(minimal, ["seed=q"])

    assert told.value.__cause__ is None and told.value.__suppress_context__


def test_what_is_missing(tmp_path: Path) -> None:
    """A new file is written by following the messages: parts are listed with their choices."""
    lines = problems(write(tmp_path, "name: x\n"))

    assert "3 problems in x.yaml" == lines[0]
    assert lines[1].startswith("  x.yaml:1: dataset: is required; choose one of: ")
    assert "digits" in lines[1]
    choices = [line.partition(": is required; choose one of: ")[::2] for line in lines[1:4]]
    text = "".join(f"{key.split()[-1]}: {known.split(', ')[0]}\n" for key, known in choices)

    assert not any("required" in line for line in problems(write(tmp_path, f"name: x\n{text}")))


def test_a_problem_is_shown_where_it_is_written(minimal: Path) -> None:
    """With `extends` the mistake may be in another file than the one on the command line."""
    write(minimal.parent, "extends: x.yaml\nbudget:\n  per_cycle: none\n", "base.yaml")
    path = write(minimal.parent, "extends: base.yaml\nseed: -1\n", "top.yaml")

    assert [
        "2 problems in top.yaml",
        '  base.yaml:3: budget.per_cycle: should be a whole number, got "none"',
        "  top.yaml:2: seed: should be greater than or equal to 0, got -1",
    ] == problems(path)


def test_contradictions_come_together(minimal: Path) -> None:
    """Values that are right one by one but not together: also all at once."""
    assert [
        "2 problems in x.yaml",
        "  --set candidates=4: candidates: 4 cannot fill budget.per_cycle, 20; raise it, or lower"
        " that",
        "  x.yaml:5: budget.initial: 20 is more than budget.total, 3; lower it, or raise that",
    ] == problems(minimal, "budget.total=3", "candidates=4")


@pytest.mark.parametrize("uri", ["file:./mlruns", "./mlruns", "mlruns"])
def test_stores_that_mlflow_refuses(minimal: Path, uri: str) -> None:
    """The run would begin, and fail when the first metric is written (D09)."""
    (line,) = problems(minimal, f"tracking.uri={uri}")

    assert f"--set tracking.uri={uri}: tracking.uri: " in line
    assert "sqlite:///FILE" in line and "mlflow migrate-filestore" in line


def test_a_password_is_not_repeated(minimal: Path) -> None:
    """Messages are pasted into issues (C08)."""
    (line,) = problems(
        write(
            minimal.parent,
            MINIMAL.replace(
                "dataset: digits", "dataset: {name: digits, store: 'ftp://me:hunter2@host/x'}"
            ),
            "y.yaml",
        )
    )

    assert "y.yaml:2: dataset.store: holds a secret" in line
    assert "hunter2" not in line


def test_a_password_of_any_signs_is_not_repeated(minimal: Path) -> None:
    """A / in it would end what a pattern takes for the password, and show the rest."""
    for value in ("http://me:hun/ter2@host", "ftp://me:hun/ter2@host", "[http://me:hun/ter2@host]"):
        with pytest.raises(UsageError) as told:
            config.load(minimal, [f"tracking.uri={value}", f"dataset.root={value}"])

        assert "tracking.uri" in str(told.value) and "dataset.root" in str(told.value)
        assert "ter2" not in str(told.value)


def test_packages_of_the_user_as_any_list(minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script written for 0.4 would end in a traceback, a bare name allow its letters."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "support" / "plugins")
    x = config.load(minimal, ["strategy={name: faulty.raises, marker: x}"], plugins=["faulty"])

    assert "faulty.raises" == x.strategy.part_name()
    with pytest.raises(UsageError, match=r"'faulty' is no list of packages; write \['faulty'\]"):
        config.load(minimal, plugins="faulty")


def test_relative_paths_start_from_the_file(minimal: Path) -> None:
    """The same file means the same data wherever the command is started."""
    inner = minimal.parent / "inner"
    inner.mkdir()
    path = write(inner, "extends: ../x.yaml\ndataset: {root: ../data}\n")

    x = config.load(path, ["dataset.store=stores"])

    assert str(minimal.parent / "data") == x.dataset.root
    assert str(Path.cwd() / "stores") == x.dataset.store


@pytest.mark.parametrize("path", CONFIGS, ids=within)
def test_every_config_loads_and_is_recorded_exactly(path: Path, tmp_path: Path) -> None:
    """A run is repeated from the `experiment.yaml` in its folder: it must be the same run."""
    x = config.load(path)
    recorded = write(tmp_path, config.dump(x))

    assert x == config.load(recorded)
    assert x == config.resolved(x.model_dump(mode="json"))
    assert x.identity() == config.load(recorded).identity()


@pytest.mark.parametrize("path", CONFIGS, ids=within)
def test_every_config_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    """A configuration without its command and expected time is a riddle."""
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]

    assert any(f"rayal run {within(path)}" in line for line in head)
    assert any("time" in line.lower() for line in head)


@pytest.mark.parametrize("path", SWEEPS, ids=within)
def test_every_sweep_loads_with_all_its_arms(path: Path, tmp_path: Path) -> None:
    """A sweep that is submitted is read again from what was resolved here."""
    x = config.load_as(SweptExperiment, path)
    recorded = config.load_as(SweptExperiment, write(tmp_path, config.dump(x)))

    made = trials.of_arms(x, all_arms(x.sweep))
    assert made == trials.of_arms(recorded, all_arms(recorded.sweep))
    assert len({trial.folder for trial in made}) == len(made)
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"rayal sweep {within(path)}" in line for line in head)
    assert any("time" in line.lower() for line in head)


KEYS = "name strategy observers.0 scheme scheme.epochs scheme.augment scheme.augment.flip budget"
MORE_KEYS = "budget.total dataset dataset.mean compute.device candidates tracking x observers"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WORDS = st.sampled_from(["name", "cod", "lr", "0", "k"])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(f"{KEYS} {MORE_KEYS}".split()), VALUES)
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_is_an_experiment_or_a_usage_error(key: str, value: object) -> None:
    """Somebody's strange value must end in a line about it, never in a traceback."""
    assignment = f"{key}={json.dumps(value)}"

    try:
        config.load(ROOT / "configs" / "digits" / "base.yaml", [assignment])
    except UsageError as error:
        assert assignment in str(error)


def test_dump_holds_every_field(minimal: Path) -> None:
    """A default that changes in a later version must not change what an old run folder says."""
    recorded = config.dump(config.load(minimal))

    for field in Experiment.model_fields:
        assert f"{field}:" in recorded


def test_a_recorded_experiment_of_another_version(minimal: Path) -> None:
    """`rayal sync` of an old folder ends with a message that names the field."""
    fields = config.load(minimal).model_dump(mode="json") | {"sead": 1}

    with pytest.raises(UsageError, match=r"experiment.yaml:\d+: sead: there is no such key"):
        config.resolved(fields)


def test_load_is_quick(minimal: Path) -> None:
    """Sweeps load hundreds of experiments."""
    config.load(minimal)
    start = time.perf_counter()
    config.load(minimal)

    assert time.perf_counter() - start < 0.2


LEAKS = (
    "valid integer", "valid number", "valid string", "valid tuple", "parse", "Input", "Value error",
    "validation", "instance", "dictionary", "boolean", "interpret", "fractional", "Field",
)  # fmt: skip
"""Of pydantic, of which no user of a file has heard."""
ODD: tuple[object, ...] = ("q", "", 1.5, -1, True, None, [], [1], ["q"], [[1]], {"a": 1}, math.inf)


@pytest.mark.parametrize("kind", [*PACKAGES])
def test_no_field_of_any_part_speaks_of_the_library(kind: str) -> None:
    """`should be a valid integer, unable to parse string as an integer` is no way to write one."""
    said = []
    for part in (find(kind, name) for name in names(kind)):
        for field in part.model_fields:
            for value in ODD:
                try:
                    part(**{field: value})
                except ValueError as error:
                    said += [line for line in str(error).splitlines() if field in line]

    assert said
    assert [] == [line for line in said if any(word in line for word in LEAKS)]


def test_nor_does_any_field_of_an_experiment(minimal: Path) -> None:
    fields = [*Experiment.model_fields]
    for group in ("budget", "compute", "keep"):
        model = held(Experiment.model_fields[group])
        fields += [f"{group}.{key}" for key in model.model_fields]  # type: ignore[union-attr]
    said = []
    for field in fields:
        for value in ("q", "1.5", "-1", "true", "[[1]]", "{a: 1}", ".inf", "''"):
            try:
                config.load(minimal, [f"{field}={value}"])
            except UsageError as error:
                said += str(error).splitlines()

    assert len(said) > 100
    assert [] == [line for line in said if any(word in line for word in LEAKS)]
