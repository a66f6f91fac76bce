"""What fits are shown of images that do not fill their canvas."""

from pathlib import Path

import pytest
import torch

from rayal.data.datasets.camvid import Camvid
from rayal.data.pixels import valid_pixels
from rayal.training.augment import normalise
from rayal.training.fits.feed import AllImages
from rayal.training.images import Resident, Streaming, open_images
from tests.support import scenes

SHAPES = (24, 32), (20, 40), (30, 26)


@pytest.mark.parametrize(("memory", "kind"), [(10**9, Resident), (0, Streaming)])
def test_what_is_beside_an_image_is_told(
    cache: Path, tmp_path: Path, memory: int, kind: type
) -> None:
    """Features would be means over the filling too; wherever images lie, and for every worker."""
    root = scenes.write(tmp_path / "scenes", pool=20, test=2, shapes=SHAPES)
    store = Camvid(root=str(root), canvas=(30, 40)).open()
    ids, spec = store.pool.ids()[::-1], store.card.image
    decoded = store.pool.decode(store.pool.take(ids))
    items = open_images(store.pool, ids, spec, torch.device("cpu"), memory)
    images, valid = [], []
    for rank in range(3):
        for part in AllImages(items, len(ids), spec, rank, 3).share():
            assert part.valid is not None
            images.append(part.images)
            valid.append(part.valid)

    assert isinstance(items, kind) and decoded.sizes is not None
    assert set(SHAPES) == {(height, width) for height, width in decoded.sizes.tolist()}
    assert torch.equal(normalise(torch.from_numpy(decoded.images), spec), torch.cat(images))
    expected = valid_pixels(torch.from_numpy(decoded.sizes), 30, 40)
    assert torch.equal(expected, torch.cat(valid))


def test_images_that_fill_their_canvas_have_no_filling(cache: Path, tmp_path: Path) -> None:
    """Every mean would be computed the slow way."""
    store = Camvid(root=str(scenes.write(tmp_path, pool=4, test=2))).open()
    ids, spec = store.pool.ids(), store.card.image
    for memory in (10**9, 0):
        items = open_images(store.pool, ids, spec, torch.device("cpu"), memory)

        assert [None] == [part.valid for part in AllImages(items, 4, spec, 0, 1).share()]
