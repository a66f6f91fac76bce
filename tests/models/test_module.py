"""rayal/models/module.py: what any module says of itself."""

import pytest
import torch
from torch import nn

from rayal.errors import UsageError
from rayal.models.module import check_sized, evaluating, first_weight, image_channels, task_of


def test_modes_come_back_after_an_error_too() -> None:
    """A training that goes on would have lost its dropout, or batch norms would learn again."""
    nets = [nn.Sequential(nn.Dropout(), nn.BatchNorm2d(2)).train() for _ in range(2)]
    nets[0][1].eval()

    with pytest.raises(KeyboardInterrupt), evaluating(*nets):
        assert not any(each.training for net in nets for each in net.modules())
        raise KeyboardInterrupt

    assert [[True, True, False], [True, True, True]] == [
        [each.training for each in net.modules()] for net in nets
    ]


def test_by_hand() -> None:
    """Images would be of another type, or lie in another order, than a module takes."""
    first = nn.Conv2d(5, 2, 1).double()
    net = nn.Sequential(nn.Sequential(first), nn.Conv2d(2, 3, 1))
    frozen = nn.Module()
    frozen.register_parameter("count", nn.Parameter(torch.zeros(1, dtype=torch.int64), False))

    assert 5 == image_channels(net) and image_channels(nn.Linear(2, 2)) is None
    assert first_weight(net) is first.weight and 0 == first_weight(frozen).numel()
    assert ["classification", "segmentation"] == [
        task_of(torch.zeros(shape)).part_name() for shape in ((2, 3), (2, 3, 4, 4))
    ]


def test_lazy_layers_are_named_by_their_place() -> None:
    """A reader would not know which of a hundred layers is meant."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.LazyLinear(3)))

    with pytest.raises(UsageError, match=r"Sequential has a lazy layer, '1\.0', whose size"):
        check_sized(net)
    net(torch.zeros(1, 2))
    check_sized(net)
