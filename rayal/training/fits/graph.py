"""The graph over labeled units and candidates that `uncertain_gcn` and `core_gcn` ask, and how it
is fitted: see `models/companions/graph_network`, which has the source.

loss = - mean over labeled of log s - unlabeled_weight * mean over candidates of log(1 - s)

All nodes are in every step, so all workers take the same steps; each asks the model for the
features of its share of the images, once. N nodes: L labeled units first, then candidates.

Difference from the official code: log s is computed of the logits, finite where s rounds to 0 or 1.
"""

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from rayal.data.card import ImageSpec
from rayal.models import parallel
from rayal.models.companions.base import EmbeddingSpec
from rayal.models.companions.graph_network import Graph, GraphNetwork, points
from rayal.models.network import feature_width
from rayal.training.fits.base import FitBatch, FitSpec, Fitting, Images, Scene
from rayal.training.learner import fused_on


class GraphSpec(FitSpec, EmbeddingSpec):
    """By default as published for CIFAR-10."""

    name: ClassVar[str] = "graph"
    replicated: ClassVar[bool] = True

    width: PositiveInt = 128
    """Hidden units, which are the embedding of `core_gcn`."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Probability of dropping a hidden unit of a node in a step."""
    unlabeled_weight: float = Field(default=1.2, gt=0)
    """Weight of the candidates' term of the loss, the paper's lambda."""
    updates: PositiveInt = 200
    """Steps of Adam, each with all nodes."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """Times the weights, added to their gradients."""

    def steps(self, labeled: int, candidates: int) -> int:
        return self.updates

    def build(self, model: nn.Module, classes: int, image: ImageSpec) -> GraphNetwork:
        return GraphNetwork(feature_width(model), self.width, self.dropout)

    def start(self, companion: GraphNetwork, scene: Scene) -> "GraphFitting":
        return GraphFitting(self, companion, scene)


class GraphFitting(Fitting):
    """The graph in memory, N D twice, and the network that learns on it."""

    companion: GraphNetwork

    def __init__(self, spec: GraphSpec, companion: GraphNetwork, scene: Scene) -> None:
        self.spec, self.companion = spec, companion.train()
        self.labeled = len(scene.labeled)
        none = companion.first.weight.detach().T[:0]  # 0 D, on the device
        kinds = (_features(scene, images, none) for images in (scene.labeled, scene.candidates))
        self.graph = Graph(points(torch.cat([*kinds])))
        self.linked = self.graph.linked(self.graph.x)
        self.optimizer = torch.optim.Adam(
            companion.parameters(),
            lr=spec.lr,
            weight_decay=spec.weight_decay,
            fused=fused_on(companion),
        )

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"companion": self.companion, "optimizer": self.optimizer}

    def step(self, batch: FitBatch | None, step: int) -> dict[str, Tensor]:
        logits = self.companion.learn(self.graph, self.linked)
        noted = self.loss(logits)
        self.optimizer.zero_grad()
        noted["loss"].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {name: value.detach() for name, value in noted.items()}

    def loss(self, logits: Tensor) -> dict[str, Tensor]:
        """Of the logits of all nodes; beside it the mean s of both kinds."""
        labeled, candidates = logits[: self.labeled], logits[self.labeled :]
        known, unknown = logsigmoid(labeled).mean(), logsigmoid(-candidates).mean()
        return {
            "loss": -known - self.spec.unlabeled_weight * unknown,
            "labeled": labeled.sigmoid().mean(),
            "candidates": candidates.sigmoid().mean(),
        }

    def finished(self) -> GraphNetwork:
        self.companion.remember(self.graph)
        return self.companion


def _features(scene: Scene, images: Images, none: Tensor) -> Tensor:
    """The model's, N D, of all of these images, on every worker; `none` are those of no image."""
    own = torch.cat([none, *(scene.ask(*part).features for part in images.share())])
    (features,) = parallel.rows(own)
    return features
