"""EPMCM against hand values, its definition and the official way of scoring; and whole runs."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.engine.local import LocalEngine
from rayal.errors import DataError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions
from rayal.models.companions.class_statistics import ClassStatistics, ClassStatisticsSpec
from rayal.models.weights import save_weights
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.selection.candidates import Candidates
from rayal.selection.greedy import tie_order
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.storage.stage_file import FileLocation
from rayal.strategies.epmcm import Epmcm
from rayal.strategies.least_confidence import LeastConfidence
from rayal.workflows.run import start_run
from tests.support.doubles import Silent

C, D, UNITS = 4, 6, 50
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])
OFFICIAL = Epmcm(update_while_scoring=True, reset=False, update_batch=8)


class Linear(nn.Module):
    """Takes the images for features."""

    def __init__(self, weight: Tensor, bias: Tensor | float = 0.0) -> None:
        super().__init__()
        self.classifier = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.classifier.weight.copy_(weight)
            self.classifier.bias.copy_(torch.as_tensor(bias).expand(len(weight)))

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, ())


class Case:
    """A last layer, statistics of its features, and a pool."""

    def __init__(self, covariance: str = "diagonal", seen: int = 200) -> None:
        g = torch.Generator().manual_seed(0)
        self.network = Linear(torch.randn(C, D, generator=g), torch.randn(C, generator=g)).eval()
        self.statistics = ClassStatistics(C, D, covariance, reset=True)
        self.features = torch.randn(UNITS, D, generator=g).half().float()  # as a pass keeps them
        features = torch.randn(seen, D, generator=g) @ torch.randn(D, D, generator=g)
        self.statistics.observe(Outputs(features, features, ()), torch.arange(seen) % C)

    def score(self, strategy: Any, rows: slice = slice(None)) -> Tensor:
        beside = Companions([(ClassStatisticsSpec(), self.statistics)])
        networks = Networks(self.network, companions=beside)
        signals = Signals([""] * UNITS, self.features[rows], networks)
        scores = strategy.score(signals.declared_by("it", strategy.needs, None))
        assert isinstance(scores, Tensor)
        return scores

    def left(self, folder: Path, order: Any = slice(None)) -> "Left":
        """What is left for the selection."""
        files = {"weights": self.network, "class_statistics": self.statistics}
        trained = {
            name: FileLocation(str(folder), Folder(folder).write(name, save_weights(module)))
            for name, module in files.items()
        }
        ids = Ids([f"unit-{i:02d}" for i in range(UNITS)])[order]
        kept = {"features": self.features.numpy().astype(np.float16)[order]}
        return Left(Candidates(ids, None, kept=kept), trained)


class Left(NamedTuple):
    """What there is after a pass."""

    pool: Candidates
    trained: dict[str, FileLocation]


def by_definition(z: Tensor, weight: Tensor, covariances: Tensor) -> float:
    """log(1 + Eq. 7), of the logits of one unit, in float64 and term by term."""
    y = int(z.argmax())
    own = covariances[y] if covariances.dim() == 3 else covariances[y].diag()
    terms = [
        z[j] - z[y] + (weight[j] - weight[y]) @ own @ (weight[j] - weight[y]) / 2 for j in range(C)
    ]
    return float(torch.stack(terms).exp().sum().log())


def test_hand_value() -> None:
    """W = I, a = (2, 0), variances 1/2: exp(-1.5) = 0.22313 (methods, Sec. 5)."""
    case = Case()
    case.network, case.features = Linear(torch.eye(2)).eval(), torch.tensor([[2.0, 0.0]])
    case.statistics = ClassStatistics(2, 2, "diagonal", reset=True)
    case.statistics.covariances.fill_(0.5)

    torch.testing.assert_close(case.score(Epmcm()).expm1(), torch.tensor([0.2231302]))


@both
def test_agrees_with_the_definition(covariance: str) -> None:
    """Another class's covariance, or another layer's weight."""
    case = Case(covariance)
    weight = case.network.classifier.weight.detach().double()
    logits = case.network(case.features).logits.detach().double()
    covariances = case.statistics.covariances.double()
    expected = [by_definition(z, weight, covariances) for z in logits]

    assert case.score(Epmcm(covariance=covariance)).tolist() == pytest.approx(expected, rel=1e-4)


def test_without_covariance_it_is_least_confidence() -> None:
    """A class that was never seen, or never varied, must add nothing."""
    case = Case(seen=0)
    orders = [case.score(each).argsort(stable=True) for each in (Epmcm(), LeastConfidence())]

    assert torch.equal(*orders)


def test_a_constant_in_all_logits_changes_nothing() -> None:
    """Two networks of the same predictions would choose differently."""
    case = Case()
    before = case.score(Epmcm())
    with torch.no_grad():
        case.network.classifier.bias += 5

    torch.testing.assert_close(case.score(Epmcm()), before, rtol=1e-4, atol=1e-5)


def test_scoring_changes_nothing() -> None:
    """Scores would depend on what was scored before, and so on the shards; a score that asks for
    gradients would keep every batch in memory."""
    case = Case()
    before = {name: value.clone() for name, value in case.statistics.named_buffers()}
    whole = case.score(Epmcm())
    halves = torch.cat([case.score(Epmcm(), slice(25)), case.score(Epmcm(), slice(25, None))])

    assert torch.equal(whole, halves) and not whole.requires_grad
    assert all(torch.equal(before[name], v) for name, v in case.statistics.named_buffers())


# The official way: candidates change the statistics.


def selected(strategy: Epmcm, left: Left, budget: float = UNITS, seed: int = 1) -> list[str]:
    select = strategy.selector(left.trained)
    return list(select(left.pool, budget, np.random.default_rng(seed)))


def covariances(statistics: ClassStatistics, features: Tensor, labels: Tensor) -> Tensor:
    """Per class, of what the statistics saw and these features together, from sums in float64."""
    found = []
    for c in range(C):
        own, n = features[labels == c].double(), statistics.counts[c]
        mean, spread = statistics.means[c].double(), statistics.covariances[c].double()
        total = n + len(own)
        means = (n * mean + own.sum(0)) / total
        squares = n * (spread + torch.outer(mean, mean)) + own.T @ own
        found.append(squares / total - torch.outer(means, means))
    return torch.stack(found)


def test_official_scores_agree_with_the_definition(tmp_path: Path) -> None:
    """It would not be what the official code does: every batch, with its predicted classes, goes
    into the statistics before it is scored, in a random order."""
    case = Case("full", seen=20)
    left = case.left(tmp_path)
    order = tie_order(left.pool, np.random.default_rng(1))
    weight = case.network.classifier.weight.detach().double()
    logits = case.network(case.features).logits.detach()
    scores = np.zeros(UNITS)
    for start in range(0, UNITS, 8):
        seen = order[: start + 8]
        now = covariances(case.statistics, case.features[seen], logits[seen].argmax(1))
        for unit in order[start : start + 8]:
            scores[unit] = by_definition(logits[unit].double(), weight, now)
    strategy = OFFICIAL.model_copy(update={"covariance": "full"})

    assert selected(strategy, left) == list(left.pool.ids[np.argsort(-scores, kind="stable")])


def test_official_scores_depend_on_the_statistics_and_the_batches(tmp_path: Path) -> None:
    """The update would not take place; the seed decides which units come before which."""
    left = Case(seen=20).left(tmp_path)
    picks = selected(OFFICIAL, left)

    assert selected(OFFICIAL, left) == picks != selected(OFFICIAL, left, seed=2)
    assert selected(OFFICIAL.model_copy(update={"update_batch": 3}), left) != picks


@both
def test_statistics_of_many_are_not_changed_by_few(covariance: str, tmp_path: Path) -> None:
    """The two modes would differ in more than the update."""
    case = Case(covariance)
    case.statistics.counts.mul_(1e9)
    strategy = OFFICIAL.model_copy(update={"covariance": covariance})
    expected = case.score(Epmcm(covariance=covariance)).argsort(descending=True)
    left = case.left(tmp_path)

    assert selected(strategy, left) == list(left.pool.ids[expected.numpy()])


def test_official_picks_do_not_depend_on_the_order_of_the_pool(tmp_path: Path) -> None:
    """Another number of shards would select other units."""
    case = Case(seen=20)
    shuffled = case.left(tmp_path, np.random.default_rng(3).permutation(UNITS))

    assert selected(OFFICIAL, case.left(tmp_path), 20) == selected(OFFICIAL, shuffled, 20)


def test_official_mode_at_the_ends(tmp_path: Path) -> None:
    """An empty pool would crash; scores that are no numbers would choose by nonsense."""
    case = Case()
    pool, trained = case.left(tmp_path)
    none = Left(replace(pool, ids=pool.ids[:0], kept={}), trained)
    case.statistics.covariances.fill_(torch.inf)
    (tmp_path / "diverged").mkdir()

    assert selected(OFFICIAL, none) == []
    with pytest.raises(DataError, match=r"the scores of unit 'unit-\d\d' are not all finite"):
        selected(OFFICIAL, case.left(tmp_path / "diverged"))


def test_official_mode_says_that_it_needs_the_model(tmp_path: Path) -> None:
    """`rayal select`, which has the scores alone, would end in a KeyError."""
    case = Case()
    left = case.left(tmp_path)
    with pytest.raises(UsageError, match="needs the trained model.*; select in a run, or set it"):
        OFFICIAL.select(left.pool, 1, np.random.default_rng(1))

    assert 1 == len(selected(OFFICIAL, left, 1))
    scored = replace(left.pool, scores=case.score(Epmcm()).double().numpy())
    assert 1 == len(Epmcm().select(scored, 1, np.random.default_rng(1)))


def test_a_last_layer_of_another_name(tmp_path: Path) -> None:
    """Weights of somebody's own network have other names, of which the update knows nothing."""
    case = Case()
    left = case.left(tmp_path)
    named = {f"mine.{name}": value for name, value in case.network.state_dict().items()}
    data = Folder(tmp_path).write("own", safetensors.torch.save(named))
    own = left.trained | {"weights": FileLocation(str(tmp_path), data)}
    with pytest.raises(UsageError, match="rayal's own networks only; set it to false$"):
        selected(OFFICIAL, left._replace(trained=own), 1)

    scored = replace(left.pool, scores=case.score(Epmcm()).double().numpy())
    assert 1 == len(selected(Epmcm(), Left(scored, own), 1))


