"""What signals require, against what computing them takes."""

import pytest
import torch
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.models.base import Outputs
from rayal.models.network import DenseNetwork, Staged
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.signals.signal import SIGNAL_NAMES, SIGNALS, required

COMPUTED = sorted(SIGNAL_NAMES - {"images", "model", "companion", "embedding", "noise"})


class Counting(DenseNetwork):
    """A dense network that counts its forwards."""

    def __init__(self, dropout: float = 0.0) -> None:
        block = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(dropout))
        super().__init__(blocks=[block], layer_channels=[4], classifier=nn.Conv2d(4, 3, 1))
        self.calls = 0

    def layers(self, images: Tensor) -> tuple[Tensor, ...]:
        self.calls += 1
        return super().layers(images)


def value(signals: Signals, name: str) -> Tensor:
    found = getattr(signals, name)
    return found(2) if callable(found) else found


@pytest.mark.parametrize("name", COMPUTED)
def test_networks_that_a_signal_asks(name: str) -> None:
    """`plan` would count other forwards than the pass makes, and the pass open other weights."""
    model, reference, member = (Counting().eval() for _ in range(3))
    networks = Networks(model, {"previous": reference}, [member], cycle=1)
    signals = Signals(["a", "b"], torch.randn(2, 1, 8, 8), networks)
    value(signals.declared_by("mine", SIGNAL_NAMES, "previous"), name)
    asked = {"forward": model.calls, "reference": reference.calls, "ensemble": member.calls}

    assert {each for each, calls in asked.items() if calls} == (
        SIGNALS[name].requires - {"pixels", "dense", "dropout", "weights", "training"}
    )


@pytest.mark.parametrize("name", COMPUTED)
def test_a_signal_asks_dropout_where_it_says_so(name: str) -> None:
    """A run would be refused for a model without dropout, or score with none."""
    values = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        model: Staged = Counting(dropout).eval()
        networks = Networks(model, {"previous": model}, [model], cycle=1)
        signals = Signals(["a", "b"], torch.ones(2, 1, 8, 8), networks)
        found = value(signals.declared_by("mine", SIGNAL_NAMES, "previous"), name)
        values.append(found[0] if isinstance(found, tuple) else found)

    assert ("dropout" in SIGNALS[name].requires) == (not torch.equal(*values))


@pytest.mark.parametrize("name", COMPUTED)
def test_what_the_last_layer_says_requires_a_training(name: str) -> None:
    """The first units would be chosen by the chance of a layer that nobody has trained."""
    torch.manual_seed(0)
    model: Staged = Counting(0.5).eval()
    found = []
    for scale in (1.0, -3.0):
        with torch.no_grad():
            for weight in model.classifier.parameters():
                weight.mul_(scale)
        networks = Networks(model, {"previous": model}, [model], cycle=1)
        signals = Signals(["a", "b"], torch.ones(2, 1, 8, 8), networks)
        said = value(signals.declared_by("mine", SIGNAL_NAMES, "previous"), name)
        found.append(said[0] if isinstance(said, tuple) else said)

    assert ("training" in SIGNALS[name].requires) == (not torch.equal(*found))


def test_only_maps_require_a_dense_network() -> None:
    """A run would be refused that could go on, or end in its first pass."""
    logits = torch.randn(2, 3)

    class Classifier(nn.Module):
        def forward(self, images: Tensor) -> Outputs:
            return Outputs(logits, logits, (images,))

    signals = Signals(["a", "b"], torch.zeros(2, 1, 2, 2), Networks(Classifier().eval()))
    for name in ("grid_logits", "grid_entropy", "logits", "features", "layers"):
        if "dense" in SIGNALS[name].requires:
            with pytest.raises(UsageError, match=name):
                value(signals, name)
        else:
            value(signals, name)


def test_strategies_ask_what_their_signals_require() -> None:
    """One of several requirements would be forgotten."""
    assert {"pixels", "forward", "dropout", "ensemble", "training"} == required(
        ["noise", "mc_log_probs", "ensemble_log_probs"]
    )
    assert frozenset() == required([]) == required(["noise"])


def test_a_misspelt_signal() -> None:
    """It would be found on a worker, after a training."""
    with pytest.raises(UsageError, match="no signal 'logit'; did you mean 'logits'"):
        required(["noise", "logit"])
