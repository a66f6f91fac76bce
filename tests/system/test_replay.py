"""`rayal replay` against real runs of the other strategies, which go on from the same state."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import PrunedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from tests.support.branched import branched
from tests.support.doubles import small_strategy, strategies_for
from tests.support.recorded import write_votes
from tests.support.whole_runs import chosen, files_of, go, stopped_at

FIELDS: dict[str, Any] = {
    "dataset": {"name": "digits", "limit_pool": 200, "limit_test": 50},
    "model": {"name": "small_cnn", "width": 8, "dropout": 0.3},
    "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    "budget": {"initial": 20, "per_cycle": 20, "total": 80},
    "compute": {"engine": "local", "shard_rows": 128, "cpus_per_worker": 1},
    "ensemble": 2,
}
BESIDE = {"ll4al", "ta_vaal", "emaod", "ads", "epmcm"}
"""Strategies that read what is trained beside the model."""
FITTED = ("vaal", "sraal", "core_gcn", "uncertain_gcn")
ALL = [name for name in strategies_for("classification") if name not in {*BESIDE, "margin"}]
SIX = ["random", "entropy", "cod", "badge", "core_set", "bald"]


class Runs:
    """A run that chooses by margin, and the same one with observers, which choose nothing."""

    def __init__(self, tiny: Callable[..., Any], folder: Path) -> None:
        self.tiny, self.folder = tiny, folder
        self._real = dict[tuple[str, int], tuple[str, ...]]()
        self.bare, self.fitting, self.looking = (
            folder / name for name in ("bare", "fitting", "looking")
        )
        go(self.x("margin"), self.bare)
        go(self.x("margin", observers=[small_strategy(name) for name in FITTED]), self.fitting)
        go(self.x("margin", observers=["cod"]), self.looking)

    def x(self, strategy: Any, **fields: Any) -> Experiment:
        made: Experiment = self.tiny(**{**FIELDS, "strategy": strategy, **fields})
        return made

    def real(self, name: str, cycle: int) -> tuple[str, ...]:
        """What a real run of this strategy chooses; some need what cycles
        before kept or fitted for them, as observers."""
        if (name, cycle) not in self._real:
            others = {"cod": self.looking, **dict.fromkeys(FITTED, self.fitting)}
            out = self.folder / f"{name}-{cycle}"
            x = self.x(small_strategy(name))
            self._real[name, cycle] = branched(others.get(name, self.bare), cycle, x, out)
        return self._real[name, cycle]


def bought_twice(x: Experiment, out: Path) -> None:
    """A run that has chosen in cycle 1 and goes no further: all that a replay of that asks for."""
    stopped_at(x, out, 2, "train")


@pytest.fixture(scope="module")
def runs(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(tiny, tmp_path_factory.mktemp("replays"))
    assert chosen(made.bare) == chosen(made.fitting) == chosen(made.looking)
    return made


@pytest.fixture(scope="module")
def asked(runs: Runs) -> Any:
    """All strategies, replayed from the bare run: of cycle 1."""
    return rayal.replay(
        runs.bare, cycle=1, strategy=[small_strategy(name) for name in ALL], forward=True
    )


@pytest.mark.parametrize("name", ALL)
def test_it_equals_a_real_run_that_goes_on_from_there(runs: Runs, asked: Any, name: str) -> None:
    """A replay would show what no run of that strategy had ever bought."""
    found = asked.chosen(name)

    assert len(found) == 20
    assert found == list(runs.real(name, 1))


@pytest.mark.parametrize("cycle", [0, 2])
def test_in_the_first_and_the_last_cycle(runs: Runs, cycle: int) -> None:
    """In the first one no model was there before; in the last no cycle follows."""
    found = rayal.replay(runs.bare, cycle=cycle, strategy=SIX, forward=True)

    for name in SIX:
        assert found.chosen(name) == list(runs.real(name, cycle)), name


def test_the_first_cycle_is_that_of_a_run_of_its_own(runs: Runs, tmp_path: Path) -> None:
    """All strategies of a seed share what comes before their first choice."""
    found = rayal.replay(runs.bare, cycle=0, strategy=["entropy", "core_set"], forward=True)
    for name in ("entropy", "core_set"):
        stopped_at(runs.x(name), tmp_path / name, 1, "train")

        assert found.chosen(name) == chosen(tmp_path / name)[0]


KEPT = ["random", "entropy", "cod", "core_set", "badge", "typiclust", "power_margin", "margin"]


def test_what_was_kept_suffices(runs: Runs, tmp_path: Path) -> None:
    """Strategies that were observed, that compare what is kept, and random ask no model again: the
    weights may be gone. The names of columns and what else was scored must not matter."""
    observers = ["power_margin", {"name": "cod"}, "entropy", "core_set", "badge"]
    go(runs.x("margin", observers=observers), tmp_path / "run")
    rayal.prune(tmp_path / "run", weights="none", shards="all")
    before = files_of(tmp_path / "run")

    found = rayal.replay(tmp_path / "run", cycle=1, strategy=KEPT)

    assert not any(each.asked for each in found.others) and not found.errors
    for name in KEPT[:-1]:
        assert found.chosen(name) == list(runs.real(name, 1)), name
    assert found.chosen("margin#2") == chosen(tmp_path / "run")[1]  # itself
    assert files_of(tmp_path / "run") == before


def test_the_second_of_a_name_among_observers(runs: Runs, tmp_path: Path) -> None:
    """Its column is called otherwise than in a run of its own; with other settings it is another
    strategy, which the pass has not scored."""
    sharp = {"name": "power_margin", "beta": 3.0}
    bought_twice(runs.x("margin", observers=["power_margin", sharp]), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=[sharp])
    real = branched(runs.bare, 1, runs.x(sharp), tmp_path / "real")

    assert found.chosen() == list(real)
    with pytest.raises(UsageError, match=r"has not kept the score of power_margin"):
        rayal.replay(tmp_path / "run", strategy={"name": "power_margin", "beta": 7.5})


def test_nothing_of_the_run_is_changed(runs: Runs, tmp_path: Path) -> None:
    """A look at what might have been would damage what was."""
    before = files_of(runs.bare)
    strategies = [small_strategy(name) for name in ("cod", "vaal", "core_set", "random")]
    rayal.replay(runs.bare, strategy=strategies, forward=True, out=tmp_path / "out")

    assert files_of(runs.bare) == before
    assert (tmp_path / "out" / "replay.json").exists()


def test_what_is_trained_beside_the_model(runs: Runs, tmp_path: Path) -> None:
    """A run that has not trained it cannot say what it would have chosen; one that has, can."""
    with pytest.raises(UsageError, match="ll4al: it reads a loss_head that is trained beside"):
        rayal.replay(runs.bare, strategy="ll4al", forward=True)
    bought_twice(runs.x("ll4al"), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=["ll4al", "margin"], forward=True)
    real = branched(tmp_path / "run", 1, runs.x("margin"), tmp_path / "real")

    assert found.chosen("ll4al#2") == chosen(tmp_path / "run")[1]
    assert found.chosen("margin") == list(real)


def test_companions_that_change_nothing(runs: Runs, tmp_path: Path) -> None:
    """Class statistics are kept for an observer; then epmcm needs its model alone, also where it
    updates them while it selects."""
    updating = {"name": "epmcm", "update_while_scoring": True}
    bought_twice(runs.x("margin", observers=["epmcm"]), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=["epmcm", updating], forward=True)

    assert [each.asked for each in found.others] == [False, True]
    for number, strategy in enumerate(("epmcm", updating)):
        real = branched(tmp_path / "run", 1, runs.x(strategy), tmp_path / f"real-{number}")
        assert found.others[number].bought.ids == real


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"candidates": 120}, id="candidates"),
        pytest.param({"guards": {"per_class": 4}}, id="per_class"),
        pytest.param({"guards": {"min_distance": 0.02}}, id="min_distance"),
        pytest.param({"start": "cold"}, id="cold"),
        pytest.param({"explore": 0.2}, id="explore"),
        pytest.param({"scheme": {**FIELDS["scheme"], "name": "tod"}}, id="tod"),
    ],
)
def test_other_experiments(runs: Runs, tmp_path: Path, fields: dict[str, Any]) -> None:
    """Random subsets of candidates, guards and schemes belong to the state, too."""
    names = ["random", "entropy", "entropy_gradnorm"]
    bought_twice(runs.x("margin", **fields), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=names, forward=True)

    for name in names:
        x = runs.x(name, **fields)
        real = branched(tmp_path / "run", 1, x, tmp_path / name)
        assert found.chosen(name) == list(real), name


def test_guards_refuse_what_does_not_rank(runs: Runs, tmp_path: Path) -> None:
    """As a run of it would be refused; the others are replayed all the same."""
    bought_twice(runs.x("margin", guards={"per_class": 4}), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", strategy=["core_set", "entropy"], forward=True)

    assert [each.name for each in found.others] == ["entropy"]
    with pytest.raises(UsageError, match=r"guards.*core_set|core_set.*guards"):
        found.check()


def test_votes_that_are_asked_for_again(runs: Runs, tmp_path: Path) -> None:
    """Of a strategy that asks for labels again the candidates are others, and votes are its
    input."""
    write_votes(tmp_path / "votes.csv", runs.x("margin").dataset.open(), wrong=0.33)
    fields = {
        "oracle": {"name": "recorded", "file": str(tmp_path / "votes.csv")},
        "budget": {**FIELDS["budget"], "unit": "votes"},
    }
    bought_twice(runs.x("margin", **fields), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=["active_lab", "random"], forward=True)

    for name in ("active_lab", "random"):
        real = branched(tmp_path / "run", 1, runs.x(name, **fields), tmp_path / name)
        assert found.chosen(name) == list(real), name


def test_a_total_that_has_grown(runs: Runs, tmp_path: Path) -> None:
    """The cycle that was the last one had less to spend than it would have today."""
    short = {"initial": 20, "per_cycle": 20, "total": 50}
    go(runs.x("margin", budget=short), tmp_path / "run")
    real = branched(tmp_path / "run", 1, runs.x("entropy", budget=short), tmp_path / "real")
    go(runs.x("margin"), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy="entropy", forward=True)

    assert len(real) == 10
    assert found.chosen() == list(real)


def test_what_was_pruned(runs: Runs, tmp_path: Path) -> None:
    """Without weights models cannot be asked; random needs neither them nor scores."""
    shutil.copytree(runs.bare, tmp_path / "run")
    rayal.prune(tmp_path / "run", weights="none", shards="none")
    found = rayal.replay(tmp_path / "run", cycle=1, strategy=["random", "entropy"], forward=True)

    assert found.chosen() == list(runs.real("random", 1))
    with pytest.raises(PrunedError, match=r"the weights of cycle 1, which were pruned"):
        found.check()


def test_without_scores_models_are_asked(runs: Runs, tmp_path: Path) -> None:
    """The weights say it all; of the model before, too, whose own pass is gone."""
    shutil.copytree(runs.looking, tmp_path / "run")
    rayal.prune(tmp_path / "run", weights="all", shards="none")
    with pytest.raises(UsageError, match=r"add --forward"):
        rayal.replay(tmp_path / "run", cycle=1, strategy="entropy")
    found = rayal.replay(
        tmp_path / "run", cycle=1, strategy=["cod", "margin", "core_set"], forward=True
    )

    assert found.chosen("cod") == list(runs.real("cod", 1))
    assert found.chosen("margin#2") == chosen(runs.bare)[1]
    assert found.chosen("core_set") == list(runs.real("core_set", 1))


def test_two_of_one_name_that_cannot_share_a_pass(runs: Runs) -> None:
    """Networks of one name and different sizes are fitted apart."""
    small, wide = (
        {
            "name": "vaal",
            "vaal": {"width": width, "discriminator_width": 16, "batch_size": 32, "epochs": 1},
        }
        for width in (4, 8)
    )
    both = rayal.replay(runs.bare, cycle=1, strategy=[small, wide], forward=True)
    alone = rayal.replay(runs.bare, cycle=1, strategy=wide, forward=True)

    assert both.chosen("vaal") == list(runs.real("vaal", 1))
    assert both.chosen("vaal#2") == alone.chosen() != both.chosen("vaal")


def test_a_run_that_is_not_complete(runs: Runs, tmp_path: Path) -> None:
    """Cycles that have chosen can be replayed while others are still to come."""
    shutil.copytree(runs.bare, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "cycle-003")
    shutil.rmtree(tmp_path / "run" / "cycle-002")
    record = Record(Folder(tmp_path / "run"))
    found = rayal.replay(tmp_path / "run", strategy="entropy", forward=True)

    assert (found.cycle, record.result(1, Chosen) is not None) == (1, True)
    with pytest.raises(UsageError, match="cycle 2 has chosen nothing; give one of cycles 0 to 1"):
        rayal.replay(tmp_path / "run", cycle=2, strategy="entropy", forward=True)
