"""`rayal.run`, `rayal.open_run` and `rayal.Run`: what a run's folder says, in Python."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayal
from rayal.data.store import Store
from rayal.errors import LockedError, UsageError
from rayal.experiment import config
from rayal.runs.events import Event
from rayal.runs.ledger import Ledger
from rayal.runs.results import Evaluated
from rayal.training.augment import normalise
from tests.support.whole_runs import chosen, files_of, outcome, short

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


class Stop(Exception):
    """What an observer of these tests ends a run with."""


@pytest.fixture(scope="module")
def x(tiny: Any) -> Any:
    return short(tiny, strategy="entropy", observers=["random"])


@pytest.fixture(scope="module")
def mine(x: Any, tmp_path_factory: pytest.TempPathFactory) -> rayal.Run:
    return rayal.run(x, tmp_path_factory.mktemp("runs") / "mine")


def test_a_run_is_what_its_folder_says(mine: rayal.Run, x: Any) -> None:
    """Tables, ids and labels would be of something else than what was done."""
    curve, labels = mine.curve(), mine.labels()
    picks = chosen(Path(mine.url))

    assert mine.complete and mine.experiment == x
    assert ["cycle", "labels", "cost", "accuracy"] == [*curve.columns[:4]]
    assert [(0, 20), (1, 40), (2, 60)] == [*zip(curve["cycle"], curve["labels"], strict=True)]
    assert picks == [mine.chosen(0), mine.chosen(1)]
    assert [-1] * 20 + [0] * 20 + [1] * 20 == [*labels["cycle"]]
    assert picks[0] == [*labels["id"][20:40]]
    assert {*range(10)} >= {*labels["label"]}
    choices = mine.choices()
    assert picks[0] + picks[1] == [*choices["id"]]
    assert [*range(1, 21)] * 2 == [*choices["rank"]]


def test_scores_are_those_that_chose(mine: rayal.Run) -> None:
    """A table with another order than the shards', or other ids, would explain nothing."""
    scores, choices = mine.scores(1), mine.choices()
    second = choices[choices["cycle"] == 1]

    assert ["entropy", "random"] == [*scores.columns]
    assert scores.index.is_unique and scores.index.is_monotonic_increasing
    assert 300 - 40 == len(scores)
    assert [*second["score"]] == [*scores.loc[second["id"], "entropy"]]
    best = scores["entropy"].nlargest(20)
    assert set(second["id"]) == set(best.index)


def test_the_model_is_the_one_that_was_evaluated(mine: rayal.Run, x: Any) -> None:
    """Weights of another cycle, or a network in training mode, would predict something else."""
    store: Store = x.dataset.open()
    ids = store.test.ids()
    decoded = store.test.decode(store.test.take(ids))
    images = normalise(torch.from_numpy(decoded.images), store.card.image)
    labels = store.labels("test", decoded.ids)
    wanted = np.array([labels[unit] for unit in decoded.ids])
    for cycle, accuracy in enumerate(mine.curve()["accuracy"]):
        with torch.no_grad():
            said = mine.model(cycle)(images).logits.argmax(1).numpy()
        assert math.isclose(accuracy, (said == wanted).mean())
    last, newest = mine.model(2).state_dict(), mine.model().state_dict()
    assert all(torch.equal(last[name], newest[name]) for name in last)
    assert not mine.model().training