def test_only_the_official_mode_needs_the_pool_in_memory() -> None:
    """A billion scores could not be ranked."""
    assert Epmcm().ranks() and not OFFICIAL.ranks()


# Whole runs.

ISDA = {"name": "isda", "epochs": 2, "batch_size": 16, "lr": 0.05}
SUPERVISED = {**ISDA, "name": "supervised"}


def experiment(tiny: Callable[..., Experiment], scheme: Any, **fields: Any) -> Experiment:
    return tiny(
        **{
            "dataset": {"name": "digits", "limit_pool": 300, "limit_test": 50},
            "strategy": "epmcm",
            "scheme": scheme,
            "compute": {"engine": "local", "shard_rows": 100, "cpus_per_worker": 1},
            **fields,
        }
    )


class Interrupted(Exception):
    """What stops a run in these tests."""


class Stop(Silent):
    """Stops a run before a stage."""

    def __init__(self, cycle: int, stage: str) -> None:
        self.at = (cycle, stage)

    def stage(self, cycle: int, stage: str) -> None:
        if (cycle, stage) == self.at:
            raise Interrupted


def go(x: Experiment, out: Path, *watchers: Any) -> list[list[str]]:
    """Runs to the end; what the cycles chose."""
    with start_run(x, str(out)) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)), watchers)
    record = Record(Folder(out))
    return [list(result.ids) for c in range(9) if (result := record.result(c, Chosen))]


