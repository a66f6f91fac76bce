"""What a server may answer, in place of what was asked for; the happy path is tests/system's."""

import socket

import pytest

from rayal.errors import RayalError, StorageError, UsageError
from rayal.labeling.label_studio.server import TOKEN, Server, address, token
from tests.support.answering import Reply, refused, serving

LEGACY = "0123456789abcdef0123456789abcdef01234567"
REFRESH = "eyJh.eyJ0.s-_x"


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (
            refused(401, "Invalid token."),
            UsageError,
            r"in LABEL_STUDIO_API_KEY \(Invalid tok",
        ),
        (refused(403), UsageError, r"is not for this user \(No.\); ask for the right"),
        (refused(404), UsageError, "is not there .*check --server and --project"),
        (refused(400, f"bad {LEGACY}"), UsageError, r"refuses this with 400 \(bad \*\*\*\)"),
        (refused(429), StorageError, "fails with 429 .*give the command again later"),
        (refused(500), StorageError, "fails with 500 .*give the command again later"),
        ((502, b"<html>Bad gateway</html>"), StorageError, "fails with 502; give the command"),
        ((302, b""), UsageError, "leads to https://elsewhere.example.org/login; give that"),
        ((200, b"<html>Sign in</html>"), UsageError, "answers with something else than JSON"),
    ],
)
def test_refusals(reply: Reply, kind: type[RayalError], reason: str) -> None:
    """A user would see a traceback, or not know what to change; or read the token."""
    with serving({"/api/current-user/whoami": reply}) as (url, _):
        with pytest.raises(kind, match=reason) as found:
            Server(url, LEGACY)

    assert LEGACY not in str(found.value)
    with serving({}) as (url, _):  # with another token, another address, or later
        assert "ana@example.org" == Server(url, LEGACY).user


@pytest.mark.parametrize("version", [{"ray": "2.60"}, [1], "1.23"])
def test_another_program(version: object) -> None:
    """The token would go to a server that it is not for."""
    with serving({"/api/version": (200, version)}) as (url, seen):
        with pytest.raises(UsageError, match="is not a Label Studio server; check the address"):
            Server(url, LEGACY)

    assert [("/api/version", "")] == seen


def test_nobody_there() -> None:
    """A wrong port would end in a traceback."""
    with serving({}) as (url, _):
        pass
    with pytest.raises(StorageError, match="cannot be reached: .*give the command again"):
        Server(url, LEGACY)
    with serving({}) as (url, _):
        assert Server(url, LEGACY).user


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command would hang with a server that hangs."""
    monkeypatch.setattr(
        Server._call, "__kwdefaults__", {**Server._call.__kwdefaults__, "seconds": 0.1}
    )
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        with pytest.raises(StorageError, match="cannot be reached: timed out"):
            Server(f"http://127.0.0.1:{deaf.getsockname()[1]}", LEGACY)


def test_a_legacy_token() -> None:
    """It would not be accepted under another name."""
    with serving({}) as (url, seen):
        assert "ana@example.org" == Server(url, LEGACY).user

    assert f"Token {LEGACY}" == seen[-1][1]


def test_a_personal_token_is_exchanged_and_renewed() -> None:
    """A push of more than five minutes would end in its middle."""
    access = [(200, {"access": "first"}), (200, {"access": "second"})]
    who = [(200, {"email": "a"}), refused(401), (200, {"email": "b"})]
    replies = {"/api/token/refresh/": (0, access), "/api/current-user/whoami": (0, who)}
    with serving(replies) as (url, seen):
        there = Server(url, REFRESH)
        assert "b" == there.get("/api/current-user/whoami")["email"]

    sent = [(path.rpartition("/")[2] or "refresh", name) for path, name in seen]
    assert [
        ("version", ""),
        ("refresh", ""),
        ("whoami", "Bearer first"),
        ("whoami", "Bearer first"),
        ("refresh", ""),
        ("whoami", "Bearer second"),
    ] == sent


def test_a_personal_token_that_is_refused() -> None:
    """It would be asked for again and again."""
    with serving({"/api/token/refresh/": refused(401, "Token is invalid")}) as (url, seen):
        with pytest.raises(UsageError, match=r"\(Token is invalid\); copy it again"):
            Server(url, REFRESH)

    assert 2 == len(seen)


def test_all_pages() -> None:
    """Tasks of later pages would be imported again."""
    first = {"total": 3, "tasks": [{"id": 1}, {"id": 2}]}
    pages = [(200, first), (200, {"total": 3, "tasks": [{"id": 3}]})]
    titled = [
        (200, {"next": "x", "results": [{"title": "mine"}, {"title": "mine too"}]}),
        (200, {"next": None, "results": [{"title": "mine"}]}),
    ]
    with serving({"/api/tasks": (0, pages), "/api/projects/": (0, titled)}) as (url, _):
        there = Server(url, LEGACY)

        assert [1, 2, 3] == [task["id"] for task in there.tasks(7)]
        assert [{"title": "mine"}] * 2 == there.projects("mine")


def test_an_export_that_is_none() -> None:
    """It would be taken for a project without answers."""
    with serving({"/api/projects/7/export": (200, {"detail": "later"})}) as (url, _):
        with pytest.raises(StorageError, match="exports no list of tasks; export the project by"):
            Server(url, LEGACY).export(7)


@pytest.mark.parametrize(
    "text", ["host:8080", "ftp://host", "http://", "http://h:x", "http://h?a=b", "http://h#a", ""]
)
def test_what_is_no_address(text: str) -> None:
    """A typing mistake would be looked for in the network."""
    with pytest.raises(UsageError, match="is not the address of a server; give http://HOST:8080"):
        address(text)
    assert "http://host:8080" == address("http://host:8080")


def test_an_address_with_a_secret() -> None:
    """It would be kept in the run's folder."""
    with pytest.raises(UsageError, match="put the token into LABEL_STUDIO_API_KEY") as found:
        address("https://me:hunter2@host/")

    assert "hunter2" not in str(found.value)
    assert "https://host/studio" == address("https://host/studio/")


def test_a_server_far_away_without_encryption(caplog: pytest.LogCaptureFixture) -> None:
    """The token would be read on the way, and nobody have said so."""
    with pytest.raises(StorageError):
        Server("http://label-studio.invalid", LEGACY)
    assert "everybody on the way can read the token" in caplog.text
    caplog.clear()
    with serving({}) as (url, _):
        Server(url, LEGACY)
    assert not caplog.text


def test_the_token_is_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or broken one would be sent."""
    monkeypatch.setenv(TOKEN, f" {LEGACY}\n")
    assert LEGACY == token()
    monkeypatch.setenv(TOKEN, "two words")
    with pytest.raises(UsageError, match="is no token: .*copy it again"):
        token()
    monkeypatch.delenv(TOKEN)
    with pytest.raises(UsageError, match="LABEL_STUDIO_API_KEY is not set; set it"):
        token()
    monkeypatch.setenv(TOKEN, REFRESH)
    assert REFRESH == token()
