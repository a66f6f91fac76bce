"""A dataset is prepared once, again when its originals change, and not at all without them."""

import os
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import pytest

from rayal.data.datasets.base import Dataset, EncodedDataset
from rayal.data.datasets.base import cache as default_cache
from rayal.data.datasets.digits import Digits
from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.source import Source, numbered
from rayal.errors import DataError, StorageError, UsageError


class Toy(Dataset):
    """The bytes of one file, each a grey image of one pixel."""

    layout: ClassVar[str] = "a file called pixels"
    prepared: ClassVar[list[Path]] = []

    def files(self) -> list[str]:
        return ["pixels"]

    def fetch(self) -> None:
        (self.folder / "pixels").write_bytes(b"\x07")

    def source(self) -> Source:
        self.prepared.append(self.folder)
        data = (self.folder / "pixels").read_bytes()
        images = np.frombuffer(data, np.uint8).reshape(-1, 1, 1, 1)
        return Source(
            ["any"],
            numbered("train", [0] * len(images), images),
            numbered("test", [0] * len(images), images),
            origin="here",
            licence="free",
        )


class Files(EncodedDataset):
    """Only its options matter."""

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        raise AssertionError("never prepared")


@pytest.fixture(autouse=True)
def prepared() -> list[Path]:
    Toy.prepared.clear()
    return Toy.prepared


@pytest.fixture
def toy(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "pixels").write_bytes(b"\x01\x02\x03")
    return {"root": str(tmp_path / "root"), "store": str(tmp_path / "stores")}


def test_opening_prepares_once(toy: dict[str, Any], prepared: list[Path]) -> None:
    """Every run opens its dataset; decoding ImageNet takes an hour."""
    first, second = Toy(**toy).open(), Toy(**toy).open()

    assert 1 == len(prepared)
    assert first.url == second.url
    assert [1, 2, 3] == first.pool.decode(first.pool.take(first.pool.ids())).images.ravel().tolist()


def test_the_folder_follows_the_content(toy: dict[str, Any], prepared: list[Path]) -> None:
    """A run must not continue on other images, nor a copied dataset be prepared again."""
    before, file = Toy(**toy).open(), Path(toy["root"], "pixels")
    os.utime(file, (0, 0))
    touched = Toy(**toy).open()
    file.write_bytes(b"\x01\x02\x04")
    changed = Toy(**toy).open()

    assert before.url == touched.url != changed.url
    assert 2 == len(prepared)
    assert before.card.fingerprint[:16] == before.url.rsplit("-")[-1]


def test_the_folder_follows_the_options(toy: dict[str, Any], tmp_path: Path) -> None:
    """Where files lie changes nothing; what the store holds does."""
    same = Toy(**toy).fingerprint()

    assert same == Toy(**{**toy, "store": str(tmp_path), "download": True}).fingerprint()
    assert same != Toy(**toy, limit_pool=2).fingerprint()
    assert same != Toy(**toy, mean=(0.5,), std=(0.5,)).fingerprint()


def test_limits_take_the_first_units(toy: dict[str, Any]) -> None:
    """A small experiment is a part of the large one, not a random other."""
    store = Toy(**toy, limit_pool=2, limit_test=1).open()

    assert ["train-00000", "train-00001"] == store.pool.ids()
    assert ["train-00000", "train-00001"] == list(store.labels("pool"))
    assert ["test-00000"] == store.test.ids()
    assert pytest.approx(1.5 / 255) == store.card.image.mean[0]


def test_given_statistics_are_used(toy: dict[str, Any]) -> None:
    """Reproducing a paper needs its constants, not better ones."""
    assert ((0.5,), (0.25,)) == (
        (card := Toy(**toy, mean=(0.5,), std=(0.25,)).open().card).image.mean,
        card.image.std,
    )
    with pytest.raises(UsageError, match="mean and std belong together"):
        Toy(mean=(0.5,))
    assert None is Toy(mean=None, std=None).mean


def test_missing_originals_are_explained(tmp_path: Path) -> None:
    """The commonest mistake of all: the message names the place and what should be there."""
    with pytest.raises(DataError) as caught:
        Toy(root=str(tmp_path)).open()

    assert f"{tmp_path}/pixels is missing" in str(caught.value)
    assert f"expects a file called pixels in {tmp_path}" in str(caught.value)
    assert "set dataset.root, or dataset.download: true" in str(caught.value)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "pixels").write_bytes(b"12")
    stores = str(tmp_path / "stores")
    assert 2 == Toy(root=str(tmp_path / "there"), store=stores).open().card.pool
    assert 1 == Toy(root=str(tmp_path), store=stores, download=True).open().card.pool


def test_what_nobody_fetches_is_not_to_be_downloaded(tmp_path: Path) -> None:
    """A way out that leads to the next refusal is none."""
    with pytest.raises(DataError, match=r": set dataset\.root$"):
        MaskFolder(root=str(tmp_path), classes=("a", "b")).open()


