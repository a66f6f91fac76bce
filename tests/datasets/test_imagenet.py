"""ImageNet by reference: listed, neither copied nor decoded."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from rayal.datasets.imagenet import Imagenet
from rayal.errors import DataError

WNIDS = ("n01440764", "n02012849", "n03126707")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes; two images each to train on, one to validate."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 280), (255, 0, 0)).save(buffer, "JPEG")
    for number, wnid in enumerate(WNIDS):
        for name in (f"train/{wnid}/{wnid}_1.JPEG", f"train/{wnid}/{wnid}_2.JPEG"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(buffer.getvalue())
        (tmp_path / "val" / wnid).mkdir(parents=True)
        (tmp_path / f"val/{wnid}/val_{number}.JPEG").write_bytes(buffer.getvalue())
    return tmp_path


def test_images_stay_where_they_are(root: Path) -> None:
    """Copying 140 GB before the first run would cost a day and a disk."""
    store = Imagenet(root=str(root)).open()
    decoded = store.pool.decode(store.pool.take([f"train/{WNIDS[1]}/{WNIDS[1]}_2.JPEG"]))

    assert (6, 3, "uri", WNIDS) == (
        store.card.pool,
        store.card.test,
        store.card.encoding,
        store.card.classes,
    )
    assert (1, 3, 224, 224) == decoded.images.shape
    assert (0.485, 0.456, 0.406) == store.card.image.mean
    assert [0, 1, 2] == list(store.labels("test").values())


def test_lost_and_damaged_images_are_found_while_scoring(root: Path) -> None:
    """They are the price of not decoding while preparing; each is one bad image, by name."""
    store = Imagenet(root=str(root)).open()
    lost, damaged, *_ = ids = store.pool.ids()
    (root / lost).unlink()
    (root / damaged).write_bytes((root / damaged).read_bytes()[:-300])
    decoded = store.pool.decode(store.pool.take(ids))

    assert ids[2:] == decoded.ids
    assert f"missing: {root / lost}" == decoded.bad[lost]
    assert "truncated" in decoded.bad[damaged]


def test_verify_decodes_while_preparing(root: Path) -> None:
    """Then bad images, sizes and statistics are known before the first cycle."""
    (root / f"train/{WNIDS[0]}/{WNIDS[0]}_1.JPEG").write_bytes(b"text")
    card = Imagenet(root=str(root), verify=True, mean=None, std=None).open().card

    assert [f"train/{WNIDS[0]}/{WNIDS[0]}_1.JPEG"] == list(card.bad)
    assert {"280x300": 8} == card.sizes
    assert pytest.approx((254 / 255, 0, 0), abs=0.01) == card.image.mean


def test_classes_have_readable_names(root: Path) -> None:
    """meta.bin of torchvision; wnids keep apart the bird and the machine called crane."""
    names = {WNIDS[0]: ("tench", "Tinca tinca"), WNIDS[1]: ("crane",), WNIDS[2]: ("crane",)}
    torch.save((names, list(WNIDS)), root / "meta.bin")

    assert (f"{WNIDS[0]} tench", f"{WNIDS[1]} crane", f"{WNIDS[2]} crane") == (
        Imagenet(root=str(root)).open().card.classes
    )


@pytest.mark.parametrize("content", [b"", b"text", Path])
def test_other_class_lists_are_refused(root: Path, content: object) -> None:
    """The file is read with weights_only: nothing in it is executed."""
    if isinstance(content, bytes):
        (root / "meta.bin").write_bytes(content)
    else:
        torch.save((content, content), root / "meta.bin")
    with pytest.raises(DataError, match="meta.bin is not the class list"):
        Imagenet(root=str(root), limit_pool=5).open()
