"""mc_dropout_entropy, bald and mc_variation_ratio, and the passes that they read."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import rayal.signals.computed
from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.network import Network
from rayal.parts import build as build_part
from rayal.signals.batch import Signals
from rayal.signals.dropout import unit_dropout
from rayal.signals.networks import Networks
from rayal.strategies.base import Strategy
from rayal.workflows.checks import check

NAMES = ("mc_dropout_entropy", "bald", "mc_variation_ratio")
UNITS, CLASSES = 24, 5


class Passes(Signals):
    """Signals whose passes with dropout say what the test says, S N C."""

    def __init__(self, log_probs: Tensor) -> None:
        ids = [f"unit-{i}" for i in range(log_probs.shape[1])]
        super().__init__(ids, log_probs[0], Networks(nn.Identity().eval()))
        self.log_probs_of_passes = log_probs

    def _mc_log_probs(self, passes: int, by_batch: bool) -> Tensor:
        return self.log_probs_of_passes[:passes]


def strategy_of(name: str, **options: Any) -> Strategy:
    return build_part("strategies", {"name": name, **options})


def score(name: str, logits: Tensor, **options: Any) -> Tensor:
    """The scores where the passes say these logits, S N C."""
    strategy = strategy_of(name, passes=len(logits), **options)
    view = Passes(logits.log_softmax(2)).declared_by(name, strategy.needs, None)
    scores = strategy.score(view)
    assert scores is not None
    return scores


def random_passes(passes: int = 10, units: int = 40, classes: int = 6) -> Tensor:
    return torch.randn(passes, units, classes, generator=torch.Generator().manual_seed(0)) * 2


def test_bald_by_hand():
    """Two passes (1, 0), (0, 1): all of the uncertainty is about the weights (methods, 12)."""
    contradicting = torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]])
    unsure = torch.zeros(2, 1, 2)

    assert score("bald", contradicting).item() == pytest.approx(math.log(2))
    assert score("mc_dropout_entropy", contradicting).item() == pytest.approx(math.log(2))
    assert score("bald", unsure).item() == 0
    assert score("mc_dropout_entropy", unsure).item() == pytest.approx(math.log(2))


def test_mc_variation_ratio_by_hand():
    """1 - f_mode/T over the passes."""
    votes = torch.tensor([[0, 0, 1, 2, 0], [1, 1, 1, 1, 1], [0, 1, 2, 3, 4]]).T
    logits = nn.functional.one_hot(votes, 5).float()

    assert score("mc_variation_ratio", logits).tolist() == [0.4, 0.0, 0.8]
    broken = score("mc_variation_ratio", logits, tie_break="entropy")
    assert ((broken > torch.tensor([0.4, 0.0, 0.8])) & (broken < torch.tensor([0.6, 0.2, 1]))).all()


def test_probabilities_are_averaged_not_logits():
    """One very certain pass would outvote all others (methods, 12, trap 3)."""
    logits = torch.tensor([[[100.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    p = (1 + 2 / (1 + math.e)) / 3

    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert score("mc_dropout_entropy", logits).item() == pytest.approx(expected)


def test_agree_with_scipy():
    """The formulas themselves would be wrong."""
    logits = random_passes()
    probs = logits.double().softmax(2).numpy()
    of_mean = scipy.stats.entropy(probs.mean(0), axis=1)
    votes = probs.argmax(2)
    mode = scipy.stats.mode(votes, axis=0)

    np.testing.assert_allclose(score("mc_dropout_entropy", logits), of_mean, rtol=1e-5)
    bald = of_mean - scipy.stats.entropy(probs, axis=2).mean(0)
    np.testing.assert_allclose(score("bald", logits), bald, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(score("mc_variation_ratio", logits), 1 - mode.count / 10)


def test_bald_is_never_negative():
    """Rounding would rank units of the same certainty by noise."""
    certain = random_passes(units=500, classes=100) * 30
    near = random_passes(1, units=500, classes=100) + 1e-4 * random_passes(20, 500, 100)

    assert score("bald", certain).min() >= 0 and score("bald", near).min() >= 0


def network(dropout: float = 0.5, name: str = "small_cnn", **options: Any) -> nn.Module:
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = build_part("models", {"name": name, "dropout": dropout, **options})
    return build(model, CLASSES, spec, seed=1).eval()


def signals(model: nn.Module, rows: range | list[int] = range(UNITS), **where: int) -> Signals:
    images = torch.randn(UNITS, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = [f"unit-{row}" for row in rows]
    return Signals(ids, images[list(rows)], Networks(model, **{"cycle": 1, **where}))


class Whole(Network):
    """A network that rayal knows nothing of: each pass is a whole forward."""


def whole(model: nn.Module) -> nn.Module:
    model.__class__ = Whole
    return model


@pytest.mark.parametrize(
    "model",
    [{"width": 8}, {"name": "resnet18", "width": 4}, {"name": "vgg16"}, {"name": "wide_resnet"}],
    ids=lambda model: model.get("name", "small_cnn"),
)
def test_features_are_computed_once(model, monkeypatch):
    """A pass with dropout would cost a whole forward, or give other numbers without one."""
    expected = signals(whole(network(**model)), range(4)).mc_log_probs(3)
    calls, forward = [], rayal.signals.computed.forward
    monkeypatch.setattr(
        rayal.signals.computed, "forward", lambda *given: calls.append(1) or forward(*given)
    )
    seen = signals(network(**model), range(4))

    assert torch.equal(expected, seen.mc_log_probs(3))
    assert torch.equal(seen.mc_log_probs(5)[:3], expected)
    assert len(calls) == 1


def test_dropout_inside_the_network_needs_whole_forwards():
    """Noise before the features would be left out."""
    model = network(0.5, width=8)
    model.head.append(nn.Dropout(0.5)).eval()
    expected = signals(whole(model)).mc_log_probs(3)
    model.__class__ = Network

    assert torch.equal(expected, signals(model).mc_log_probs(3))
    model.dropout.p = 0.0
    without = signals(model).mc_log_probs(3)
    assert not torch.equal(expected, without) and not torch.equal(without[0], without[1])


def test_a_plain_prediction_is_not_noisy():
    """The logits of every other strategy would be those of a pass with dropout."""
    for model in (network(), whole(network())):
        plain, seen = signals(model), signals(model)
        noisy = seen.mc_log_probs(2)

        assert torch.equal(plain.log_probs, seen.log_probs)
        assert not torch.equal(noisy[0], seen.log_probs) and not torch.equal(*noisy)
    assert torch.equal(signals(model).features, seen.features)


def test_the_first_passes_of_more_are_those_of_fewer():
    """Two strategies of different `passes` would change each other's scores."""
    fewer, more, both = (signals(network()) for _ in range(3))
    expected = more.mc_log_probs(7)
    both.mc_log_probs(2)

    assert torch.equal(expected[:3], fewer.mc_log_probs(3))
    assert torch.equal(expected, both.mc_log_probs(7))
    assert torch.equal(expected[:2], both.mc_log_probs(2))


