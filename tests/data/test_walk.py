"""A disk and a bucket are walked alike, and what is left out is told alike."""

from pathlib import Path
from typing import Any

import fsspec
import pytest

from rayal.data.walk import SUFFIXES, Bucket, Disk, LeftOut, walk
from rayal.storage.location import located
from tests.data.test_images import encoded, photo

PNG = encoded(photo(2, 2))
FILES = {
    "a/1.png": PNG,
    "a/2.JPG": PNG,
    "a/empty.png": b"",
    "a-b/3.png": PNG,
    "bare": PNG,
    "b/photo.jfif": encoded(photo(2, 2), "JPEG"),
    "b/photo.png ": PNG,
    "b/icon.ico": PNG,
    "b/x.jpg_large": encoded(photo(2, 2), "WEBP"),
}
REST = {
    "b/x.avif": (b"\0\0\0\x1cftypavif\0\0\0\0", "images in a format that is not read"),
    "b/raw.nef": (b"II*\0\x08\0\0\0", "images in a format that is not read"),
    "b/x.tga": (b"\0\0\2", "images in a format that is not read"),
    ".x/1.png": (PNG, "hidden"),
    "__MACOSX/1.png": (PNG, "hidden"),
    "@eaDir/1.png": (PNG, "hidden"),
    "a/._1.png": (b"\0\5\x16\7", "hidden"),
    "a/Thumbs.db": (b"\0", "other files"),
    "notes.txt": (b"BM and P6 are magic", "other files"),
}


def plant(fs: Any, top: str) -> None:
    for path, data in FILES.items() | {(path, data) for path, (data, _) in REST.items()}:
        fs.pipe_file(f"{top}/{path}", data)


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_one_walk_for_both(tmp_path: Path, kind: str) -> None:
    """A bucket would leave out in silence what a disk warns of."""
    told = list[tuple[str, str]]()
    left = LeftOut(lambda path, reason: told.append((path, reason)))
    if kind == "disk":
        (tmp_path / "pool").mkdir()
        fs = fsspec.filesystem("file", auto_mkdir=True)
        plant(fs, str(tmp_path / "pool"))
        tree: Any = Disk(tmp_path / "pool", follow_links=False)
    else:
        fs, top = located(f"memory:/{tmp_path}/pool")
        plant(fs, top)
        tree = Bucket(fs, top)

    found = list(walk(tree, "", left))

    assert sorted(FILES) == [each.path for each in found]
    assert [len(FILES[each.path]) for each in found] == [each.state()[0] for each in found]
    hidden = {path: path.split("/")[0] if path[0] in "._@" else path for path in REST}
    assert {(hidden[path], reason) for path, (_, reason) in REST.items()} == set(told)
    assert (
        "left out 9 entries: 3 images in a format that is not read (first 'b/raw.nef'); 4"
        in str(left)
    )


class Keys:
    """What an object store says of these keys, as s3fs tells it; others end folders by a slash."""

    def __init__(self, *keys: str, slash: str) -> None:
        self.keys, self.slash = keys, slash

    def ls(self, here: str, detail: bool) -> list[dict[str, Any]]:
        found = set[tuple[str, str]]()
        for key in self.keys:
            if key.startswith(f"{here}/"):
                rest = key[len(here) + 1 :]
                name, slash, _ = rest.partition("/")
                kind = "directory" if slash else "file"
                found.add((f"{here}/{name}{self.slash if slash else ''}", kind))
        return [{"name": key, "type": kind, "size": 1} for key, kind in found]

    def find(self, here: str, prefix: str, detail: bool) -> dict[str, dict[str, Any]]:
        return {k: {"size": 1} for k in self.keys if k.startswith(f"{here}/{prefix}")}

    def invalidate_cache(self) -> None:
        pass


@pytest.mark.parametrize("slash", ["", "/"])
def test_keys_are_no_paths(slash: str) -> None:
    """`a//b` is another key than `a/b`: it would be lost, or read as the other."""
    keys = ["a/b.png", "a//b.png", "a//c/d.png", "/top.png", "q?*[x].png", "a%2Fb.png", "x /y.png"]
    odd = ["a//.x/e.png", "a/", "a/../f.png"]
    left = LeftOut()
    store = Keys(*(f"bucket/pool/{key}" for key in keys + odd), slash=slash)
    found = walk(Bucket(store, "bucket/pool"), "", left)

    assert sorted(keys) == [each.path for each in found]
    assert {"hidden": 2} == left.counts


def test_suffixes_alone_count_where_they_are_asked_for(tmp_path: Path) -> None:
    """A mask of another kind would be taken for one of these because it is an image."""
    for name in ("a.png", "b.json", "c.dat"):
        (tmp_path / name).write_bytes(PNG)

    names = [each.path for each in walk(Disk(tmp_path, False), "", LeftOut(), {".png", ".json"})]
    assert ["a.png", "b.json"] == names
    assert {".jpg", ".png"} <= SUFFIXES


def test_a_file_that_cannot_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be an image."""
    (tmp_path / "a").write_bytes(PNG)
    monkeypatch.setattr(Disk, "head", lambda *_: None)
    left = LeftOut()

    assert [] == list(walk(Disk(tmp_path, False), "", left))
    assert "1 file that cannot be read (first 'a')" in str(left)
