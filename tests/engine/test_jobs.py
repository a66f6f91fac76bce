"""The address of a job server, who may speak to it, and what it says when it does not answer."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ray.scripts import scripts as ray_commands

from rayal.engine import jobs
from rayal.errors import ClusterError, UsageError

TOKEN = "a-token-that-nobody-may-see-0123"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without a token; what tests change in the environment is undone. Their home."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(jobs.ADDRESS, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an address or a connection fails the test."""
    for place in ("socket.getaddrinfo", "socket.create_connection", "socket.socket.connect"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("a packet was sent"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:8265/", "http://head:8265"),
        ("head:8265", "http://head:8265"),
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("https://ray.example/clusters/a", "https://ray.example/clusters/a"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        (None, jobs.DEFAULT),
    ],
)
def test_addresses(given: str | None, url: str) -> None:
    """A user would have to write more than what tells one server from another."""
    assert url == jobs.server(given)


def test_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of Ray's own command would not do, or stand above what the user wrote."""
    monkeypatch.setenv(jobs.ADDRESS, "http://head:1")

    assert "http://head:1" == jobs.server(None)
    assert "http://other:2" == jobs.server("http://other:2")


@pytest.mark.parametrize(
    "given",
    ["ray://head:10001", "http://", "http://head:port", "http://h:0", "http://h:99999", "ftp://h"],
)
def test_what_is_no_address(given: str) -> None:
    """Ray would try for minutes, or end in a traceback."""
    with pytest.raises(UsageError, match="is not the address of a job server; give http://HEAD"):
        jobs.server(given)
    assert "http://HEAD:8265" == jobs.server("http://HEAD:8265")


def test_a_path_is_no_user() -> None:
    """A server behind a proxy could not be asked."""
    assert "http://head:8265/team@site" == jobs.server("http://head:8265/team@site")


def test_an_address_holds_no_password() -> None:
    """It would be sent with every request, and shown in every message (C08)."""
    with pytest.raises(UsageError, match="RAY_AUTH_TOKEN_PATH") as told:
        jobs.server("http://me:s3cret@head:8265")

    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://127.9.9.9:8265", True),
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("http://0.0.0.0:8265", False),
        ("http://10.0.0.1:8265", False),
        ("http://localhost.example:8265", False),
    ],
)
def test_which_addresses_are_of_this_machine(url: str, local: bool) -> None:
    """An open server elsewhere would be taken for one of this machine (K03)."""
    assert local == jobs.is_local(url)


@pytest.mark.usefixtures("unreached")
@pytest.mark.parametrize("mode", [None, "token", "disabled"])
def test_an_open_server_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, nobody: Path, mode: str | None
) -> None:
    """Code and results would go to a machine that takes commands from anybody (K03)."""
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    if mode == "disabled":  # there is a token, but the user wants none sent
        keep(nobody / ".ray/auth_token", TOKEN)
    said = r" \(RAY_AUTH_MODE is disabled here\)" if mode == "disabled" else ""
    with pytest.raises(UsageError, match=f"there is no token to send{said}: .*--insecure"):
        jobs.connect("http://head.invalid:8265")

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    keep(nobody / ".ray/auth_token", TOKEN)
    assert jobs._authorization("http://head.invalid:8265", insecure=False)


def test_what_may_be_sent_elsewhere(nobody: Path) -> None:
    """A user of a safe server would be refused; `--insecure` would change nothing."""
    plain, safe = "http://head.invalid:8265", "https://head.invalid"

    assert {} == jobs._authorization(safe, insecure=False)
    assert {} == jobs._authorization(plain, insecure=True)
    keep(nobody / ".ray/auth_token", f"{TOKEN}\n")
    assert {"Authorization": f"Bearer {TOKEN}"} == jobs._authorization(plain, insecure=False)


