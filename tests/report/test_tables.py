import csv
import io
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from rich.console import Console

from rayal.labeling.oracles.base import Label
from rayal.report.curve_table import COLUMNS
from rayal.report.curves import draw
from rayal.report.groups import group
from rayal.report.runs import Run
from rayal.report.shown import text as shown_text
from rayal.report.tables import Summary, summarise
from rayal.runs.find_records import find_records
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.results import Evaluated, Initial, Trained
from rayal.storage.folder import Folder
from tests.support.doubles import evaluated, filled, trained

FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

BASE = Run("a", "digits", "cod", "supervised", 0, "accuracy", {}, True, "/runs/x")


def runs(strategy: str, seeds: int, height: float = 0.5, cycles: int = 2, **changes: object):
    """Runs whose accuracy grows by 0.1 per 10 labels; a seed adds 0.01."""
    return [
        replace(
            BASE,
            strategy=strategy,
            seed=seed,
            points={10 * n: height + 0.1 * n + 0.01 * seed for n in range(1, cycles + 1)},
            **changes,
        )
        for seed in range(seeds)
    ]


SUMMARY = Summary(group(runs("cod", 3, 0.55) + runs("random", 3)))


def test_markdown_by_hand() -> None:
    """Pasted into papers and pull requests: mean 0.66 +- 4.303 * 0.01 / sqrt(3) in percent."""
    lines = SUMMARY.to_markdown().splitlines()

    assert "### a on digits: accuracy (%) by labels" in lines
    assert "| strategy | n | 10 | 20 | AULC |" in lines
    assert "| cod | 3 | 66.00 ± 2.48 | 76.00 ± 2.48 | 71.00 ± 2.48 |" in lines
    assert "| cod - random | 3 | 5.00 ± 0.00 | < 0.001 | < 0.001 | cod higher |" in lines


def test_a_name_acts_on_nothing() -> None:
    """A run folder from elsewhere may hold escape codes, markup or another column."""
    hostile = Summary(group(runs("cod", 2, name="\x1b[2J|[red]x", scheme="a|b")))
    file = io.StringIO()
    Console(file=file, width=200).print(hostile.to_rich())
    title = "[2J|[red]x on digits: accuracy (%) by labels"

    assert rf"\x1b{title}" in file.getvalue() and "\x1b" not in file.getvalue()
    assert r"### \\x1b\[2J\|\[red\]x on digits" in hostile.to_markdown()
    assert "\x1b[2J|[red]x" == json.loads(hostile.to_json())["groups"][0]["name"]


def test_warnings_come_first() -> None:
    """Three seeds without a baseline look as convincing in a table as thirty with one."""
    partial = [replace(run, complete=False, seed=9) for run in runs("cod", 1)]
    summary = Summary(group(runs("cod", 3, 0.55) + runs("margin", 3) + partial))
    baseline, unfinished, few = summary.to_markdown().split("\n\n")[:3]

    assert "no random baseline" in baseline
    assert "1 of 7 runs not complete" in unfinished
    assert "n = 3 is not enough to rank strategies; run 5 seeds or more of each" in few
    assert [] == Summary(group(runs("cod", 5) + runs("random", 5))).warnings


def test_baseline_of_another_scheme_does_not_count() -> None:
    """A better scheme would pass for a better strategy."""
    summary = Summary(group(runs("cod", 5, scheme="isda") + runs("random", 5)))

    assert any("no random baseline with scheme isda" in text for text in summary.warnings)


def test_different_beginnings_are_told() -> None:
    """A table would compare what does not belong together (L05)."""
    other = [replace(run, initial=frozenset("x")) for run in runs("random", 5)]
    summary = Summary(group(runs("cod", 5, 0.55) + other))
    (warning,) = summary.warnings

    assert "cod and random began with different units for seed 0, 1, 2, 3, 4" in warning
    assert "cod - random" not in summary.to_markdown()


def test_a_gap_is_shown_as_one() -> None:
    """Zero, or a mean over fewer seeds, would be read as a result."""
    uneven = [*runs("cod", 1, cycles=3), *runs("cod", 2, cycles=2)[1:]]
    summary = Summary(group(uneven))
    row = next(line for line in summary.to_markdown().splitlines() if line.startswith("| cod"))
    last = list(csv.DictReader(io.StringIO(summary.to_csv())))[-1]

    assert "–" == row.split(" | ")[4]
    assert ("30", "1", "") == (last["labels"], last["n"], last["mean"])


def test_csv_is_complete_and_unrounded() -> None:
    """Figures of papers are drawn from it."""
    rows = list(csv.DictReader(io.StringIO(SUMMARY.to_csv())))
    first = rows[0]

    assert 4 == len(rows)
    assert ("cod", "supervised", "10", "3") == tuple(
        first[key] for key in ("strategy", "scheme", "labels", "n")
    )
    assert_allclose(float(first["mean"]), 0.66, rtol=1e-12)
    assert_allclose(float(first["half_interval"]), 0.0248413771175033, rtol=1e-12)


def test_json_holds_every_run() -> None:
    """Whoever doubts a test can do another one."""
    (found,) = json.loads(SUMMARY.to_json())["groups"]

    assert_allclose(list(found["arms"][0]["aulc"]["by_seed"].values()), [0.70, 0.71, 0.72])
    assert [10, 20] == found["aulc_labels"]
    assert "cod higher" == found["pairs"][0]["verdict"]


def test_one_seed_has_no_interval() -> None:
    """± 0.00 would claim certainty."""
    assert "| cod | 1 | 60.00 | 70.00 | 65.00 |" in Summary(group(runs("cod", 1))).to_markdown()


