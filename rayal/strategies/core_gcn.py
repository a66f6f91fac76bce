"""CoreGCN: k-center greedy where a graph network over all units puts them.

Source: Caramalau, Bhattarai and Kim, "Sequential Graph Convolutional Network for Active Learning"
(CVPR 2021), Eq. 7; official code razvancaramalau/Sequential-GCN-for-Active-Learning, bbc43db.

The network learns which units are labeled, see `models/companions/graph_network` and
`training/fits/graph`; a unit lies where its hidden layer puts it, of `graph.width` numbers, and
each pick is the unit farthest from all labeled ones and those before it, see `core_set`.

Differences, beside those of the network, of `core_set` and of `uncertain_gcn`:
- Revision 2900cdb of the official code, and the copy of it in TA-VAAL (1161071), compare the
  features that the network was given, scaled to length 1, and not what it makes of them: their
  graph changes nothing. Here that is `core_set` with `normalise: true`.
- The embedding is kept in float16.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from rayal.data.tasks.base import TaskName
from rayal.selection.candidates import Candidates
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy
from rayal.strategies.core_set import select_farthest
from rayal.training.fits.graph import GraphSpec


class CoreGcn(Strategy):
    """argmax over the pool of min over labeled and picked c of |h - h_c|, h of a graph network."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"embedding"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    scans_labeled: ClassVar[bool] = True

    graph: GraphSpec = GraphSpec()
    """The network and how it is fitted; `uncertain_gcn` shares it where it has the same."""
    normalise: bool = False
    """Scale each embedding to length 1 first, which the official code does not."""

    def fits(self) -> tuple[GraphSpec, ...]:
        return (self.graph,)

    def embeds(self) -> GraphSpec:
        return self.graph

    def asks_holders(self) -> bool:
        return True

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        return select_farthest(pool, budget, rng, self.normalise, "embedding")