@pytest.mark.parametrize("other", [{"seed": 1}, {"cycle": 2}])
def test_noise_is_new_in_every_run_and_cycle(other):
    """The same features would be dropped again and again."""
    assert not torch.equal(
        signals(network()).mc_log_probs(2), signals(network(), **other).mc_log_probs(2)
    )


@pytest.mark.parametrize("name", NAMES)
def test_scores_do_not_depend_on_the_batch(name):
    """Noise would come from the place in a batch (methods, 12, trap 5)."""
    strategy, model = strategy_of(name), network()

    def scores(rows: list[int]) -> Tensor:
        view = signals(model, rows).declared_by(name, strategy.needs, None)
        result = strategy.score(view)
        assert result is not None
        return result

    together = scores(list(range(UNITS)))
    parts = torch.cat([scores([0]), scores(list(range(1, 8))), scores(list(range(8, UNITS)))])
    filled = scores([3, 4, 4, 4])

    torch.testing.assert_close(parts, together, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(filled, together[[3, 4, 4, 4]], atol=1e-5, rtol=1e-4)


def test_bald_without_noise_is_nothing():
    """No dropout: the passes agree (methods, 12)."""
    seen = signals(network(0.0))
    strategy = strategy_of("bald")
    scores = strategy.score(seen.declared_by("bald", strategy.needs, None))

    assert scores is not None and scores.abs().max() < 1e-12


def test_bald_sees_what_the_mean_forgets():
    """With dropout some units are disagreed about, and never more than the mean is unsure."""
    seen = signals(network())
    bald, total = (
        strategy_of(name).score(seen.declared_by(name, frozenset({"mc_log_probs"}), None))
        for name in ("bald", "mc_dropout_entropy")
    )

    assert (bald > 1e-4).all() and (bald <= total).all()


def test_many_passes_approach_the_expectation():
    """The mean over masks would be biased: of a linear last layer it is the plain prediction."""
    logits = torch.stack([torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0])])

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, images: Tensor) -> Outputs:
            return Outputs(self.dropout(images) @ logits, images, ())

    seen = Signals(["a"], torch.ones(1, 2), Networks(Linear().eval()))
    passes = seen.mc_log_probs(4000)
    masks = [(0.0, 0.0), (2.0, 0.0), (0.0, 2.0), (2.0, 2.0)]
    expected = (torch.tensor(masks) @ logits).softmax(1).mean(0)

    torch.testing.assert_close(passes.exp().mean(0)[0], expected, atol=0.02, rtol=0)
    assert len(passes.unique(dim=0)) == len(masks)