def test_other_metrics_are_not_percent() -> None:
    """A likelihood of 1.2 nats is not 120 %."""
    text = Summary(group(runs("cod", 1, 1.1, metric="nll"))).to_markdown()

    assert "nll by labels" in text and "1.2000" in text


def test_many_cycles_fit_a_page() -> None:
    """The first and the last label count stay."""
    (table,) = Summary(group(runs("cod", 1, cycles=40))).tables()

    assert ["10", "400"] == [table.header[2], table.header[-2]]
    assert COLUMNS == len(table.header) - 3


@pytest.mark.parametrize("width", [80, 200])
def test_terminal(width: int) -> None:
    """What `rayal report` prints."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(SUMMARY.to_rich())
    text = console.export_text()

    assert "warning: a on digits: n = 3 is not enough" in text
    assert "cod - random" in text and "accuracy (%)" in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("cycles, width", [(6, 80), (6, 200), (40, 200)])
def test_a_terminal_shows_the_label_counts_that_it_has_room_for(cycles: int, width: int) -> None:
    """A dip in the middle was left out of a table half as wide as the terminal, without a word."""
    summary = Summary(group(runs("cod", 2, cycles=cycles)))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary.to_rich())
    text = console.export_text()
    (header,) = [line.split() for line in text.splitlines() if "strategy   n " in line]
    shown, every = header[2:-1], [str(10 * n) for n in range(1, cycles + 1)]
    left = [at for at in every if at not in shown]

    assert max(map(len, text.splitlines())) <= width
    assert COLUMNS <= len(shown) and (cycles, width) != (6, 200) or every == shown
    assert (COLUMNS < len(shown)) == (width == 200)
    said = f"{len(shown)} of {cycles} label counts, without {', '.join(left[:5])}"
    assert (said in " ".join(text.split())) == bool(left)


def test_a_table_asks_for_no_more_room_than_its_least_form() -> None:
    """Every line of it would be wrapped by a narrow terminal."""
    summary = Summary(group(runs("cod", 2, cycles=60)))
    wide = max(map(len, shown_text(summary.to_rich()).splitlines()))

    assert wide <= 120
    assert "5 of 60 label counts, without 20, 30, 40, 50, 60 and 50 more" in summary.to_markdown()


def test_nothing_to_say_about_nothing() -> None:
    """A run that has only begun is no error."""
    begun = Summary(group([replace(BASE, complete=False)]))

    assert "| cod | 1, 1 partial | – |" in begun.to_markdown()
    assert "\n" == Summary(()).to_markdown()


def test_a_large_sweep_takes_seconds() -> None:
    """20 strategies, 10 seeds, 50 cycles: 190 pairs."""
    many = [run for n in range(20) for run in runs(f"s{n}", 10, 0.01 * n, cycles=50)]
    started = time.process_time()
    summary = Summary(group(many))
    sizes = [len(form) for form in (summary.to_markdown(), summary.to_csv(), summary.to_json())]

    assert min(sizes) > 1000
    assert time.process_time() - started < 5


def test_a_hundred_run_folders_of_a_thousand_classes(tmp_path: Path) -> None:
    """A report of a sweep would take minutes, or be a page that no browser opens (M05)."""
    classes = {"per_class_accuracy": [0.5] * 1000}
    experiment = {
        **{
            "name": "big",
            "budget": {"initial": 10, "per_cycle": 1, "total": 50},
            "task": {"name": "classification"},
        },
        **{part: {"name": "x"} for part in ("dataset", "strategy", "scheme")},
    }
    with tempfile.TemporaryDirectory(dir=FAST_DISK) as place:
        first = Folder(place) / "000"
        with Ledger(first, {}) as ledger:
            answers = {f"unit-{n}": Label(n, 1.0) for n in range(10)}
            ledger.once(0, Initial, lambda out: write_labels(out, answers))
            for cycle in range(5):
                labels = 10 + 10 * cycle
                found = evaluated(labels, accuracy=0.1 * cycle, nll=1.0, **classes)
                ledger.once(cycle, Trained, lambda out: trained())
                ledger.once(cycle, Evaluated, lambda out, found=found: found)
            filled(ledger, 5)
        for number in range(100):
            run, (strategy, seed) = Path(place, f"{number:03d}"), divmod(number, 10)
            if number:
                shutil.copytree(Path(place, "000"), run)
            fields = experiment | {"seed": seed, "strategy": {"name": f"s{strategy}"}}
            (run / "experiment.yaml").write_text(json.dumps(fields))
        started = time.process_time()
        summary = summarise(find_records([place]))
        texts = [summary.to_markdown(), summary.to_csv(), summary.to_json()]
        draw(summary, tmp_path / "curves.png", tmp_path / "curves.svg")
        took = time.process_time() - started
    svg = (tmp_path / "curves.svg").read_text()

    assert 45 == texts[0].count("| tie |")
    assert took < 10
    assert sum(map(len, texts)) + len(svg) + (tmp_path / "curves.png").stat().st_size < 20e6
    assert not re.search(r"""(href|src)=["'](?!#)|url\((?!#)|@import""", svg)


def test_agreement_by_hand() -> None:
    """Who observes strategies would have to compare their choices by hand."""
    shares = [{("cod", "margin"): 0.25, ("cod", "random"): 0.1}, {("cod", "margin"): 0.75}]
    seeds = [
        replace(run, agreement=share) for run, share in zip(runs("cod", 2), shares, strict=True)
    ]
    lines = Summary(group(seeds)).to_markdown().splitlines()

    at = lines.index("### a on digits: agreement (%) while cod selects")
    table = [line for line in lines[at:] if line.startswith("|")]
    assert ["| strategy | cod | margin |", "| --- | --- | --- |"] == table[:2]
    assert ["| cod | – | 50 |", "| margin | 50 | – |"] == table[2:]