def test_download_fetches_what_is_missing(tmp_path: Path, toy: dict[str, Any]) -> None:
    """Only then: official files that are there are never replaced."""
    there = Toy(**toy, download=True).open()
    fetched = Toy(root=str(tmp_path / "new"), store=toy["store"], download=True).open()

    assert (3, 1) == (there.card.pool, fetched.card.pool)


def test_failed_downloads_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline is normal on a cluster; the way out is to bring the files by hand."""

    def offline(self: Toy) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(Toy, "fetch", offline)
    by_hand = {"root": str(tmp_path / "a"), "store": str(tmp_path / "stores"), "download": True}
    with pytest.raises(StorageError, match="no route.*; put a file called pixels into .*/a by han"):
        Toy(**by_hand).open()
    (tmp_path / "a" / "pixels").write_bytes(b"12")
    assert 2 == Toy(**by_hand).open().card.pool

    monkeypatch.setattr(Toy, "fetch", Dataset.fetch)
    with pytest.raises(UsageError, match="cannot be downloaded; set dataset.root"):
        Toy(**{**by_hand, "root": str(tmp_path / "b")}).open()
    assert 2 == Toy(**by_hand).open().card.pool


def test_the_store_may_be_anywhere(toy: dict[str, Any]) -> None:
    """Workers on other machines read it from a bucket."""
    store = Toy(root=toy["root"], store=f"memory://{uuid4()}").open()

    assert 3 == len(store.pool.decode(store.pool.take(store.pool.ids())).ids)


def test_a_store_that_cannot_be_written_is_explained(toy: dict[str, Any], tmp_path: Path) -> None:
    """Before hours of work, and as an error of storage."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        Toy(root=toy["root"], store=str(tmp_path / "file")).open()


def test_everything_has_a_default_place(cache: Path) -> None:
    """RAYAL_CACHE moves downloads and stores off a small home disk."""

    assert cache == default_cache()
    assert cache / "data" / Toy.part_name() == Toy().folder


def test_options_of_decoding_reach_the_store() -> None:
    """They are fields of the dataset, so that --set dataset.size=64 works."""
    decoding = Files(size=64, resize=70, squash=True, channels=1).decoding

    assert (64, 70, True, 1) == (decoding.size, decoding.resize, decoding.squash, decoding.channels)
    with pytest.raises(UsageError, match="raise resize"):
        Files(size=64, resize=60)
    assert 64 == Files(size=64, resize=64).decoding.resize


@pytest.mark.parametrize("missing", ["encoding", "size", "mean"])
def test_unverified_images_need_their_facts(missing: str) -> None:
    """What is not looked at must be told."""
    given = {"encoding": "uri", "size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    assert not Files(verify=False, **given).verify
    del given[missing]
    given.pop("std") if missing == "mean" else None
    with pytest.raises(UsageError, match="verify: false needs .*; set these, or verify: tr"):
        Files(verify=False, **given)
    assert Files(verify=True, **given).verify


def test_a_store_of_addresses_belongs_to_a_place(tmp_path: Path) -> None:
    """Originals that moved would otherwise all be missing."""
    here, there = str(tmp_path / "here"), str(tmp_path / "there")

    assert Files(root=here).fingerprint() == Files(root=there).fingerprint()
    assert (
        Files(root=here, encoding="uri").fingerprint()
        != Files(root=there, encoding="uri").fingerprint()
    )


def test_new_options_change_no_store() -> None:
    """Stores are found by these: another key would have every user prepare everything again."""
    shaping = Files(root="/images", size=64).shaping()

    assert [
        *("name", "channels", "size", "resize", "squash", "max_pixels"),
        *("limit_pool", "limit_test", "mean", "std", "encoding", "verify"),
    ] == list(shaping)
    assert (
        Files(root="/images", shape=(4, 5)).fingerprint()
        != Files(root="/images", canvas=(4, 5)).fingerprint()
    )


@pytest.mark.parametrize("frame", [{"shape": (4, 5)}, {"canvas": (4, 5)}])
def test_a_shape_or_canvas_is_a_size_too(frame: dict[str, Any]) -> None:
    """What is not looked at must be told, in one of three ways."""
    given = {"encoding": "uri", "mean": (0.5,) * 3, "std": (0.5,) * 3}

    assert (4, 5) == Files(verify=False, **given, **frame).decoding.frame


def test_datasets_say_what_their_labels_are_for() -> None:
    """A network of one class an image must not be trained on masks."""
    assert {"classification"} == Files.tasks


def test_a_url_is_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would become a path in the current folder, and the images be missing there."""
    with pytest.raises(
        ValueError, match="s3://bucket/x is a URL, but originals are read from a di"
    ):
        Digits(root="s3://bucket/x")
    assert tmp_path == Digits(root=f"file://{tmp_path}").folder

    monkeypatch.setenv("RAYAL_CACHE", "s3://bucket/cache")
    with pytest.raises(UsageError, match="RAYAL_CACHE is s3://bucket/cache.* of this machine; set"):
        Digits().open()
    monkeypatch.setenv("RAYAL_CACHE", str(tmp_path / "cache"))
    store = f"memory://{uuid4()}"
    assert Digits(limit_pool=3, limit_test=1, store=store).open().url.startswith(store)
