"""rayal/location.py: paths and URLs of a configuration."""

from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.location import Location, Written
from rayal.settings import Settings


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file must mean the same data wherever the command is started."""

    class Data(Settings):
        root: Location | None = None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")

    assert "/configs/data" == Data(root=Written("../configs/data", Path("/configs"))).root
    assert f"{tmp_path}/data" == Data(root="data").root
    assert "/data" == Data(root=Written("/data", Path("/configs"))).root
    assert "/home/me/data" == Data(root=Written("~/data", Path("/configs"))).root
    assert "s3://bucket/x" == Data(root=Written("s3://bucket/x", Path("/configs"))).root
    assert str is type(Data(root=Written("x", Path("/configs"))).root)
    with pytest.raises(UsageError):
        Data(root="")


@pytest.mark.parametrize("user", ["me:hunter2", ":hunter2", "me:hunt@er2:"])
def test_passwords_in_locations_are_refused(user: str) -> None:
    """They would be in every run folder that is shared (C08)."""

    class Data(Settings):
        root: Location

    with pytest.raises(UsageError, match="holds a secret"):
        Data(root=f"sftp://{user}@host/x")

    for url in ("sftp://host/x", "hdfs://me@host:9000/x", "s3://bucket/a:b@c", "https://host:80/x"):
        assert url == Data(root=url).root


class Placed(Settings):
    where: Location = "/x"


def test_variables_and_homes_are_those_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called `$SCRATCH` would be made beside the file, and the disk stay empty."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NOWHERE", raising=False)
    for text, place in {
        "$SCRATCH/x": f"{tmp_path}/x",
        "${SCRATCH}x": f"{tmp_path}x",
        "~/x": "/home/me/x",
        "s3://b/$SCRATCH": f"s3://b/{tmp_path}",
        "/a$/b~": "/a$/b~",
        "/cost$5": "/cost$5",
    }.items():
        assert place == Placed(where=text).where
    for text, why in {
        "$NOWHERE/x": r"\$NOWHERE is not set; set it, or write the path out",
        "~nobody-of-this-name/x": r"no home of that user is known; write \./~nobody-of-this-name/x",
    }.items():
        with pytest.raises(UsageError, match=why):
            Placed(where=text)
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/~nobody-of-this-name/x" == Placed(where="./~nobody-of-this-name/x").where
    assert "/nowhere/x" == Placed(where="/nowhere/x").where
    monkeypatch.setenv("NOWHERE", "/nowhere")
    assert "/nowhere/x" == Placed(where="$NOWHERE/x").where
    monkeypatch.setenv("NOWHERE", "s3://me:secret@b")
    with pytest.raises(UsageError, match="holds a secret"):
        Placed(where="$NOWHERE/x")
