"""VAAL, TA-VAAL and SRAAL: which images come first, what of them counts, and whole runs of them.

N images, L latent numbers.
"""

import copy
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.models.companions.variational import LatentJudge
from rayal.parts import build
from rayal.runs.ledger import Ledger
from rayal.selection.candidates import Candidates
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from rayal.testing.bench import UNITS, Bench
from tests.support.doubles import SMALL_FIT, Silent, small_strategy

NAMES = ["vaal", "ta_vaal", "sraal"]


def judge_of(bench: Bench) -> LatentJudge:
    (judge,) = (each for _, each in bench.companions if isinstance(each, LatentJudge))
    return judge


def scores(strategy: Strategy, bench: Bench, rows: Any = range(UNITS)) -> Tensor:
    found = bench.score(strategy, rows)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_takes_the_smallest_d(name: str) -> None:
    """By a discriminator that is a known linear function of the latent mean, the K images which it
    takes least for labeled."""
    strategy = small_strategy(name)
    bench = Bench.of(strategy)
    judge, weights = judge_of(bench), torch.linspace(-1, 2, 32)
    linear = nn.Linear(32 + (name == "ta_vaal"), 1)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[0, :32], linear.bias[0] = weights, 0.3
        judge.discriminator.layers = nn.Sequential(linear)
        d = (judge.vae.encode(bench.images).mean @ weights + 0.3).sigmoid()

    pool = Candidates(Ids(bench.ids), scores(strategy, bench).numpy().astype(float))
    chosen = strategy.select(pool, 5, np.random.default_rng(0))
    assert [bench.ids[row] for row in d.argsort()[:5]] == list(chosen)


def test_the_rank_counts() -> None:
    """The same image with another predicted loss is another unit: the task is what TA-VAAL adds."""
    strategy = small_strategy("ta_vaal")
    bench = Bench.of(strategy)
    before = scores(strategy, bench)
    (head,) = (each for spec, each in bench.companions if isinstance(spec, LossHeadSpec))
    with torch.no_grad():
        head.get_submodule("classifier").get_parameter("weight").mul_(-20)
    after = scores(strategy, bench)

    assert not torch.isclose(before, after).any()
    assert before.argsort().tolist() != after.argsort().tolist()


def test_the_ranker_is_logistic_unless_told() -> None:
    """Who sets another of its options would get the hinge of LL4AL in silence."""

    def objective(**ranker: Any) -> str:
        strategy = build("strategies", {"name": "ta_vaal", "ranker": ranker})
        return str(strategy.companions()[0].objective)

    assert ["logistic", "logistic"] == [objective(), objective(detach_after=0.2)]
    assert "hinge" == objective(objective="hinge")


@pytest.mark.parametrize("name", ["vaal", "sraal"])
def test_asks_no_model_when_it_scores(name: str) -> None:
    """A pass would pay for a forward that nobody reads."""
    assert "forward" not in small_strategy(name).requires()


@pytest.mark.parametrize("name", NAMES)
def test_batch_statistics_are_asked_for(name: str) -> None:
    """The official scores, in train mode, depend on the batch; the default ones do not."""
    strategy = small_strategy(name)
    official = strategy.model_copy(update={"score_mode": "train"})
    bench = Bench.of(strategy)
    rows = range(6)
    before = copy.deepcopy(judge_of(bench).state_dict())

    assert torch.allclose(scores(strategy, bench)[:6], scores(strategy, bench, rows), atol=1e-5)
    assert not torch.allclose(scores(official, bench)[:6], scores(official, bench, rows), atol=1e-3)
    after = judge_of(bench).state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def outcome(folder: Path) -> list[Any]:
    """The picks of the first cycle, and the sha256 of what was fitted."""
    stages = (folder / "cycle-000" / stage / "done.json" for stage in ("select", "fit"))
    chosen, fitted = (json.loads(file.read_text())["result"] for file in stages)
    fits = {name: fit["companion"]["sha256"] for name, fit in fitted["fits"].items()}
    return [chosen["ids"], fits]


def run_of(tiny: Callable[..., Experiment], name: str) -> Experiment:
    fit = {"graph": {"updates": 25}} if "gcn" in name else {name: SMALL_FIT | {"epochs": 3}}
    return tiny(
        strategy={"name": name, **fit},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        dataset={"name": "digits", "limit_pool": 200, "limit_test": 20},
        compute={"engine": "local", "cpus_per_worker": 1, "checkpoint_seconds": 0},
    )


def whole(x: Experiment, folder: Path) -> list[Any]:
    with Ledger(Folder(folder), x.identity()) as ledger:
        run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
    return outcome(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "uncertain_gcn", "core_gcn"])
def test_a_killed_run_chooses_the_same(
    tiny: Callable[..., Experiment], process: Any, tmp_path: Path, name: str
) -> None:
    """Draws, optimizers or running statistics would be others after a crash in the fit."""
    x = run_of(tiny, name)
    (fit,) = x.fits()
    expected = whole(x, tmp_path / "whole")
    killed = tmp_path / "killed"
    point = f"cycle-000/fit/{fit.name}/checkpoint-000001.json"

    assert -signal.SIGKILL == process(x, killed, point).returncode
    assert 0 == process(x, killed).returncode
    assert expected == outcome(killed)
