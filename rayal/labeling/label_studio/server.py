"""A Label Studio server over its REST API: projects, tasks, images, exports.

Nothing is tried twice by itself: a request that failed may have been carried out. What is there is
looked up first, so the same command again is always safe.

The token is of the environment alone. A legacy token is sent as it is; a personal access token (a
JWT, which only refreshes) is exchanged for one that lasts some minutes.
"""

import json
import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from rayal.errors import StorageError, UsageError, cut, quoted
from rayal.location import is_local
from rayal.secrets import hidden, names_user_or_secret

TOKEN = "LABEL_STUDIO_API_KEY"
"""The variable that Label Studio's own client takes it from, too."""
SECONDS, LONG = 60.0, 600.0
"""Until an answer begins; and where the server has work to do."""
PAGE = 1000
"""Tasks that are asked for at once."""
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
WORDS = 300
"""Characters of a server's own words in a message."""

logger = logging.getLogger(__name__)


def address(text: str) -> str:
    """The URL of a server. Raises UsageError for what is none, and for one that holds a secret."""
    if names_user_or_secret(text):
        raise UsageError(f"--server holds a user or a secret; put the token into {TOKEN}")
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or url.query or url.fragment:
        raise UsageError(
            f"{quoted(text)} is not the address of a server; give http://HOST:8080, as the browser"
            " shows it without the path of a page"
        )
    return text.rstrip("/")


def token() -> str:
    """That of the environment. Raises UsageError where there is none, or what cannot be one."""
    given = os.environ.get(TOKEN, "").strip()
    if not given:
        raise UsageError(
            f"{TOKEN} is not set; set it to your access token, which Label Studio shows under"
            " Account & Settings"
        )
    if not re.fullmatch(r"[!-~]+", given):
        raise UsageError(f"{TOKEN} is no token: it has spaces or other signs; copy it again")
    return given


