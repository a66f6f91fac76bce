"""`rayal.replay`: what it returns, writes and refuses; tests/system/test_replay.py has what it
equals."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError
from rayal.storage.folder import Folder
from tests.support.pages import Page
from tests.support.whole_runs import files_of, stopped_at


@pytest.fixture(scope="module")
def found(runs: Path) -> rayal.Replay:
    """Of a run by entropy, twenty of 580 candidates."""
    return rayal.replay(runs / "entropy-0", strategy=["random", "core_set", "margin"], forward=True)


def test_the_numbers_fit_together(found: rayal.Replay, runs: Path) -> None:
    """Overlap, costs and classes of one replay would contradict each other."""
    told = json.loads(json.dumps(found.to_dict()))
    run = rayal.open_run(runs / "entropy-0")
    truth = run.experiment.dataset.open().labels("pool")
    own = [*run.chosen(0)]

    assert (told["cycle"], told["labels"], told["budget"], told["candidates"]) == (0, 20, 20, 580)
    assert told["own"]["ids"] == own and told["unit"] == "samples"
    assert [each["name"] for each in told["others"]] == ["random", "core_set", "margin"]
    for each, row in zip(told["others"], found.table().to_dict("records"), strict=True):
        its = each["ids"]
        assert its == found.chosen(each["name"]) and len(its) == 20 == each["cost"]
        assert each["both"] == [unit for unit in own if unit in its]
        assert each["only_own"] == [unit for unit in own if unit not in its]
        assert each["only_it"] == [unit for unit in its if unit not in own]
        assert each["share"] == len({*own} & {*its}) / 20 == row["share"]
        counts = Counter(str(truth[unit]) for unit in its)
        assert {name: n for name, n in each["classes"].items() if n} == counts
        assert (row["both"], row["only_own"]) == (len(each["both"]), len(each["only_own"]))
    assert [row["asked"] for row in told["others"]] == [False, True, True]


def test_scores_are_those_of_the_whole_pass(found: rayal.Replay, runs: Path, tiny: Any) -> None:
    """Where picks stand would be told of other candidates."""
    x = tiny(
        strategy="entropy",
        observers=["margin"],
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    watched = rayal.run(x, runs.parent / "watched")
    scores, own = watched.scores(0)["margin"], [*watched.chosen(0)]
    margin = found.others[2].standing

    assert found.others[1].standing is None  # core_set compares, and scores nothing
    assert margin is not None and margin.own is not None and margin.its is not None
    assert margin.candidates == (scores.min(), scores.median(), scores.max())
    assert margin.own.median == pytest.approx(scores[own].median())
    assert margin.its == (
        scores.nlargest(20).min(),
        scores.nlargest(20).median(),
        scores.max(),
    )
    assert margin.lower == (scores < scores[own].median()).mean()


def test_it_is_shown(found: rayal.Replay) -> None:
    """In a terminal, in a notebook and on a page, with the same numbers."""
    shown, page = str(found), Page(found.html())
    core_set = found.others[1]
    lines = [line.split() for line in shown.splitlines()]

    assert max(map(len, shown.splitlines())) <= 100
    assert shown.startswith("cycle 0 of tiny: entropy bought 20 units after 20 labels, of 580 cand")
    row = ["core_set", "20", str(len(core_set.both)), str(len(core_set.only_own))]
    assert [*row, str(len(core_set.only_it)), f"{100 * core_set.share:.0f}", "%", "again"] in lines
    assert page.tables["What would have been bought"][3][:5] == [*row, str(len(core_set.only_it))]
    assert f"Only core_set ({len(core_set.only_it)})" in page.text
    assert "core_set pick 1" in page.text and "rayal replay" in page.text
    pictures = [tag for tag, given in page.tags if tag == "img"]
    assert len(pictures) >= 3 * 12  # as many as the galleries show of each kind
    assert "<pre" in found._repr_html_() and repr(found).startswith("<Replay of cycle 0: entropy")


def test_names_are_text(runs: Path, tmp_path: Path) -> None:
    """A class name that is a script would run on the page."""
    root = tmp_path / "<img src=x onerror=alert(1)>"
    for split, count in (("train", 12), ("test", 4)):
        for number, name in enumerate(("<b>", "=1+1")):
            (root / split / name).mkdir(parents=True)
            for each in range(count):
                _square(root / split / name / f"<i>{number}-{each}.png", 20 * each + number)
    x = rayal.Experiment(
        name="names",
        dataset={"name": "image_folder", "root": str(root), "classes": ["<b>", "=1+1"], "size": 8},
        model={"name": "small_cnn", "width": 4},
        scheme={"epochs": 1, "batch_size": 4, "lr": 0.05},
        strategy="entropy",
        budget={"initial": 6, "per_cycle": 4, "total": 10},
        compute={"engine": "local", "cpus_per_worker": 1},
        tracking="none",
    )
    rayal.run(x, tmp_path / "run")
    page = Page(rayal.replay(tmp_path / "run", strategy="random").html())

    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert "<b>" in page.text and "<i>0-" in page.text
    assert all("onerror" not in given for _, given in page.tags)


def _square(file: Path, value: int) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), (value % 256, 90, 200)).save(file)


def test_what_is_written(runs: Path, tmp_path: Path) -> None:
    """The files would say something else than the object; and nothing else is left."""
    before = files_of(runs / "entropy-0")
    found = rayal.replay(runs / "entropy-0", strategy=["random", "entropy"], out=tmp_path / "out")
    page = found.write_html(tmp_path / "pages" / "replay.html")
    with open(tmp_path / "out" / "random.csv", newline="") as file:
        rows = [*csv.DictReader(file)]

    assert json.loads((tmp_path / "out" / "replay.json").read_text()) == found.to_dict()
    assert [row["id"] for row in rows] == found.chosen("random")
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 21)]
    own = {*found.shown.own.ids}
    assert [row["bought"] == "True" for row in rows] == [row["id"] in own for row in rows]
    assert found.others[1].share == 1 and (tmp_path / "out" / "entropy#2.csv").exists()
    assert page.read_text() == found.html()
    assert files_of(runs / "entropy-0") == before


def test_some_can_be_replayed(runs: Path) -> None:
    """One that cannot would hide the others, or be left out without a word."""
    found = rayal.replay(runs / "entropy-0", strategy=["random", "margin", "ll4al", "qbc"])

    assert [each.name for each in found.others] == ["random"]
    assert ["margin", "ll4al", "this run"] == [str(e).partition(":")[0] for e in found.errors]
    assert "add --forward" in str(found.errors[0])
    with pytest.raises(UsageError, match="3 problems, all else is done"):
        found.check()
    assert "add --forward" in Page(found.html()).text


def test_what_cannot_be_asked(runs: Path, tmp_path: Path) -> None:
    """Each is told before a model is asked, with the way out."""
    run = runs / "entropy-0"
    for strategy, message in (
        ("margn", "did you mean 'margin'"),
        ({"name": "power_margin", "bta": 3}, "did you mean 'beta'"),
        ("bald", r"model.*drop"),
        ("d_score", "supports segmentation"),
        ("qbc", "needs an ensemble"),
    ):
        with pytest.raises(UsageError, match=message):
            rayal.replay(run, strategy=strategy, forward=True)
    with pytest.raises(UsageError, match="no strategy is given; name one or more"):
        rayal.replay(run, strategy=[])
    assert rayal.replay(run, strategy=["random"]).chosen()
    with pytest.raises(UsageError, match="cycle 7 has chosen nothing; give one of cycles 0 to 0"):
        rayal.replay(run, strategy="random", cycle=7)
    assert rayal.replay(run, strategy="random", cycle=0).cycle == 0
    found = rayal.replay(run, strategy=["random", "entropy"])
    with pytest.raises(UsageError, match="'badge' is none of random, entropy#2; give one"):
        found.chosen("badge")
    assert found.chosen("random")
    with pytest.raises(UsageError, match="is not a run folder"):
        rayal.replay(runs, strategy="random")


def test_nothing_is_written_into_the_run(runs: Path, tmp_path: Path) -> None:
    """Its own page or files could be overwritten."""
    run = Path(shutil.copytree(runs / "entropy-0", tmp_path / "run"))
    before = files_of(run)
    with pytest.raises(UsageError, match=r"in the run folder.*; give another place"):
        rayal.replay(run, strategy="random", out=run / "replay")
    found = rayal.replay(run, strategy="random", out=tmp_path / "replay")
    with pytest.raises(UsageError, match=r"in the run folder.*; give another place"):
        found.write_html(run / "report.html")

    assert found.write_html(tmp_path / "replay.html").exists()
    assert files_of(run) == before


def test_a_cluster_needs_a_place(runs: Path, tmp_path: Path) -> None:
    """Workers elsewhere would write to a temporary folder of their own. What needs no model asks no
    cluster, wherever it is."""
    run = runs / "entropy-0"
    with pytest.raises(UsageError, match="need a place that all of them reach; give an --out"):
        rayal.replay(run, strategy="random", address="nowhere:1")

    assert rayal.replay(run, strategy="random", address="nowhere:1", out=tmp_path).chosen()


def test_another_torch_is_told(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Near ties would come out otherwise without a word; where no model is asked nothing can."""
    run = Path(shutil.copytree(runs / "entropy-0", tmp_path / "run"))
    (made,) = Folder(run).read_sealed("history.json")["attempts"]
    torch, made["versions"]["torch"] = made["versions"]["torch"], "1.0"
    Folder(run).write_sealed("history.json", {"attempts": [made]})
    rayal.replay(run, strategy="random")
    assert "was computed with" not in caplog.text
    rayal.replay(run, strategy="margin", forward=True)

    assert f"(there -> here): torch 1.0 -> {torch}; scores may differ" in caplog.text


def test_before_anything_is_chosen(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """A run that trains its first model has bought nothing that could be compared."""
    x = tiny(
        strategy="entropy",
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    stopped_at(x, tmp_path / "run", 0, "score")
    with pytest.raises(UsageError, match="no cycle has chosen anything yet; wait until one has"):
        rayal.replay(tmp_path / "run", strategy="random")
    rayal.run(x, tmp_path / "run")

    assert len(rayal.open_run(tmp_path / "run").replay("random").chosen()) == 20
