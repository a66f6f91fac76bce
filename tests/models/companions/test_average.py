"""The moving average that takes the model's place: its numbers, its begin and its end."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.models.companions.average import Average, AverageSpec, share
from rayal.models.weights import load_weights, save_weights

SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))


def images(seed: int) -> Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def cnn(seed: int = 0) -> nn.Module:
    return build(SmallCnn(width=4, dropout=0.5), 3, SPEC, seed).train()


def average(model: nn.Module, **fields: object) -> Average:
    made = AverageSpec.model_validate(fields).build(model, 3, lambda: cnn(1))
    made.begin(model)
    return made


def trained(model: nn.Module, made: Average, steps: int) -> list[dict[str, Tensor]]:
    """Steps of SGD, with batches that move batch norm's statistics; the states after each."""
    optimizer, states = torch.optim.SGD(model.parameters(), lr=0.1), []
    for step in range(steps):
        optimizer.zero_grad()
        model(images(step)).logits.square().mean().backward()
        optimizer.step()
        made.after_step(model)
        states.append(copy.deepcopy(model.state_dict()))
    return states


@pytest.mark.parametrize("ramp", [True, False])
@pytest.mark.parametrize("alpha", [0.5, 0.999])
def test_agrees_with_a_loop_in_float64(alpha: float, ramp: bool) -> None:
    """Weights would be averaged and running statistics left behind, or both at another rate; what
    is evaluated would then be normalised by statistics of other weights."""
    model = cnn()
    expected = {name: value.double() for name, value in model.state_dict().items()}
    made = average(model, alpha=alpha, ramp=ramp)
    for number, state in enumerate(trained(model, made, 12), start=1):
        kept = min(number / (number + 1), alpha) if ramp else alpha
        for name, value in state.items():
            expected[name] = kept * expected[name] + (1 - kept) * value.double()

    moved = [name for name in expected if "num_batches" not in name]
    assert any("running_var" in name for name in moved)
    for name in moved:
        actual = made.network.state_dict()[name].double()
        torch.testing.assert_close(actual, expected[name], rtol=1e-5, atol=1e-7, msg=name)


def test_it_changes_places_with_the_model_at_the_end() -> None:
    """The last weights would be evaluated, or lost: a warm start would begin from the average."""
    model = cnn()
    made = average(model, alpha=0.9)
    *_, last = trained(model, made, 5)
    mean = copy.deepcopy(made.network.state_dict())
    made.end(model)

    assert not torch.equal(mean["classifier.weight"], last["classifier.weight"])
    for name, value in mean.items():
        assert torch.equal(value, model.state_dict()[name]), name
    for name, value in last.items():
        assert torch.equal(value, made.network.state_dict()[name]), name


def test_a_warm_start_goes_on_from_the_last_weights_and_averages_anew() -> None:
    """A cycle would start from the average; or average the steps of the cycle before too."""
    model = cnn()
    made = average(model)
    *_, last = trained(model, made, 5)
    made.end(model)
    other = cnn(seed=3)  # the next process: what it reads from files
    load_weights(other, save_weights(model))
    again = AverageSpec().build(other, 3, lambda: cnn(1))
    load_weights(again, save_weights(made))
    assert 5 == again.updates
    again.begin(other)

    assert 0 == again.updates
    for name, value in last.items():
        assert torch.equal(value, other.state_dict()[name]), name
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_it_takes_no_part_in_training() -> None:
    """The optimizer would decay its weights, or a step change them twice."""
    model = cnn()
    made = average(model)

    assert all(not p.requires_grad for p in made.parameters())
    assert [] == [p for p in model.parameters() if any(p is q for q in made.parameters())]


@pytest.mark.parametrize(
    ("updates", "ramp", "expected"),
    [(1, True, 0.5), (2, True, 2 / 3), (999, True, 0.999), (5000, True, 0.999), (1, False, 0.999)],
)
def test_share_by_hand(updates: int, ramp: bool, expected: float) -> None:
    """A short training would be evaluated with nearly its first weights."""
    assert expected == pytest.approx(share(updates, 0.999, ramp=ramp))


def test_an_average_that_never_moves_is_refused() -> None:
    """With alpha 1 the untrained network would be evaluated."""
    with pytest.raises(ValidationError):
        AverageSpec.model_validate({"alpha": 1.0})
