"""rayal/models/contract.py: a user's own network is asked before anything is trained."""

import pytest
import torch
from torch import nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.models.build import build

IMAGE = ImageSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))
CLASSES = 3


class Net(nn.Module):
    """Says what it was told to say of the logits N C of two images."""

    def __init__(self, says, **attributes) -> None:
        super().__init__()
        self.classifier = nn.Linear(16, CLASSES)
        self.layer_channels = ()
        self.says = says
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, images):
        features = images.flatten(1)
        return self.says(self.classifier(features), features)


class Bare(nn.Module):
    """Without the attributes of a network."""

    layer_channels = ()

    def forward(self, images):
        return Outputs(images.flatten(1)[:, :CLASSES], images.flatten(1), ())


class Own(Model):
    """A user's own architecture."""

    made: object = None

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return self.made() if callable(self.made) else self.made


def good(logits, features):
    return Outputs(logits, features, ())


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (lambda: None, "returned NoneType; return a torch.nn.Module"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LogSoftmax(1)), "by no linear layer"),
        (lambda: Bare(), "has no `classifier`"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)), "has a lazy layer, '1'"),
        (lambda: Net(good, layer_channels=None), "has no `layer_channels`"),
        (
            lambda: Net(lambda z, _: {"z": z}),
            "returned dict; return .*Outputs.*or the logits alone",
        ),
        (lambda: Net(lambda z, f: (z, f, ())), "forward returned tuple; return .*Outputs"),
        (lambda: Net(lambda z, f: Outputs(z.T, f, ())), r"\(3, 2\).*make them N C = 2 3"),
        (lambda: Net(lambda z, f: Outputs(z[..., None, None], f, ())), "make them N C = 2 3"),
        (lambda: Net(lambda z, f: Outputs(z.argmax(1), f, ())), "not a tensor of floating-point"),
        (lambda: Net(lambda z, f: Outputs(z / 0, f, ())), "not finite"),
        (lambda: Net(lambda z, f: Outputs(z, f[0], ())), "features are .*make them N D"),
        (lambda: Net(lambda z, f: Outputs(z, f, None)), "layers are NoneType; give a tuple"),
        (lambda: Net(lambda z, f: Outputs(z, f, (f,))), r"have \[16\] channels, .* says \[\]"),
    ],
)
def test_a_broken_promise_is_named(network, problem: str) -> None:
    """It would end in a traceback in the middle of the first training, or train something else."""
    with pytest.raises(UsageError, match=f"^model 'tests.*test_contract': .*{problem}"):
        build(Own(made=network), CLASSES, IMAGE, seed=0)
    build(Own(made=lambda: Net(good)), CLASSES, IMAGE, seed=0)  # what all the messages ask for


def test_a_good_one_is_left_as_it_was() -> None:
    """Asking would change what it learns: random numbers, batch statistics, its mode."""

    def made() -> Net:
        net = Net(good)
        net.norm = nn.BatchNorm1d(16)
        return net

    before = torch.random.get_rng_state()
    network = build(Own(made=made), CLASSES, IMAGE, seed=0)

    assert network.training and 0 == network.norm.num_batches_tracked
    assert torch.equal(before, torch.random.get_rng_state())
