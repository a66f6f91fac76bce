"""Images that stay where they are: which addresses are read."""

from pathlib import Path

import pytest

from rayal.data import uri
from rayal.data.images import BadImage
from rayal.errors import DataError


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.invalid/a.jpg",
        "HTTP://example.invalid/a.jpg",
        "ftp://example.invalid/a.jpg",
        "simplecache::http://example.invalid/a.jpg",
        "zip://a.jpg::http://example.invalid/b.zip",
        "s3://bucket/a.zip::zip://b",
        "github://org:repo@main/a.jpg",
        "images/a.jpg",
    ],
)
def test_the_web_is_refused(address: str) -> None:
    """A pool from a stranger must not make workers call addresses inside the cluster's network."""
    with pytest.raises(DataError, match="is refused"):
        uri.read_uri(address)


@pytest.mark.parametrize("address", ["/data/a.jpg", "s3://bucket/a.jpg", "file:///data/a.jpg"])
def test_paths_and_storages_are_accepted(address: str) -> None:
    """ImageNet on a shared disk or in a bucket is the reason that addresses exist."""
    assert address == uri.checked(address)


def test_bytes_come_back(tmp_path: Path) -> None:
    """Names with signs that mean something in URLs are still names."""
    file = tmp_path / "a b#%41?ü\n::http:.jpg"
    file.write_bytes(b"content")

    assert b"content" == uri.read_uri(str(file))


def test_what_cannot_be_read_is_bad(tmp_path: Path) -> None:
    """One lost file costs one image; the reason tells a lost one from a damaged one."""
    with pytest.raises(BadImage, match=f"missing: {tmp_path}/a.jpg"):
        uri.read_uri(f"{tmp_path}/a.jpg")
    with pytest.raises(BadImage, match="unreadable"):
        uri.read_uri(f"{tmp_path}/\0.jpg")


def test_a_reason_names_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons are stored with the scores: where the image was would be lost for good."""

    def located(address: str) -> None:
        raise FileNotFoundError(address)

    monkeypatch.setattr(uri, "located", located)
    for address in ("abfss://photos@acct.dfs.core.windows.net/a.jpg", "hdfs://me@nn:9000/a.jpg"):
        with pytest.raises(BadImage, match=f"missing: {address}"):
            uri.read_uri(address)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_is_no_file_or_too_large_is_not_read(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/zero in a stranger's table would fill the memory of every worker, a pipe would stop
    it for ever, and so would both again whenever the pass goes on."""
    for place in ("/dev/null", tmp_path):
        with pytest.raises(BadImage, match="no regular file"):
            uri.read_uri(f"{scheme}{place}")
    (tmp_path / "a.jpg").write_bytes(b"12345")
    monkeypatch.setattr(uri, "MAX_BYTES", 5)

    assert b"12345" == uri.read_uri(f"{scheme}{tmp_path}/a.jpg")
    monkeypatch.setattr(uri, "MAX_BYTES", 4)
    with pytest.raises(BadImage, match="5 bytes, more than 4"):
        uri.read_uri(f"{scheme}{tmp_path}/a.jpg")


def test_a_file_that_says_it_is_empty_is_read_as_such() -> None:
    """Some files of the system call themselves regular and have no end."""
    assert b"" == uri.read_uri("/proc/self/status")


@pytest.mark.parametrize("start", ["data:image/png;base64,iVBO", "/9j/4AAQSk", "iVBORw0KGgoAAA"])
def test_an_image_in_the_place_of_its_address_is_named(start: str) -> None:
    """A message of 290,000 characters would say that this file is missing."""
    with pytest.raises(DataError, match="is an image as base64 text.* again as binary") as caught:
        uri.checked(start + "A" * 290_000)
    assert 250 > len(str(caught.value))


def test_long_addresses_are_cut_in_messages() -> None:
    """No path is so long, and nobody reads it."""
    with pytest.raises(DataError, match="has 290001 characters; none has more than 4096") as caught:
        uri.checked("/" + "a" * 290_000)
    assert 250 > len(str(caught.value))
    assert "/9j/a.jpg" == uri.checked("/9j/a.jpg")