def test_where_a_token_is_found(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another token than Ray's own commands take would be sent."""
    assert jobs._token() is None
    keep(nobody / ".ray/auth_token", "from-home")
    assert "from-home" == jobs._token()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(keep(nobody / "file", "from-path")))
    assert "from-path" == jobs._token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert "from-variable" == jobs._token()


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o600, 0o400])
def test_a_readable_token_is_told(
    nobody: Path, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    """Other users could become this one; Ray writes such files (K04)."""
    file = keep(nobody / ".ray/auth_token", TOKEN, bits)
    with caplog.at_level(logging.WARNING):
        jobs._token()
    told = [record.getMessage() for record in caplog.records]

    expected = f"others on this machine can read the token; run chmod 600 {file}"
    assert ([expected] if bits & 0o077 else []) == told
    caplog.clear()
    file.chmod(0o600)
    assert TOKEN == jobs._token() and "" == caplog.text


def test_what_is_no_token(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would reach a library that shows it in its message."""
    keep(nobody / ".ray/auth_token", "\n")
    assert jobs._token() is None
    keep(nobody / ".ray/auth_token", "two\nlines")
    with pytest.raises(
        UsageError, match="holds no token of one line; see `ray get-auth-tok"
    ) as told:
        jobs._token()
    assert "two" not in str(told.value)
    assert "get-auth-token" in ray_commands.cli.commands
    keep(nobody / ".ray/auth_token", "a-line\n")  # what it prints
    assert "a-line" == jobs._token()
    (nobody / ".ray/auth_token").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        jobs._token()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(nobody / "absent"))
    with pytest.raises(UsageError, match="RAY_AUTH_TOKEN_PATH=.*there is no such file"):
        jobs._token()


def test_without_the_job_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of a slimmer Ray would read a traceback instead of a command."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ClusterError, match=r"pip install 'ray\[default\]'"):
        jobs.connect(jobs.DEFAULT)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"Unauthorized", "does not let us in .*RAY_AUTH_TOKEN_PATH"),
        (403, b"Forbidden", "does not let us in .*RAY_AUTH_TOKEN_PATH"),
        (404, b"no such page", "no job server of Ray answers at"),
        (500, b"", "no job server of Ray answers at"),
        (200, b"<html>", "no job server of Ray answers at"),
        (200, b"{}", "no job server of Ray answers at"),
        (200, b'{"ray_version": "1.0"}', "no job server of Ray answers at .*1.9 or higher"),
        (None, b"", "no job server of Ray answers at .*timed out"),
    ],
)
def test_another_server(
    monkeypatch: pytest.MonkeyPatch, status: int | None, body: bytes, said: str
) -> None:
    """A user would read a traceback, or wait for ever (C04)."""
    monkeypatch.setattr(jobs, "TIMEOUT", (0.5, 0.5))
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with serving(status, body) as (url, _), pytest.raises(ClusterError, match=said) as told:
        jobs.connect(url)

    assert TOKEN not in str(told.value)


def test_nobody_answers() -> None:
    """A dead address would be tried for minutes (C04)."""
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no job server of Ray answers at http://127.0.0.1:9 "):
        jobs.connect("http://127.0.0.1:9")

    assert time.monotonic() - began < 10
    with serving(200, b'{"ray_version": "2.60.0"}') as (url, _):
        assert url == jobs.connect(url).get_address()


def test_a_token_that_is_asked_for(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not let in would not learn where the token belongs."""
    with serving(200, b'{"ray_version": "2.60.0"}', token=TOKEN) as (url, _):
        with pytest.raises(
            ClusterError, match="into ~/.ray/auth_token, or name its file in RAY_AU"
        ):
            jobs.connect(url)
        keep(nobody / ".ray/auth_token", TOKEN)
        jobs.connect(url)
        keep(nobody / ".ray/auth_token", "another")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(keep(nobody / "token", TOKEN)))
        jobs.connect(url)


def test_requests_go_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's client would follow the environment past all checks, to another server (K03)."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv(jobs.ADDRESS, "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    with serving(200, b'{"ray_version": "2.60.0"}') as (url, seen):
        client = jobs.connect(url)

    assert url == client.get_address()
    assert {("/api/version", f"Bearer {TOKEN}")} == set(seen)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"Job x does not exist", UsageError, "Job x does not exist at http"),
        (b"Traceback:\n  frames\nKeyError: 'why'\n", ClusterError, "failed: KeyError: 'why'"),
    ],
)
def test_what_a_server_refuses(body: bytes, kind: type[Exception], said: str) -> None:
    """A user would read pages of the server's frames."""
    status = 404 if kind is UsageError else 500
    version = b'{"ray_version": "2.60.0"}'
    answers = {"/api/version": (200, version), "/api/jobs/x": (status, body)}
    with serving(200, b"", answers) as (url, _):
        client = jobs.connect(url)
        with pytest.raises(kind, match=said), jobs.answering(client):
            client.get_job_info("x")


def keep(file: Path, text: str, bits: int = 0o600) -> Path:
    """The file, with this text and these permissions."""
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(bits)
    return file


@contextmanager
def serving(
    status: int | None,
    body: bytes,
    answers: dict[str, tuple[int, bytes]] | None = None,
    token: str = "",
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A web server: its URL, and path and token of each request. Without a status it is silent;
    with a token it lets nobody else in."""
    seen: list[tuple[str, str]] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"] or ""))
            code, text = (answers or {}).get(self.path, (status, body))
            if token and self.headers["Authorization"] != f"Bearer {token}":
                code, text = 401, b"Unauthorized"
            if code is None:
                over.wait(10)
                return
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text)

        log_message: Callable[..., None] = lambda *_: None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            over.set()
            server.shutdown()
