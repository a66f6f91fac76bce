"""The parts of docs/own are parts: they keep their contracts, and run as their pages say."""

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import rayal
import rayal.testing
from rayal.data.datasets.digits import Digits
from rayal.errors import DataError, LabelsPending
from rayal.experiment import config
from rayal.testing.trainings import prepared
from tests.support.whole_runs import chosen, go

OWN = Path(__file__).parents[2] / "docs" / "own"
EXAMPLES = sorted(OWN.glob("examples/*.py"))
PAGES = ("strategy", "model", "dataset", "scheme", "oracle")
SHORT = [
    "scheme={epochs: 2}",
    "compute={engine: local, cpus_per_worker: 1, shard_rows: 256}",
    "tracking=none",
]
"""What makes the run of a page one of seconds, in this process."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a reader stands who has put the examples into the package `my_parts`."""
    shutil.copytree(OWN / "examples", tmp_path / "my_parts")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    digits = Digits(limit_pool=200, limit_test=50).source()
    arrays = {
        f"{split}_{what}": np.asarray(values)
        for split, units in (("pool", digits.pool.first(200)), ("test", digits.test.first(50)))
        for what, values in (("images", units.images), ("labels", units.labels))
    }
    for split, count in (("pool", 200), ("test", 50)):  # N 1 H W -> N H W
        arrays[f"{split}_images"] = arrays[f"{split}_images"][:count, 0]
    np.savez(tmp_path / "arrays.npz", classes=np.array(digits.classes), **arrays)
    yield tmp_path
    for name in [each for each in sys.modules if each.split(".")[0] == "my_parts"]:
        del sys.modules[name]


def part_of(module: str, folder: Path) -> Any:
    """An instance of the part in an example."""
    found = importlib.import_module(f"my_parts.{module}")
    options = {"arrays": {"root": str(folder)}, "answers_file": {"file": str(folder / "a.csv")}}
    name = "".join(word.title() for word in module.split("_"))
    return getattr(found, name)(**options.get(module, {}))


def blocks(page: str, language: str) -> list[str]:
    text = (OWN / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", text, re.DOTALL)


def shown(page: str, folder: Path) -> Path:
    """The experiment that a page shows, as a file."""
    (text,) = (each for each in blocks(page, "yaml") if "name:" in each)
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


@pytest.mark.parametrize("module", [each.stem for each in EXAMPLES])
def test_an_example_keeps_its_contract(module: str, folder: Path) -> None:
    """A reader would start from a part that breaks what its page says must hold."""
    rayal.testing.check(part_of(module, folder))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "oracle"])
def test_the_experiment_of_a_page_runs(page: str, folder: Path, undrawn: None) -> None:
    """The YAML of a page would be refused, or its part fail in the middle of a run."""
    x = config.load(shown(page, folder), SHORT, ["my_parts"])
    go(x, folder / "run")

    assert any(name.startswith("my_parts.") for name in names(x))
    assert sum(map(len, chosen(folder / "run"))) == x.budget.total - x.budget.initial


def test_the_strategy_that_chooses_by_itself_runs(folder: Path, undrawn: None) -> None:
    """Its `select` would fail with what a run gives it."""
    options = [*SHORT, "strategy=my_parts.class_turns"]
    go(config.load(shown("strategy", folder), options, ["my_parts"]), folder / "run")

    assert [50, 50] == [len(ids) for ids in chosen(folder / "run")]


@pytest.mark.parametrize("page", PAGES)
def test_the_line_for_a_notebook_runs(page: str, folder: Path, undrawn: None) -> None:
    """Somebody who defines the part in a cell would copy a line that fails."""
    text = (OWN / f"{page}.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"In a notebook: `(.+?)`", text)
    file = shown(page, folder)
    fields = yaml.safe_load(file.read_text())
    short = {key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in SHORT)}
    file.write_text(yaml.safe_dump({**fields, **short}))
    (example,) = [each for each in EXAMPLES if f"examples/{each.name}" in text][-1:]
    known = {"rayal": rayal, **vars(importlib.import_module(f"my_parts.{example.stem}"))}
    if page == "strategy":
        known |= vars(importlib.import_module("my_parts.gini"))
    line = line.replace("epochs=40", "epochs=2")
    if page == "oracle":
        with pytest.raises(LabelsPending):
            eval(line, known)
    else:
        assert eval(line, known).complete


def names(x: Any) -> list[str]:
    parts = (x.dataset, x.model, x.scheme, x.strategy, x.oracle)
    return [part.part_name() for part in parts]


def test_a_run_waits_for_the_answers_file(folder: Path, undrawn: None) -> None:
    """People would be asked again for what they have answered, or for what nobody needs."""
    x = config.load(shown("oracle", folder), SHORT, ["my_parts"])
    truth = x.dataset.open().labels("pool")
    answers, rounds = Path(x.oracle.file), 0
    answers.write_text("id,class\n")
    while rounds < 10:
        try:
            go(x, folder / "run")
            break
        except LabelsPending as waiting:
            (asked,) = re.findall(r"\S+/asked\.csv", str(waiting))
            ids = Path(asked).read_text().splitlines()[1:]
            with answers.open("a") as file:
                file.writelines(f"{unit},{truth[unit]}\n" for unit in ids)
        rounds += 1

    assert rounds == 1 + len(chosen(folder / "run"))
    assert len(answers.read_text().splitlines()) == 1 + x.budget.total


def test_answers_from_a_file_keep_the_contract_too(folder: Path) -> None:
    """What the suite says of an oracle that waits is little; of one that answers it is all."""
    oracle = part_of("answers_file", folder)
    store = prepared(False)
    labels = store.labels("pool")
    lines = [f"{unit},{label}" for unit, label in labels.items()]
    lines[0] = f"{next(iter(labels))},?"
    Path(oracle.file).write_text("\n".join(["id,class", *lines]))
    rayal.testing.check(oracle)
    Path(oracle.file).write_text("id,class\nx,ten\n")

    with pytest.raises(DataError, match="x has class 'ten'; use one of"):
        oracle.answer(store, ["x"], None)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_includes_its_example(page: str) -> None:
    """A page would show no code, or code that nobody tries."""
    text = (OWN / f"{page}.md").read_text(encoding="utf-8")
    included = re.findall(r'--8<-- "docs/own/(examples/\w+\.py)"', text)

    assert included and all((OWN / each).exists() for each in included)


def test_every_example_is_on_a_page() -> None:
    """A file would be tested that no reader sees."""
    pages = "".join((OWN / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)

    assert [] == [each.name for each in EXAMPLES if f'examples/{each.name}"' not in pages]
