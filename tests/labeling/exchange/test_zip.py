"""Zips that are too large, lead elsewhere, or are damaged."""

import io
import stat
import warnings
import zipfile

import pytest

from rayal.errors import UsageError
from rayal.labeling.exchange._zip import LARGEST, Zip, only
from tests.support.exports import zipped


def refused(data: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        Zip(data)
    return str(caught.value)


def test_a_bomb() -> None:
    """A small file would fill the memory."""
    bomb = zipped({"annotations.xml": bytes(LARGEST + 1)})

    assert len(bomb) < LARGEST / 500
    assert "would become 67,108,865 in 1 files; give one of answers alone" in refused(bomb)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a\\..\\x", "C:/x", "a//x"])
def test_names_that_lead_out(name: str) -> None:
    """Who unpacks the file that was kept would write elsewhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"")

    assert "which leads out of it; make it again" in refused(buffer.getvalue())


def test_links_passwords_and_doubles() -> None:
    """What is read would depend on the program."""
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        info = zipfile.ZipInfo("cat/x.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    double = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(double, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    locked = bytearray(zipped({"a": b"1"}))
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1

    assert "holds the link 'cat/x.png'; put in the file itself" in refused(link.getvalue())
    assert "several files of one name; make it again" in refused(double.getvalue())
    assert "has a password; make it again without one" in refused(bytes(locked))


def test_a_damaged_file() -> None:
    """Half a file would be read, or a traceback end the command."""
    data = zipped({"a.xml": b"some text " * 99})
    damaged = data[:45] + bytes([data[45] ^ 1]) + data[46:]

    assert b"some text " * 99 == only(data, ".xml")
    assert "is no whole zip" in refused(data[:-4]) and "make it again" in refused(b"PK")
    with pytest.raises(UsageError, match="a.xml is no whole zip .*; make it again"):
        only(damaged, ".xml")