def counted(out: Path) -> list[float]:
    """By cycle, the features in the statistics."""
    files = sorted(out.glob("cycle-*/train/companion-class_statistics.safetensors"))
    return [float(safetensors.torch.load_file(file)["counts"].sum()) for file in files]


RUNS = [(scheme, reset, official) for scheme in (ISDA, SUPERVISED) for reset, official in
        ((True, False), (False, False), (False, True))]  # fmt: skip


@pytest.mark.parametrize(("scheme", "reset", "official"), RUNS)
def test_whole_runs(
    tiny: Callable[..., Experiment], tmp_path: Path, scheme: Any, reset: bool, official: bool
) -> None:
    """Statistics would be missing under a scheme that does not ask for them, be forgotten by a warm
    start or kept by a fresh one; a run that was stopped would choose others."""
    if scheme is ISDA:
        scheme = {**ISDA, "reset": reset}
    strategy = {"name": "epmcm", "reset": reset, "update_while_scoring": official}
    x = experiment(tiny, scheme, strategy=strategy)
    chosen = go(x, tmp_path / "straight")
    for cycle, stage in ((0, "select"), (1, "train"), (1, "select")):
        with pytest.raises(Interrupted):
            go(x, tmp_path / "cut", Stop(cycle, stage))

    assert go(x, tmp_path / "cut") == chosen
    assert [len(ids) for ids in chosen] == [20, 20]
    assert counted(tmp_path / "straight") == ([40, 80, 120] if reset else [40, 120, 240])


@pytest.mark.parametrize("official", [False, True])
def test_shards_change_nothing(
    tiny: Callable[..., Experiment], tmp_path: Path, official: bool
) -> None:
    """The statistics, and with them the picks, would depend on who scored what first."""
    strategy = {"name": "epmcm", "update_while_scoring": official}
    chosen = []
    for rows in (64, 1000):
        compute = {"engine": "local", "shard_rows": rows, "cpus_per_worker": 1}
        x = experiment(tiny, ISDA, strategy=strategy, compute=compute)
        chosen.append(go(x, tmp_path / str(rows)))

    assert chosen[0] == chosen[1]


def test_observing_changes_nothing(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Keeping statistics beside a run would change it."""
    alone = go(experiment(tiny, SUPERVISED, strategy="margin"), tmp_path / "alone")
    x = experiment(tiny, SUPERVISED, strategy="margin", observers=["epmcm"])

    assert go(x, tmp_path / "observed") == alone


def test_scheme_and_strategy_share_one_estimate(tiny: Callable[..., Experiment]) -> None:
    """One of the two would use the statistics of the other's settings."""
    x = experiment(
        tiny, {**ISDA, "covariance": "full"}, strategy={"name": "epmcm", "covariance": "full"}
    )

    assert (ClassStatisticsSpec(covariance="full"),) == x.companions()
    for field, value in (("covariance", "full"), ("reset", False)):
        with pytest.raises(
            ValidationError, match="'epmcm' wants a class_statistics with .*'isda' has"
        ):
            experiment(tiny, {**ISDA, field: value})
    with pytest.raises(ValidationError, match="give both the same"):
        experiment(tiny, {**ISDA, "reset": False})