def test_the_models_state_is_left_alone():
    """model.train() would turn batch norm to batch statistics, too (methods, 12, trap 2)."""
    for model in (network(), whole(network())):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        signals(model).mc_log_probs(3)

        assert not any(module.training for module in model.modules())
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())


class Normalised(nn.Module):
    """One number per image, normalised, beside a 0: its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, eps=1e-9, affine=False)

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(torch.cat([self.norm(images), torch.zeros(len(images), 1)], 1), images, ())


def test_batch_statistics_by_hand():
    """0 and 2 have the mean 1 and the variance 1, so that they come to -1 and 1; by the running
    statistics of a new layer, mean 0 and variance 1, they stay."""
    seen = Signals(["a", "b"], torch.tensor([[0.0], [2.0]]), Networks(Normalised().eval()))
    logits = [seen.mc_log_probs(1, batch_statistics=each)[0] for each in (True, False)]
    by_batch, alone = (each[:, 0] - each[:, 1] for each in logits)

    torch.testing.assert_close(by_batch, torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(alone, torch.tensor([0.0, 2.0]))


def test_one_image_has_no_statistics():
    """torch's own message would not say which setting to raise."""
    seen = Signals(["a"], torch.tensor([[2.0]]), Networks(Normalised().eval()))
    with pytest.raises(UsageError, match="one image cannot be normalised.*raise compute.score_b"):
        seen.mc_log_probs(1, batch_statistics=True)


@pytest.mark.parametrize("kind", [network, lambda: whole(network())], ids=["network", "whole"])
def test_batch_norm_in_train_mode_is_that_of_torch(kind):
    """`batch_norm: train` would be no `model.train()`, or move what the next cycle begins with."""
    model = kind()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    by_batch = signals(model).mc_log_probs(3, batch_statistics=True)
    modes = {module.training for module in model.modules()}
    seen = signals(model)

    assert {False} == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not torch.allclose(by_batch, seen.mc_log_probs(3), atol=1e-2)
    noise, awake = seen._dropout_noise(), copy.deepcopy(model)
    for norm in (each for each in awake.modules() if isinstance(each, nn.BatchNorm2d)):
        norm.train()
    with torch.no_grad(), unit_dropout(awake, noise):
        expected = torch.stack([awake(seen._images).logits.log_softmax(1) for _ in range(3)])
    torch.testing.assert_close(expected, by_batch, atol=1e-5, rtol=1e-4)


def test_modes_of_batch_norm_do_not_mix():
    """An observer in the one mode would change what is chosen in the other."""
    expected = [signals(network()).mc_log_probs(4, batch_statistics=on) for on in (False, True)]
    both = signals(network())
    for passes in (2, 4):
        seen = [both.mc_log_probs(passes, batch_statistics=on) for on in (False, True)]

    assert all(map(torch.equal, expected, seen))
    assert torch.equal(signals(network()).log_probs, both.log_probs)


@pytest.mark.parametrize("name", NAMES)
def test_images_decide_about_each_other_in_train_mode_alone(name):
    """The option would be read by nobody, or be on."""
    default, official = strategy_of(name), strategy_of(name, batch_norm="train")

    def scores(strategy: Strategy, rows: list[int]) -> Tensor:
        view = signals(network(), rows).declared_by(name, strategy.needs, None)
        result = strategy.score(view)
        assert result is not None
        return result

    together, rows = list(range(UNITS)), [*range(6)]
    assert torch.allclose(scores(default, together)[:6], scores(default, rows), atol=1e-5)
    assert not torch.allclose(scores(official, together)[:6], scores(official, rows), atol=1e-3)
    assert "batch_norm" not in default.model_dump() and "batch_norm" in official.model_dump()


def test_noise_in_bfloat16():
    """Half precision would see other masks, or be left by them."""
    half, full = (
        Signals(s.ids, s._images, Networks(network(), cycle=1, precision=precision)).mc_log_probs(4)
        for s in [signals(network())]
        for precision in ("bf16", "fp32")
    )

    assert half.dtype == torch.float32
    torch.testing.assert_close(half.exp(), full.exp(), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_dropout_is_refused(tiny, name):
    """All scores would be equal or those of entropy, and nobody would know (methods, 12)."""
    x: Experiment = tiny(strategy=name)
    card = x.dataset.open().card
    with pytest.raises(UsageError, match=rf"model.dropout: is 0, but {name} needs some \(0.5"):
        check(x, card)

    check(tiny(strategy=name, model={"name": "small_cnn", "dropout": 0.5}), card)


@pytest.mark.parametrize("options", [{"passes": 0}, {"passes": 2.5}, {"samples": 3}])
def test_wrong_options_are_refused(options):
    """A typo would be run with the default."""
    for name in NAMES:
        with pytest.raises(ValueError, match="passes|samples"):
            strategy_of(name, **options)
