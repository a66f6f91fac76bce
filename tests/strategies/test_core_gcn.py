"""CoreGCN against k-center greedy on the embedding of a dense graph."""

import numpy as np
import torch

from rayal.cycle import shard_file
from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.models.companions.base import EmbeddingCompanion, EmbeddingSpec
from rayal.models.companions.graph_network import Graph, GraphNetwork, points
from rayal.runs.ledger import Ledger
from rayal.runs.results import Scored
from rayal.selection.candidates import Candidates
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from rayal.strategies.core_gcn import CoreGcn
from rayal.training.fits.base import FitSpec, Fitting
from rayal.training.fits.graph import GraphSpec
from rayal.workflows.plan import make
from tests.support.doubles import Silent
from tests.support.whole_runs import short


def embedding(made: GraphNetwork, features: np.ndarray) -> np.ndarray:
    """N H of the N x N matrix, in float64."""
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = x @ x.T - np.eye(len(x))
    a = similar / similar.sum(axis=0) + np.eye(len(x))
    weight, bias = (each.detach().double().numpy() for each in made.first.parameters())
    return np.maximum(a @ (x @ weight) + bias, 0)


def farthest(points: np.ndarray, centres: np.ndarray, count: int) -> list[int]:
    """By comparing everything with everything."""
    chosen, known = list[int](), list(centres)
    for _ in range(count):
        nearest = [min(np.square(p - c).sum() for c in known) for p in points]
        chosen.append(int(np.argmax([d if i not in chosen else -1 for i, d in enumerate(nearest)])))
        known.append(points[chosen[-1]])
    return chosen


def test_picks_are_those_of_a_dense_graph():
    """The whole chain of scoring without the graph would pick what another method picks."""
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((60, 16)), 0)
    torch.manual_seed(5)  # no two are as near to a tie as float16 rounds
    made = GraphNetwork(16, 8, 0.3)
    made.remember(Graph(points(torch.from_numpy(features).float())))
    kept = made.embed(torch.from_numpy(features).float()).half().numpy()
    pool = Candidates(
        Ids([f"unit-{n:02d}" for n in range(50)]),
        None,
        kept={"embedding": kept[:50]},
        labeled_ids=Ids([f"labeled-{n}" for n in range(10)]),
        labeled={"embedding": kept[50:]},
    )
    expected = embedding(made, features)
    picks = pool.places(CoreGcn().select(pool, 20, np.random.default_rng(0)))

    assert farthest(expected[:50], expected[50:], 20) == picks.tolist()
    plain = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert farthest(plain[:50], plain[50:], 20) != picks.tolist()  # the graph changes something


class Mirror(EmbeddingCompanion):
    """The first two features, the other way around."""

    def embed(self, features):
        return -features[:, :2]


class MirrorFitting(Fitting):
    companion = Mirror()
    parts = {}

    def step(self, batch, step):
        return {"loss": torch.zeros(())}


class MirrorSpec(FitSpec, EmbeddingSpec):
    name = "mirror"
    width: int = 2

    def steps(self, labeled, candidates):
        return 1

    def build(self, model, classes, image):
        return Mirror()

    def start(self, companion, scene):
        return MirrorFitting()


class OfMirror(Strategy):
    """Selects by another embedding than CoreGCN."""

    keeps = frozenset({"embedding"})

    def fits(self):
        return (MirrorSpec(),)

    def embeds(self):
        return MirrorSpec()

    def select(self, pool, budget, rng):
        assert (pool.kept["embedding"] <= 0).all()  # of a ReLU before it was turned around
        return pool.ids[np.argsort(pool.kept["embedding"][:, 0])[: int(budget)]]


def test_two_embeddings_of_a_pass_are_apart(tiny, tmp_path):
    """One strategy would select by the space of the other, of the same or another width."""
    x = short(
        tiny,
        strategy=CoreGcn(graph=GraphSpec(updates=3, width=9)),
        observers=(OfMirror(), "core_set"),
    )
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        result, folder = ledger.result(0, Scored), ledger.stage(0, "score")
    shard = next(shard_file.shards(folder, result, ["keep.embedding.graph"]))
    both = [
        shard_file.load(folder, result, [name], names=["core_gcn"])["core_gcn"].kept["embedding"]
        for name in ("embedding.graph", "embedding.mirror")
    ]

    assert "keep.embedding.graph" in shard.schema.names
    assert [9, 2] == [rows.shape[1] for rows in both]
    assert (both[0] >= 0).all() and (both[1] <= 0).all()


def test_the_plan_knows_what_is_kept(tiny):
    """The disk would be full halfway through a large pool."""
    store = short(tiny).dataset.open()
    wide, narrow = (
        make(short(tiny, strategy=CoreGcn(graph=GraphSpec(width=width))), store, probe=False)
        for width in (100, 60)
    )
    rows = sum(cycle.scored + cycle.labels for cycle in wide.cycles if cycle.scored)

    assert 2 * 40 * rows == wide.disk["scores"] - narrow.disk["scores"]


def test_an_embedding_of_nobody_is_refused(tiny):
    """The first pass would end, after a training."""

    class Nobody(Strategy):
        keeps = frozenset({"embedding"})

    (why,) = Nobody().contradictions(short(tiny).task, None, 1)
    assert "return one that it asks for by `embeds`" in why
    assert not [*CoreGcn().contradictions(short(tiny).task, None, 1)]
