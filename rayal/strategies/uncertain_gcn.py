"""UncertainGCN: units that a graph over all of them can hardly tell from labeled ones.

Source: Caramalau, Bhattarai and Kim, "Sequential Graph Convolutional Network for Active Learning"
(CVPR 2021), Eq. 6; official code razvancaramalau/Sequential-GCN-for-Active-Learning, bbc43db.

score = - |s - margin| in [-1, 0], s the probability to be labeled that the graph network gives
after it was fitted to the labeled units and the candidates of this cycle, see
`models/companions/graph_network` and `training/fits/graph`.

Difference, beside those of the network: the official code builds the graph of the labeled units and
10,000 random candidates. That is `candidates: 10000` of an experiment; without, all candidates are
nodes, for the N x N matrix that would forbid it is never built. Neither paper nor code knows masks:
a node is then an image, by the mean of its last map, of which filling is no part.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy
from rayal.training.fits.graph import GraphSpec


class UncertainGcn(Strategy):
    """Smallest |s - margin| of a graph network's probability s to be labeled."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    needs: ClassVar[frozenset[SignalName]] = frozenset({"features", "companion"})

    graph: GraphSpec = GraphSpec()
    """The network and how it is fitted; `core_gcn` shares it where it has the same."""
    margin: float = Field(default=0.1, ge=0, le=1)
    """The s that is sought: low, so that units are unlike the labeled ones, but not 0."""

    def fits(self) -> tuple[GraphSpec, ...]:
        return (self.graph,)

    def score(self, s: Signals) -> Tensor:
        labeled: Tensor = s.companion(GraphSpec)(s.features)
        return -(labeled - self.margin).abs()
