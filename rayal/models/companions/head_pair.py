"""The two heads of ADS: both say which class an image is of, and where they differ it is unknown.

Source: Fu et al., "Agreement-Discrepancy-Selection: Active Learning with Progressive Distribution
Alignment" (AAAI 2021); official code fumengying19/AAAI21-ADS, 315969d.

N images, C classes, D features, P prototypes of a class. Logits of a pair are 2 N C.

Differences:
- The paper's text speaks of two classifiers with softmax, the code has prototypes and sigmoids:
  `prototypes` is 0 or 3.
- rayal evaluates and scores with the model's own last layer, of which a pair is made like this.
  Linear heads are kept as their mean, which is the last layer, and half their difference, which is
  the companion: so the model's logits are exactly the mean of both heads'. A step of gradient
  descent moves each of them twice as far as it would two layers that are kept apart. Heads of
  prototypes are no linear map: there the last layer is a further one, which learns the labels from
  the same features, and these learn nothing from it. The code reports the mean of both heads'
  accuracies.
- The code's 1x1 convolutions come after the pooling and are linear maps; so they are called here.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    logsigmoid,
    normalize,
    one_hot,
)

from rayal.errors import UsageError
from rayal.models.base import Outputs
from rayal.models.companions.base import Companion, CompanionSpec

TEMPERATURE = 0.05
"""What a cosine is divided by."""


class HeadPair(Companion):
    """Two heads on the features of a model."""

    uses_last_layer: ClassVar[bool]
    """Whether the model's own last layer is a part of them."""

    @abstractmethod
    def forward(self, outputs: Outputs) -> Tensor:
        """Logits of both heads, 2 N C, float32, of what the model says."""

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What both heads lose on labeled images, added, (N,)."""

    @abstractmethod
    def confidences(self, logits: Tensor) -> Tensor:
        """How sure each head is of each class, 2 N C, in [0, 1]; their sum over C may be any."""

    @abstractmethod
    def log_probs(self, logits: Tensor) -> Tensor:
        """The logarithm of the confidences made a distribution, 2 N C."""

    def disagreement(self, logits: Tensor) -> Tensor:
        """mean_c |p1_c - p2_c| of the confidences, (N,), in [0, 1]: 0 where the heads are alike."""
        one, other = self.confidences(logits)
        apart: Tensor = (one - other).abs().mean(dim=1)
        return apart

    def entropy(self, logits: Tensor) -> Tensor:
        """E, the mean of both heads' entropies, (N,), in nats: 0 to ln C."""
        log_probs = self.log_probs(logits)
        return -(log_probs.exp() * log_probs).sum(dim=2).mean(dim=0)


class LinearPair(HeadPair):
    """The model's last layer plus, and minus, another one."""

    uses_last_layer: ClassVar[bool] = True

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.half_difference = nn.Linear(features, classes)

    def forward(self, outputs: Outputs) -> Tensor:
        mean, half = outputs.logits, self.half_difference(outputs.features)
        return torch.stack([mean + half, mean - half]).float()

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([cross_entropy(each, labels, reduction="none") for each in logits]).sum(
            0
        )

    def confidences(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=2)

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(dim=2)


class PrototypePair(HeadPair):
    """Of each head a linear map D D, a sigmoid, and the cosine to the nearest prototype of a class.

    The logit of a class is that cosine over 0.05; its sigmoid is compared with 1 for the image's
    class and with 0 for all others. Each class has a sigmoid of its own, so that they may all be
    small.
    """

    uses_last_layer: ClassVar[bool] = False

    def __init__(self, features: int, classes: int, prototypes: int) -> None:
        super().__init__()
        maps = [nn.Linear(features, features, bias=False) for _ in range(2)]
        self.maps = nn.ModuleList(maps)
        self.shape = prototypes, classes
        # prototype p of class c is row p C + c
        self.prototypes = nn.Parameter(torch.randn(2, prototypes * classes, features))

    def forward(self, outputs: Outputs) -> Tensor:
        features = outputs.features
        # the temperature would make 20 times as much of what bfloat16 rounds
        with torch.autocast(features.device.type, enabled=False):
            seen = torch.stack([each(features.float()) for each in self.maps]).sigmoid()  # 2 N D
            cosines = normalize(seen, dim=2) @ normalize(self.prototypes, dim=2).mT  # 2 N PC
            nearest: Tensor = cosines.view(*cosines.shape[:2], *self.shape).amax(dim=2)
            return nearest / TEMPERATURE

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        truth = one_hot(labels, self.shape[1]).to(logits.dtype).expand_as(logits)
        each = binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return each.sum(dim=(0, 2))

    def confidences(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def log_probs(self, logits: Tensor) -> Tensor:
        return logsigmoid(logits).log_softmax(dim=2)


class HeadPairSpec(CompanionSpec):
    """It learns only from a scheme that trains with it (`ads`)."""

    name: ClassVar[str] = "head_pair"

    prototypes: int = Field(default=0, ge=0, le=1000)
    """Prototypes of a class in each head, official: 3, by cosine and sigmoid; 0: heads are linear,
    with softmax. 3 and 512 features make 555,008 weights for 10 classes, 0 makes 5,130."""

    @property
    def filled_by_scheme(self) -> bool:
        return True

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> HeadPair:
        last = model.classifier
        if not isinstance(last, nn.Linear):
            raise UsageError(
                f"{type(model).__name__} has a {type(last).__name__} as its last layer, so that the"
                " heads do not know what to read; use a model whose last layer is an nn.Linear"
            )
        if not {*model.parameters()} - {*last.parameters()}:
            raise UsageError(
                f"{type(model).__name__} is a last layer alone, so that there are no features that"
                " could learn to make the heads agree; use a model with layers before it"
            )
        if self.prototypes:
            return PrototypePair(last.in_features, classes, self.prototypes)
        return LinearPair(last.in_features, classes)
