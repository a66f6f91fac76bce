"""Arms become experiments: merged as files are, checked all at once, each with a folder."""

from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import Plugins

BASE = """
name: s
dataset: digits
model: small_cnn
strategy: random
scheme: {epochs: 3}
budget: {initial: 20, per_cycle: 20, total: 40}
"""


@pytest.fixture
def swept(tmp_path: Path):
    """A sweep with this space, from a file that extends another."""

    def load(space: str, *overrides: str) -> SweptExperiment:
        (tmp_path / "base.yaml").write_text(BASE)
        text = f"extends: base.yaml\nsweep:\n  seeds: [3, 1]\n  space: {space}\n"
        (tmp_path / "sweep.yaml").write_text(text)
        return config.load_as(SweptExperiment, tmp_path / "sweep.yaml", overrides)

    return load


def test_an_arm_changes_its_fields_and_nothing_else(swept) -> None:
    """A part of another name replaces the whole part; a field of the same part keeps the rest."""
    x = swept("{}", "sweep.space={lr: {uniform: [0, 1]}}".replace("lr", "scheme"))
    made = trials.of_arms(x, [{"scheme": {"lr": 0.5}}, {"scheme": "tod", "strategy": "cod"}])
    assert [t.experiment.seed for t in made] == [3, 3, 1, 1], "seed by seed, so pairs come early"
    first, second = (t.experiment for t in made[:2])
    assert (first.scheme.lr, first.scheme.epochs, first.strategy.part_name()) == (0.5, 3, "random")
    assert (second.scheme.part_name(), second.scheme.epochs) == ("tod", 200)
    assert first.name == second.name == "s"


def test_folders_are_told_apart_and_found_again(swept) -> None:
    """Two arms in one folder would refuse each other; another name would start all over."""
    x = swept("{seed: 1}".replace("seed", "start"))
    arms = [{"scheme": {"lr": 0.1}}, {"scheme": {"lr": 0.2}}]
    folders = [trial.folder for trial in trials.of_arms(x, arms)]
    assert len(set(folders)) == 4
    assert folders == [trial.folder for trial in trials.of_arms(x, arms)]
    assert folders[0].startswith("random-supervised-") and folders[0].endswith("-seed3")


def test_an_arm_of_a_users_own_part(swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep could compare rayal's parts alone, or its file could run any code (K02)."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "support" / "plugins")
    arms = [{"strategy": {"name": "faulty.waits", "gate": str(tmp_path)}}]
    x = swept("{start: warm}")
    first, _ = trials.of_arms(x, arms, Plugins(["faulty"]))

    assert "faulty.waits" == first.experiment.strategy.part_name()
    with pytest.raises(UsageError, match="allow it on the command line: --plugins faulty"):
        trials.of_arms(x, arms)


def test_every_impossible_arm_is_told_at_once(swept) -> None:
    """One error per attempt would cost an evening."""
    x = swept("{start: warm}")
    with pytest.raises(UsageError) as raised:
        trials.of_arms(x, [{"strategy": "cud"}, {"scheme": {"lr": -1}}, {"start": "cold"}])
    message = str(raised.value)
    assert "2 problems in the arms of the sweep" in message
    assert "strategy=cud: " in message and "did you mean 'cod'?" in message
    assert "scheme.lr=-1: " in message and "greater than 0" in message


@pytest.mark.parametrize(
    ("space", "said", "step"),
    [
        ("{seed: {grid_search: [0, 1]}}", "list the seeds under sweep.seeds", {"seeds": (0, 1)}),
        ("{name: {grid_search: [a, b]}}", "cannot be varied; set it once", {"name": "a"}),
        ("{sceme: {grid_search: [tod]}}", "did you mean 'scheme'?", "{scheme: {choice: [tod]}}"),
    ],
)
def test_what_cannot_be_varied_is_refused(swept, space, said, step) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        trials.of_arms(swept(space), [{}])
    x = swept(step if isinstance(step, str) else "{start: warm}")
    if "seeds" in step:
        x = x.model_copy(update={"sweep": x.sweep.model_copy(update=step)})
    elif isinstance(step, dict):
        x = x.model_copy(update=step)
    assert len(x.sweep.seeds) == len(trials.of_arms(x, [{}]))


def test_a_relative_path_in_an_arm_starts_from_the_file(swept, tmp_path) -> None:
    """Trials run in other folders than the command."""
    x = swept("{model: {pretrained: {grid_search: [w.safetensors]}}}")
    (tmp_path / "w.safetensors").write_bytes(b"")
    from rayal.engine.draws import all_arms

    (first, _) = trials.of_arms(x, all_arms(x.sweep))
    assert first.experiment.model.pretrained == str(tmp_path / "w.safetensors")


def test_a_sweep_survives_being_written_down(swept) -> None:
    """`rayal submit` ships what it resolved here."""
    x = swept("{scheme: {lr: {loguniform: [0.01, 0.1]}}}")

    again = SweptExperiment.model_validate(x.model_dump(mode="json"))
    assert again == x
