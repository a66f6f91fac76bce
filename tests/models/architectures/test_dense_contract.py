"""What rayal's own segmentation networks keep beyond the contract in test_contract.py."""

from functools import cache
from math import ceil
from typing import Any

import pytest
import torch

from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.network import last_layer
from rayal.parts import find, names
from rayal.testing.model import spec

OUTPUT_STRIDE = {"small_segmenter": 4, "drn_d_22": 8, "deeplab_v2": 8, "deeplab_v3": 8}
LINEAR = {"small_segmenter", "drn_d_22", "deeplab_v3"}
"""Those whose last layer is a linear map per position."""

DENSE = [n for n in names("models") if "segmentation" in find("models", n).tasks]

pytestmark = pytest.mark.parametrize("name", DENSE)


def part(name: str) -> Model:
    made: Model = find("models", name)()
    return made


@cache
def shapes(name: str) -> Any:
    """A network whose shapes alone are computed."""
    with torch.device("meta"):
        return part(name).network(5, spec(40, 48)).eval()


@pytest.mark.parametrize("size", [(40, 48), (41, 55)])
def test_the_grid_is_as_fine_as_it_is_said(name: str, size: tuple[int, int]) -> None:
    """Strategies and companions would read maps that are not what they were promised."""
    with torch.no_grad():
        outputs = shapes(name)(torch.zeros(2, 3, *size, device="meta"))
    grid = tuple(ceil(side / OUTPUT_STRIDE[name]) for side in size)

    assert (2, 5, *grid) == outputs.logits.shape
    assert grid == outputs.layers[-1].shape[2:]


def test_the_last_layer_is_known(name: str) -> None:
    """Strategies that compute with the last weights would be wrong, or refuse the network."""
    last = last_layer(shapes(name))

    assert (name in LINEAR) == (last is not None)
    assert last is None or last.bias is not None


def test_images_that_are_too_small_are_refused(name: str) -> None:
    """The last maps would hold a position or two, with hardly anything of an image in them."""
    with pytest.raises(
        UsageError, match=f"'{name}': images of 7x48 px are too small; it needs"
    ) as raised:
        build(part(name), 5, spec(7, 48), seed=0)
    height, width = map(int, str(raised.value).split()[-1].split("x"))
    with torch.device("meta"):
        build(part(name), 5, spec(height, width), seed=0)
