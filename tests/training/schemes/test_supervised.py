"""The scheme that is only the contract: found by name; its model may sleep after the first step."""

import copy

import torch
from torch import Tensor, nn

from rayal.data.tasks.classification import Classification
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions
from rayal.parts import build
from rayal.training.base import Batch
from rayal.training.learner import Learner


class Bias(nn.Module):
    """Answers its bias, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.bias.expand(len(images), 2), images, ())


def test_minimises_the_task_loss() -> None:
    """`scheme: supervised` would not train."""
    scheme = build("schemes", {"name": "supervised", "steps": 300, "weight_decay": 0.0})
    learner = scheme.start(Bias(), Classification(), Companions(), 0)
    labels = torch.tensor([0, 0, 0, 1])
    for step in range(300):
        learner.step(Batch(torch.zeros(4, 1), labels, step, 300))

    assert type(learner) is Learner
    assert torch.allclose(torch.tensor([0.75, 0.25]), learner.model.bias.softmax(0), atol=1e-4)


class Normed(nn.Module):
    """One feature, normalised, then dropped by chance, and a linear layer; keeps its modes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)
        self.last = nn.Linear(1, 2)
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Outputs:
        self.modes.append(self.norm.training and self.dropout.training)
        features = self.dropout(self.norm(images))
        return Outputs(self.last(features), features, ())


def steps_of(learner: Learner, steps: range) -> None:
    """Those of a training of 6, each with images of its own, with the mean of the step's number."""
    for step in steps:
        images = step + torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
        learner.step(Batch(images, torch.tensor([0, 1, 0, 1]), step, 6))


def learner_of(train_mode: str) -> Learner:
    torch.manual_seed(0)
    scheme = build("schemes", {"name": "supervised", "steps": 6, "train_mode": train_mode})
    return scheme.start(Normed(), Classification(), Companions(), 0)


def test_after_the_first_step_batch_norm_and_dropout_sleep() -> None:
    """Images of the first step are -1 and 1: a mean of 0 and, without bias, a variance of 4/3, of
    which a tenth is taken in once, however many steps follow; in train mode, six times."""
    asleep, awake = learner_of("first_step"), learner_of("whole")
    for learner in (asleep, awake):
        learner.model.norm.running_mean.fill_(1.0)
        steps_of(learner, range(6))

    assert [True] + 5 * [False] == asleep.model.modes
    assert 6 * [True] == awake.model.modes
    assert (1, 6) == tuple(int(each.model.norm.num_batches_tracked) for each in (asleep, awake))
    assert torch.allclose(torch.tensor([0.9]), asleep.model.norm.running_mean)
    assert torch.allclose(torch.tensor([0.9 + 0.1 * 4 / 3]), asleep.model.norm.running_var)
    assert not torch.allclose(asleep.model.last.weight, awake.model.last.weight)


def test_a_training_goes_on_asleep() -> None:
    """A killed training would go on in train mode, and end with other weights."""
    straight = learner_of("first_step")
    steps_of(straight, range(6))
    broken = learner_of("first_step")
    steps_of(broken, range(3))
    state = copy.deepcopy(broken.state_dict())
    other = learner_of("first_step")
    other.load_state_dict(state)
    steps_of(other, range(3, 6))

    expected, actual = straight.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(value, actual[name]) for name, value in expected.items())


def test_train_mode_is_on_unless_told() -> None:
    """Every supervised training would be VAAL's, or runs of before could not go on."""
    scheme = build("schemes", "supervised")

    assert "train_mode" not in scheme.model_dump() and "whole" == scheme.train_mode
