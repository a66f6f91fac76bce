"""Lists of addresses: images stay where they lie."""

from pathlib import Path

import pytest

from rayal.data.datasets.uri_list import UriList
from rayal.errors import DataError, UsageError
from tests.data.datasets.test_image_folder import plant


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images to label and two with a label."""
    plant(tmp_path / "far", *(f"{n}.png" for n in range(6)))
    lines = [f"{tmp_path}/far/{n}.png\n" for n in range(4)]
    (tmp_path / "pool.txt").write_text("".join(lines))
    rows = [f"{tmp_path}/far/{n}.png,{name}\n" for n, name in ((4, "dog"), (5, "cat"))]
    (tmp_path / "test.csv").write_text("".join(["uri,label\n", *rows]))
    return tmp_path


def test_addresses_are_ids(root: Path) -> None:
    """Whoever labels must find the image."""
    store = UriList(root=str(root)).open()

    assert [f"{root}/far/{n}.png" for n in range(4)] == store.pool.ids()
    assert {f"{root}/far/4.png": 1, f"{root}/far/5.png": 0} == store.labels("test")
    assert ("uri", ("cat", "dog")) == (store.card.encoding, store.card.classes)
    assert not store.card.labeled and store.card.tested
    assert 4 == len(store.pool.decode(store.pool.take(store.pool.ids())).images)


def test_no_test_images(root: Path) -> None:
    """A list alone would be no pool."""
    with pytest.raises(UsageError, match="nobody tells the classes; set classes"):
        UriList(root=str(root), test=None)
    store = UriList(root=str(root), test=None, classes=("a", "b")).open()

    assert (4, 0, ("a", "b")) == (store.card.pool, store.card.test, store.card.classes)


def test_lines_as_editors_write_them(root: Path) -> None:
    """A byte order mark, Windows line ends, an empty line and a line twice are no images; an image
    that is tested on is no candidate."""
    lines = [f"{root}/far/{n}.png" for n in (0, 1, 1, 4)]
    (root / "pool.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", ""]).encode())

    assert lines[:2] == UriList(root=str(root)).open().pool.ids()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photos/1.png\n", "'photos/1.png' is refused; use an absolute path or file://"),
        ("https://host/1.png\n", "is refused; use an absolute path"),
        ("\n", "lists no image; add some"),
        (b"\xff\xfe", "is not in UTF-8; save it as UTF-8"),
    ],
)
def test_lines_that_are_no_addresses(root: Path, text: str | bytes, said: str) -> None:
    """A worker on another machine would look for them in its own folder."""
    (root / "pool.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said):
        UriList(root=str(root)).open()
    (root / "pool.txt").write_text(f"{root}/far/0.png\n")
    assert 1 == UriList(root=str(root)).open().card.pool


def test_a_list_of_tests_is_a_table(root: Path) -> None:
    """A text file has no labels."""
    with pytest.raises(UsageError, match="give one with columns uri and label"):
        UriList(root=str(root), test="test.txt")
    with pytest.raises(DataError, match=r"test.csv row 2 .*class 'dog' is not in the list"):
        UriList(root=str(root), classes=("cat", "owl")).open()
    classes = ("cat", "owl", "dog")
    assert 2 == UriList(root=str(root), classes=classes).open().card.test
    (root / "test.csv").rename(elsewhere := root.parent / "test.csv")
    assert 2 == UriList(root=str(root), classes=classes, test=str(elsewhere)).open().card.test