def test_a_part_of_ones_own_as_an_instance(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run would be made, and could then neither be shown nor read."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    from faulty.raises import Raises

    (tmp_path / "marks").mkdir()
    (tmp_path / "marks/0").touch()  # it works after its first call
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    x = short(tiny, strategy=Raises(marker=str(tmp_path / "marks")), budget=budget)
    run = rayal.run(x, tmp_path / "run")

    assert x == run.experiment and len(run.pictures(0).axes)
    assert 1 == len(rayal.sync(run, plugins=["faulty"]))
    with rayal.ActiveLearner(x, tmp_path / "asked") as learner:
        assert "faulty.raises" == learner.run.experiment.strategy.part_name()
    with pytest.raises(UsageError, match=r"code outside rayal; .*in Python: plugins=\['faulty'\]"):
        print(rayal.open_run(run.url).experiment)
    assert x == rayal.open_run(run.url, plugins=["faulty"]).experiment


def test_who_reads_a_run_changes_nothing(mine: rayal.Run) -> None:
    """A reader that wrote could end the run that it looks at."""
    before = files_of(Path(mine.url))
    again = rayal.open_run(mine.url)
    again.curve(), again.labels(), again.scores(0), again.model(), again.plot()

    assert before == files_of(Path(mine.url))
    assert again.curve().equals(mine.curve())
    assert "score_seconds" in mine.curve() and "fit_seconds" not in mine.curve()  # fits nothing


def test_a_notebook_shows_a_run(mine: rayal.Run) -> None:
    """`<rayal.api.opened_run.Run object at 0x...>` says nothing, and a name may hold HTML."""
    assert "tiny: entropy, seed 0, complete, 60 labels, accuracy 0." in repr(mine)
    html = mine._repr_html_()
    assert html.count("<tr") == 4 and mine.url in html
    assert mine.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_the_same_call_continues(x: Any, mine: rayal.Run, tmp_path: Path) -> None:
    """Ctrl-C in a notebook would cost the run."""
    told: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event.result, Evaluated) and event.cycle == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rayal.run(x, tmp_path / "run", on_event=stop)
    half = rayal.open_run(tmp_path / "run")
    assert not half.complete and 2 == len(half.curve())
    whole = rayal.run(x, tmp_path / "run", on_event=told.append)

    assert whole.complete
    assert outcome(Path(whole.url)) == outcome(Path(mine.url))
    assert "score" == told[1].stage and 1 == told[1].cycle


def test_the_first_event_says_where_and_whether_there_is_work(x: Any, tmp_path: Path) -> None:
    """Whoever shows a run could not say which, nor why nothing happens."""
    told: list[Event] = []

    class Observing:
        def on(self, event: Event) -> None:
            told.append(event)

    url = str(tmp_path / "run")
    rayal.run(x, url, on_event=told.append)
    assert Event("opened", "run", url=url) == told[0]
    assert f"run: opened  {url}" == str(told[0])
    assert [] == [event for event in told[1:] if event.what == "opened"]
    told.clear()
    rayal.run(x, url, on_event=Observing())

    assert [Event("opened", "run", url=url, note="complete already")] == told


def test_before_there_is_anything_to_read(x: Any, tmp_path: Path) -> None:
    """A run that has only begun is no reason for a traceback."""

    def stop(event: Event) -> None:
        if event.what == "begun":
            raise Stop

    with pytest.raises(Stop):
        rayal.run(x, tmp_path, on_event=stop)
    run = rayal.open_run(tmp_path)

    assert (0, 0, 0) == (len(run.curve()), len(run.labels()), len(run.choices()))
    assert ["cycle", "labels", "cost"] == [*run.curve().columns]
    assert "not complete" in repr(run) and run._repr_html_()
    assert run.plot() is not None


@pytest.mark.parametrize("ask", ["chosen", "scores", "model"])
def test_a_cycle_that_is_not_there(mine: rayal.Run, ask: str) -> None:
    """A cycle that was not done is a mistake of the caller's, told with those that are there."""
    for cycle in (3, -1):
        with pytest.raises(UsageError, match=rf"cycle {cycle} has no result .*; cycles 0 to \d"):
            getattr(mine, ask)(cycle)


def test_what_cannot_be_run_is_told(x: Any, tmp_path: Path) -> None:
    """A path for an experiment, or a text for an observer, would end in an AttributeError."""
    file, told = tmp_path / "x.yaml", list[Event]()
    file.write_text(config.dump(x))
    with pytest.raises(UsageError, match="takes an experiment, got .*x.yaml'; use rayal.load"):
        rayal.run("x.yaml", tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="on_event: 5 cannot be called; give a function"):
        rayal.run(x, tmp_path / "run", on_event=5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is not a run folder"):
        rayal.open_run(tmp_path / "run")

    assert rayal.run(rayal.load(file), tmp_path / "run", on_event=told.append).complete
    assert told


def test_a_locked_run_can_be_taken(x: Any, tmp_path: Path) -> None:
    """Two processes that write one run would spoil it; a dead one must not keep it for ever."""
    from rayal.storage.folder import Folder
    from rayal.workflows.run import identity_of

    with Ledger(Folder(tmp_path), identity_of(x, x.dataset.open())):
        with pytest.raises(LockedError):
            rayal.run(x, tmp_path)
        assert rayal.run(x, tmp_path, break_lock=True).complete
