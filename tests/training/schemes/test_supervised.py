"""The scheme that is only the contract: found by name, nothing of its own."""

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