class _Stay(HTTPRedirectHandler):
    """A token goes to the server that it is for, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """A server that has answered, and knows the token."""

    def __init__(self, url: str, secret: str) -> None:
        """Raises UsageError for an address that is none, for a server that is not Label Studio, and
        for a token that it refuses; StorageError where it cannot be reached."""
        self.url = address(url)
        self._secret = secret
        self._open = build_opener(_Stay).open
        self._access = ""
        if self.url.startswith("http:") and not is_local(self.url):
            logger.warning(
                "%s is not encrypted: everybody on the way can read the token and the images; use"
                " https",
                self.url,
            )
        version = self._call("GET", "/api/version", authorized=False)
        if not isinstance(version, dict) or not any("label-studio" in key for key in version):
            raise UsageError(f"{self.url} is not a Label Studio server; check the address")
        self.user = str(self.get("/api/current-user/whoami").get("email", ""))

    def get(self, path: str, seconds: float = SECONDS, **query: object) -> Any:
        return self._call("GET", _with(path, query), seconds=seconds)

    def post(self, path: str, value: object, seconds: float = SECONDS) -> Any:
        data = json.dumps(value).encode()
        return self._call("POST", path, data, "application/json", seconds=seconds)

    def project(self, number: int) -> Mapping[str, Any]:
        """Raises UsageError where it is not there, or not for this user."""
        found: Mapping[str, Any] = self.get(f"/api/projects/{number}/")
        return found

    def projects(self, title: str) -> list[Mapping[str, Any]]:
        """All with exactly this title that the user sees."""
        found = list[Mapping[str, Any]]()
        page = 1
        while True:
            got = self.get("/api/projects/", title=title, page=page, page_size=100)
            found += got["results"]
            if not got.get("next"):
                return [each for each in found if each.get("title") == title]
            page += 1

    def tasks(self, project: int) -> Iterator[Mapping[str, Any]]:
        """`id` and `data` of each task, in order of import."""
        page, seen = 1, 0
        while True:
            query = {"project": project, "page": page, "page_size": PAGE, "include": "id,data"}
            got = self.get("/api/tasks", LONG, **query)
            yield from got["tasks"]
            seen, page = seen + len(got["tasks"]), page + 1
            if not got["tasks"] or seen >= got["total"]:
                return

    def add_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        self.post(f"/api/projects/{project}/import", tasks, LONG)

    def files(self, project: int) -> list[str]:
        """The paths of all files that the user has uploaded to a project."""
        found = self.get(f"/api/projects/{project}/file-uploads", LONG, all="true")
        return [f"/data/{each['file']}" for each in found]

    def upload(self, project: int, files: Mapping[str, bytes]) -> None:
        """Image files by name; makes no tasks of them."""
        data, kind = _multipart(files)
        path = f"/api/projects/{project}/import?commit_to_project=false"
        self._call("POST", path, data, kind, seconds=LONG)

    def export(self, project: int) -> list[Any]:
        """All tasks with annotations, as its JSON export has them."""
        query = {"exportType": "JSON", "download_all_tasks": "false"}
        found = self.get(f"/api/projects/{project}/export", LONG, **query)
        if not isinstance(found, list):
            raise StorageError(f"{self.url} exports no list of tasks; export the project by hand")
        return found

    def _call(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        kind: str = "",
        *,
        seconds: float = SECONDS,
        authorized: bool = True,
        again: bool = True,
    ) -> Any:
        headers = {"Accept": "application/json", "User-Agent": "rayal"}
        if kind:
            headers["Content-Type"] = kind
        if authorized:
            headers["Authorization"] = self._authorization()
        request = Request(self.url + path, data, headers, method=method)
        try:
            with self._open(request, timeout=seconds) as answer:
                return self._parsed(answer.read())
        except HTTPError as error:
            with error:
                said = self._said(error)
            if error.code == 401 and self._access and again:  # it has lasted its minutes
                self._access = ""
                return self._call(method, path, data, kind, seconds=seconds, again=False)
            raise self._refused(error, path, said) from None
        except (OSError, HTTPException) as error:  # URLError too
            reason = error.reason if isinstance(error, URLError) else error
            raise StorageError(
                f"{self.url} cannot be reached: {hidden(str(reason)) or type(error).__name__};"
                " check the address and that the server runs, and give the command again, which"
                " looks up first what is there"
            ) from None

    def _authorization(self) -> str:
        if not JWT.fullmatch(self._secret):
            return f"Token {self._secret}"
        if not self._access:
            data = json.dumps({"refresh": self._secret}).encode()
            got = self._call(
                "POST", "/api/token/refresh/", data, "application/json", authorized=False
            )
            self._access = str(got["access"])
        return f"Bearer {self._access}"

    def _parsed(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise UsageError(
                f"{self.url} answers with something else than JSON, so it is not a Label Studio"
                " server, or a page for signing in stands before it; check the address"
            ) from None

    def _said(self, error: HTTPError) -> str:
        """The server's own words on what it refuses, without the token."""
        try:
            body = error.read(2**16)
            words = json.loads(body)
            detail = words.get("validation_errors") or words.get("detail") or words
            text = detail if isinstance(detail, str) else json.dumps(detail)
        except (ValueError, AttributeError, OSError, HTTPException):
            return ""
        return hidden(text.replace(self._secret, "***"))[:WORDS]

    def _refused(self, error: HTTPError, path: str, said: str) -> Exception:
        told = f" ({said})" if said else ""
        place = f"{self.url}{path.split('?')[0]}"
        if error.code == 401:
            return UsageError(
                f"{self.url} does not accept the token in {TOKEN}{told}; copy it again from Account"
                " & Settings, or allow its kind there"
            )
        if error.code == 403:
            return UsageError(f"{place} is not for {self._who()}{told}; ask for the right")
        if error.code == 404:
            return UsageError(f"{place} is not there{told}; check --server and --project")
        if 300 <= error.code < 400:
            where = error.headers.get("Location", "elsewhere")
            return UsageError(f"{place} leads to {cut(hidden(where))}; give that server's address")
        if error.code < 500 and error.code not in (408, 429):
            return UsageError(f"{place} refuses this with {error.code}{told}; check the project")
        return StorageError(
            f"{place} fails with {error.code}{told}; give the command again later, which looks up"
            " first what is there"
        )

    def _who(self) -> str:
        return quoted(self.user) if getattr(self, "user", "") else "this user"


def _with(path: str, query: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def _multipart(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The body of a form with files, and its content type."""
    border = uuid.uuid4().hex
    parts = []
    for number, (name, data) in enumerate(files.items()):
        head = f'Content-Disposition: form-data; name="file{number}"; filename="{name}"'
        kind = "Content-Type: application/octet-stream"
        parts.append(f"--{border}\r\n{head}\r\n{kind}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{border}--\r\n".encode(), f"multipart/form-data; boundary={border}"
