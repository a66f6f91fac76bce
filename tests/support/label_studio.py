"""A real Label Studio server of a test's own, its annotators, and what they do over its API."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

COMMAND = "RAYAL_LABEL_STUDIO"
"""The variable that names the command `label-studio`; `install` makes an environment for it."""
VERSION = "1.23.2"
EMAIL, PASSWORD, LEGACY = "lead@example.org", "lead-pass-1234", "0123456789abcdef" * 2 + "01234567"
SECONDS = 600
"""Until the server is there: it makes its database first."""


def command() -> str:
    """The command `label-studio`; skips the test where there is none and none can be made."""
    given = os.environ.get(COMMAND, "")
    if given != "install":
        if not os.access(given, os.X_OK):
            pytest.skip(f"{COMMAND} names no label-studio; set it to the command, or to `install`")
        return given
    place = Path("~/.cache/rayal-tests").expanduser() / f"label-studio-{VERSION}"
    made = place / "bin" / "label-studio"
    if not made.exists():
        python = [sys.executable, "-m", "venv", str(place)]
        pip = [str(place / "bin" / "pip"), "install", "-q", f"label-studio=={VERSION}"]
        for step in (python, pip):
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"label-studio cannot be installed: {done.stderr[-300:]}")
    return str(made)


class Person:
    """Somebody who has signed in: a session, and a token of theirs."""

    def __init__(self, url: str) -> None:
        self.url, self.token = url, ""
        self.number = 0
        """Of the user, as annotations say it."""
        self.cookies = CookieJar()
        self._open = build_opener(HTTPCookieProcessor(self.cookies)).open

    def signed(self, way: str, **fields: str) -> "Person":
        """`way` is the path of a form: to sign in or up."""
        page = self._open(self.url + way).read().decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found is not None
        data = urlencode({"csrfmiddlewaretoken": found[1], **fields}).encode()
        request = Request(self.url + way, data, {"Referer": self.url + way})
        self._open(request).read()
        self.token = json.loads(self._open(f"{self.url}/api/current-user/token").read())["token"]
        self.number = self.call("GET", "/api/current-user/whoami")["id"]
        return self

    def call(self, method: str, path: str, value: object = None) -> Any:
        """What the API answers."""
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        data = None if value is None else json.dumps(value).encode()
        request = Request(self.url + path, data, headers, method=method)
        try:
            with build_opener().open(request, timeout=120) as answer:
                body = answer.read()
        except HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.read().decode()[:500]}") from error
        return json.loads(body) if body else None

    def tasks(self, project: int) -> dict[str, dict[str, Any]]:
        """rayal_id -> task, in the order that the project's own view has."""
        (view,) = self.call("GET", f"/api/dm/views/?project={project}")
        found = self.call("GET", f"/api/tasks?view={view['id']}&page_size=1000")["tasks"]
        return {each["data"]["rayal_id"]: each for each in found}

    def answer(self, task: int, result: list[dict[str, Any]], seconds: float = 1.0) -> None:
        self._annotate(task, {"result": result, "lead_time": seconds})

    def choose(self, task: int, name: str, seconds: float = 1.0) -> None:
        value = {"choices": [name]}
        chosen = {"from_name": "class", "to_name": "image", "type": "choices", "value": value}
        self.answer(task, [chosen], seconds)

    def skip(self, task: int, seconds: float = 1.0) -> None:
        self._annotate(task, {"result": [], "was_cancelled": True, "lead_time": seconds})

    def draft(self, task: int, name: str) -> None:
        value = {"choices": [name]}
        chosen = {"from_name": "class", "to_name": "image", "type": "choices", "value": value}
        self.call("POST", f"/api/tasks/{task}/drafts", {"result": [chosen], "lead_time": 1.0})

    def _annotate(self, task: int, value: dict[str, Any]) -> None:
        self.call("POST", f"/api/tasks/{task}/annotations/", value)


class Server:
    """A server, and its first user, who leads."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        fields = {"email": EMAIL, "password": PASSWORD}
        self.lead = Person(url).signed("/user/login/", **fields)

    def annotator(self, name: str) -> Person:
        """A new one, who has followed the lead's invitation."""
        way = self.lead.call("GET", "/api/invite")["invite_url"]
        fields = {"email": f"{name}@example.org", "password": f"{name}-pass-1234"}
        return Person(self.url).signed(way, **fields)


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server with an empty database in `folder`, which is also its document root."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env = known | {
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": LEGACY,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    (folder / "data").mkdir(parents=True)
    line = [command(), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    line += ["--port", str(port), "--data-dir", str(folder / "data")]
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(line, env=env, stdout=log, stderr=log, cwd=folder)
        try:
            _wait(url, process, folder / "server.log")
            yield Server(url, folder)
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            build_opener().open(f"{url}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    raise AssertionError(f"no server after {SECONDS} s: {log.read_text()[-2000:]}")
