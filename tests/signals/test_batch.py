"""Signals are computed on first use, once, and only for those who declare them."""

import pytest
import torch
from torch import Tensor, nn

from rayal.data.pixels import valid_pixels
from rayal.errors import UsageError
from rayal.models.base import Outputs
from rayal.randomness import unit_uniforms
from rayal.signals.batch import Signals, entropy
from rayal.signals.networks import Networks
from rayal.signals.signal import SIGNAL_NAMES


class Counting(nn.Module):
    """A linear network that counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 3), 0

    def forward(self, images: Tensor) -> Outputs:
        self.calls += 1
        flat = images.flatten(1)
        return Outputs(self.linear(flat), flat, (images,))


def signals(model: nn.Module, references=None, kept_probs=None, **options) -> Signals:
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    networks = Networks(model, references or {}, **{"cycle": 1, **options})
    return Signals(["a", "b"], images, networks, kept_probs)


def test_one_forward_serves_all():
    """Six strategies of one pass would cost six forwards."""
    model = Counting().eval()
    seen = signals(model)
    views = [seen.declared_by(str(i), SIGNAL_NAMES, None) for i in range(3)]
    for view in views:
        _ = view.logits, view.probs, view.log_probs, view.features, view.layers

    assert model.calls == 1


def test_nothing_is_computed_that_nobody_reads():
    """Random sampling would pay for a forward."""
    model = Counting().eval()
    _ = signals(model).noise, signals(model).images

    assert model.calls == 0


def test_an_undeclared_signal_is_refused():
    """The plan and the shared pass would not know of the work."""
    view = signals(Counting().eval()).declared_by("mine", frozenset({"probs"}), None)
    _ = view.probs

    with pytest.raises(UsageError, match="'mine' reads the signal 'logits'; add it to its `needs`"):
        _ = view.logits
    _ = signals(Counting().eval()).declared_by("mine", frozenset({"logits"}), None).logits


def test_a_classifier_has_no_grid():
    """A strategy of maps would end in an error about tensor sizes."""
    view = signals(Counting().eval()).declared_by("mine", SIGNAL_NAMES, None)

    with pytest.raises(UsageError, match="'mine' reads 'grid_entropy'.*'classification'"):
        _ = view.grid_entropy


def test_derived_signals_agree():
    """probs, log_probs and entropy would be of different models."""
    seen = signals(Counting().eval())

    torch.testing.assert_close(seen.probs, seen.logits.softmax(1))
    torch.testing.assert_close(seen.log_probs, seen.logits.log_softmax(1))
    torch.testing.assert_close(
        entropy(seen.log_probs), torch.distributions.Categorical(seen.probs).entropy()
    )


def test_logits_are_float32():
    """Scores of a bfloat16 network would saturate in the softmax."""
    seen = signals(Counting().eval().bfloat16())
    seen._images = seen._images.bfloat16()

    assert seen.logits.dtype == seen.probs.dtype == torch.float32


def test_no_gradient_graph_is_kept():
    """A pass over a pool would keep every batch's activations."""
    assert not signals(Counting().eval()).logits.requires_grad


def test_training_mode_is_refused():
    """Batch norm in training mode makes scores depend on the batch."""
    with pytest.raises(AssertionError, match="eval"):
        signals(Counting().train())


def test_each_reference_runs_once():
    """Two strategies with the same reference would run it twice; with two, share one by mistake."""
    previous, random = Counting().eval(), Counting().eval()
    seen = signals(Counting().eval(), {"previous": previous, "random": random})
    views = [
        seen.declared_by(name, frozenset({"previous_probs"}), name)
        for name in ("previous", "random", "previous")
    ]
    first, other, again = (view.previous_probs for view in views)

    assert (previous.calls, random.calls) == (1, 1)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_noise_belongs_to_the_unit():
    """Random picks would change with batch size and shard."""
    noise = signals(Counting().eval()).noise

    assert noise.tolist() == unit_uniforms(["a", "b"], 0, 1, "noise").tolist()


def test_features_are_those_of_the_image():
    """Filling would be averaged in; one so small that it holds no place's middle has the place that
    it touches, and not 0 / 0."""
    maps = torch.randn(3, 5, 2, 3, generator=torch.Generator().manual_seed(0))

    class Dense(nn.Module):
        def forward(self, images: Tensor) -> Outputs:
            return Outputs(maps, maps.mean((2, 3)), (maps,))

    valid = valid_pixels(torch.tensor([[3, 3], [8, 16], [16, 24]]), 16, 24)
    networks = Networks(Dense().eval())
    found = Signals(["a", "b", "c"], torch.zeros(3, 1, 16, 24), networks, valid=valid).features

    expected = [maps[0, :, 0, 0], maps[1, :, 0, :2].mean(1), maps[2].mean((1, 2))]
    torch.testing.assert_close(found, torch.stack(expected))


def test_what_was_read_is_finite_or_not():
    """A strategy's own division by 0 would be put down to the model, or the other way round."""
    seen = signals(Counting().eval())
    assert seen.all_finite()  # nothing was read
    _ = seen.probs, seen.layers, seen.features
    assert seen.all_finite()

    broken = Counting().eval()
    nn.init.constant_(broken.linear.bias, torch.nan)
    seen = signals(broken)
    _ = seen.features

    assert not seen.all_finite()
