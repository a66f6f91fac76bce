"""How the graph network is fitted."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.pixels import valid_pixels
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions
from rayal.models.companions.graph_network import points
from rayal.models.weights import save_weights
from rayal.testing.passes import Pixelwise
from rayal.training.fits.base import Scene, Shown
from rayal.training.fits.graph import GraphFitting, GraphSpec
from tests.support.forks import as_two

IMAGE = ImageSpec(channels=1, height=2, width=3, mean=(0.5,), std=(0.25,))
LABELED, CANDIDATES = 9, 22


class Features(nn.Module):
    """Whose features are the pixels, and nothing below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Outputs:
        features = images.flatten(1).relu()
        return Outputs(self.classifier(features), features, ())


class Drawn:
    """Some images, of which each worker is shown a part."""

    def __init__(self, images: Tensor, rank: int = 0, size: int = 1) -> None:
        self.images, self.own = images, images.tensor_split(size)[rank]

    def __len__(self) -> int:
        return len(self.images)

    def share(self):
        yield from map(Shown, self.own.split(4) if len(self.own) else ())


def images() -> tuple[Tensor, Tensor]:
    """Labeled ones, and candidates: brighter at one side."""
    torch.manual_seed(0)
    labeled = torch.randn(LABELED, *IMAGE.shape) + torch.tensor([1.0, 0, 0])
    return labeled, torch.randn(CANDIDATES, *IMAGE.shape) + torch.tensor([0, 0, 1.0])


def fitting(
    spec: GraphSpec,
    labeled: Tensor,
    others: Tensor,
    rank: int = 0,
    size: int = 1,
    device: str = "cpu",
):
    torch.manual_seed(4)
    model = Features().eval()
    companion = spec.build(model, 2, IMAGE).to(device)
    shown = [Drawn(each.to(device), rank, size) for each in (labeled, others)]
    return spec.start(companion, Scene(model.to(device), Companions(), *shown, spec.updates))


def fit(spec: GraphSpec, *given, **where) -> tuple[GraphFitting, list[float]]:
    made = fitting(spec, *given, **where)
    return made, [float(made.step(None, step)["loss"]) for step in range(spec.updates)]


def test_the_loss_by_hand():
    """s of .5 and .25 for labeled units, of .2 for the candidate."""
    made = fitting(GraphSpec(unlabeled_weight=2.0), *(each[:2] for each in images()))
    made.labeled = 2
    noted = made.loss(torch.tensor([0.5, 0.25, 0.2]).logit())

    expected = -(math.log(0.5) + math.log(0.25)) / 2 - 2 * math.log(0.8)
    assert expected == pytest.approx(float(noted["loss"]))
    assert 0.375 == pytest.approx(float(noted["labeled"]))
    assert 0.2 == pytest.approx(float(noted["candidates"]))


def test_a_sure_network_has_a_finite_loss():
    """Where s rounds to 1 its log would be infinite, and the run end."""
    made = fitting(GraphSpec(), *(each[:1] for each in images()))

    assert 220 == pytest.approx(float(made.loss(torch.tensor([-100.0, 100.0]))["loss"]))


def test_learns_to_tell_labeled_units():
    """What is scored would be chance."""
    labeled, others = images()
    made, losses = fit(GraphSpec(updates=300, lr=0.01), labeled, others)
    companion = made.finished().eval()
    known, unknown = (companion(each.flatten(1).relu()) for each in (labeled, others))

    assert losses[-1] < 0.7 * losses[0]
    assert known.mean() > unknown.mean() + 0.2
    assert companion.embed(labeled.flatten(1).relu()).shape == (LABELED, 128)


def test_the_steps_are_those_of_the_matrix():
    """200 steps on another graph would be fitted without a complaint."""
    labeled, others = images()
    spec = GraphSpec(updates=20, dropout=0.0, width=5, lr=0.01)
    x = points(torch.cat([labeled, others]).flatten(1).relu())
    similar = x @ x.T - torch.eye(len(x))
    a = similar / similar.sum(dim=0) + torch.eye(len(x))
    torch.manual_seed(4)
    model = Features()
    network = spec.build(model, 2, IMAGE)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=5e-4)
    expected = []
    for _ in range(20):
        hidden = (a @ x @ network.first.weight + network.first.bias).relu()
        s = (a @ hidden @ network.last.weight + network.last.bias).sigmoid()
        loss = -s[:LABELED].log().mean() - 1.2 * (1 - s[LABELED:]).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(float(loss.detach()))

    assert expected == pytest.approx(fit(spec, labeled, others)[1], rel=1e-4)


def test_the_same_seed_makes_the_same_companion():
    """A run that is done again would choose otherwise."""
    spec = GraphSpec(updates=12)
    one, other = (save_weights(fit(spec, *images())[0].finished()) for _ in range(2))

    assert one == other


class OnCanvas:
    """Images at the top left of a larger area, in noise, each in its own size."""

    def __init__(self, alone: list[Tensor], height: int, width: int) -> None:
        self.canvas = torch.randn(len(alone), 1, height, width)
        for whole, image in zip(self.canvas, alone, strict=True):
            whole[:, : image.shape[2], : image.shape[3]] = image[0]
        sizes = torch.tensor([image.shape[2:] for image in alone])
        self.valid = valid_pixels(sizes, height, width)

    def __len__(self) -> int:
        return len(self.canvas)

    def share(self):
        yield Shown(self.canvas[:3], self.valid[:3])
        yield Shown(self.canvas[3:], self.valid[3:])


def test_filling_is_of_no_node():
    """A mask's image would be a node by how much of its canvas is free, and the pass ask beside
    it: the network sees one pixel at a time, so that nothing else can differ."""
    torch.manual_seed(0)
    model = Pixelwise().network(3, IMAGE).eval().requires_grad_(False)
    sides = [(4, 6), (5, 3), (1, 1), (6, 6), (2, 5), (3, 3)]
    alone = [torch.randn(1, 1, *each) for each in sides]
    shown = OnCanvas(alone, 6, 7)
    spec = GraphSpec(updates=1)
    made = spec.start(spec.build(model, 3, IMAGE), Scene(model, Companions(), shown, shown, 1))

    expected = points(torch.cat([model(image).features for image in alone]))
    torch.testing.assert_close(made.graph.x, torch.cat([expected, expected]))


def _work(rank: int, folder: Path) -> None:
    labeled, others = images()
    made, _ = fit(GraphSpec(updates=12), labeled[:1], others, rank=rank, size=2)
    (folder / f"{rank}").write_bytes(save_weights(made.finished()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_fits_what_the_cpu_fits():
    """The graph of a GPU would be another, or half of it lie elsewhere."""
    spec, found = GraphSpec(updates=20, dropout=0.0, lr=0.01), {}
    for device in ("cpu", "cuda"):
        made, losses = fit(spec, *images(), device=device)
        companion = made.finished().eval()
        probabilities = companion(images()[0].flatten(1).relu().to(device))
        found[device] = [*losses, *probabilities.tolist()]

    assert found["cpu"] == pytest.approx(found["cuda"], rel=1e-2)


def test_two_workers_fit_as_one(tmp_path):
    """Each would have a graph of its own half; here one has no labeled unit at all."""
    labeled, others = images()
    as_two(_work, tmp_path)
    alone = fit(GraphSpec(updates=12), labeled[:1], others)[0].finished()

    expected = save_weights(alone)
    assert [expected, expected] == [(tmp_path / f"{rank}").read_bytes() for rank in range(2)]
