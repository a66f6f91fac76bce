"""The job server of a Ray cluster: its address, who may speak to it, a client that never hangs."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from rayal.errors import ClusterError, RayalError, UsageError
from rayal.location import is_local as is_local
from rayal.secrets import names_user_or_secret

ADDRESS = "RAY_API_SERVER_ADDRESS"
"""The variable that Ray's own commands take the address from, too."""
DEFAULT = "http://127.0.0.1:8265"
TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two bytes of an answer; Ray has none
TOKEN_FILE = Path("~/.ray/auth_token")
CHATTER = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")

logger = logging.getLogger(__name__)


class Client(JobSubmissionClient):
    """Ray's client, with a limit to how long a request may take."""

    def _do_request(self, *args: Any, **options: Any) -> Any:
        return super()._do_request(*args, **{"timeout": TIMEOUT, **options})


def server(address: str | None) -> str:
    """The URL of the job server: what is given, else $RAY_API_SERVER_ADDRESS, else this machine's.

    Raises UsageError for what is no http address.
    """
    text = address or os.environ.get(ADDRESS) or DEFAULT
    url = urlsplit(text if "://" in text else f"http://{text}")
    if names_user_or_secret(url.geturl()):
        raise UsageError(
            "--address holds a user or a secret; a cluster asks for a token, which is in a file"
            " that RAY_AUTH_TOKEN_PATH names"
        )
    try:
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or url.query or url.fragment:
        raise UsageError(
            f"{text!r} is not the address of a job server; give http://HEAD:8265, the address of"
            " the cluster's dashboard"
        )
    return url.geturl().rstrip("/")


def connect(url: str, *, insecure: bool = False) -> Client:
    """A client of the job server, which has answered.

    Raises UsageError before any packet is sent where everybody could read and send jobs, unless
    that is meant (`insecure`); ClusterError within seconds where no job server answers.
    """
    headers = _authorization(url, insecure)
    try:
        import aiohttp  # noqa: F401 (Ray's client does without until it is used)
    except ImportError as error:
        raise ClusterError(
            "submitting needs Ray's job client, which is not installed: pip install 'ray[default]'"
        ) from error
    for name in CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ[ADDRESS] = url  # Ray's client goes where the environment says, whatever it is told
    with _errors(url):
        return Client(url, headers=headers)


class Unreachable(ClusterError):
    """Nothing answers, or no sense."""


@contextmanager
def answering(client: Client) -> Iterator[None]:
    """Errors of requests as ClusterError; UsageError for a job that is not there."""
    with _errors(client.get_address()):
        yield


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except RayalError:
        raise
    except AuthenticationError as error:
        raise ClusterError(
            f"{url} does not let us in ({_short(error)}); put the cluster's token into"
            " ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        said = str(error)
        if missing := re.search(r"status code 404: (Job .* does not exist)", said):
            raise UsageError(
                f"{missing[1]} at {url}; `rayal status --address {quote(url)}` shows those that do"
            ) from error
        if said.startswith("Request failed"):  # the reason is the last line of a traceback
            reason = said.rstrip(" .\n").splitlines()[-1][:500]
            raise Unreachable(f"{url} failed: {reason}") from error
        raise Unreachable(
            f"no job server of Ray answers at {url} ({_short(error)}); give the address of the"
            " head's dashboard, http://HEAD:8265, and see that it runs"
        ) from error


def _short(error: Exception) -> str:
    """The first line; of a JSON error that a web page led to, too."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _authorization(url: str, insecure: bool) -> dict[str, str]:
    """The header with the token, if there is one. Ray adds it only where RAY_AUTH_MODE was set
    before it was imported."""
    mode = os.environ.get("RAY_AUTH_MODE") or "token"
    token = _token() if mode == "token" else None
    if not (token or insecure or is_local(url) or url.startswith("https://")):
        here = "" if mode == "token" else f" (RAY_AUTH_MODE is {mode} here)"
        raise UsageError(
            f"{url} is not of this machine, and there is no token to send{here}: whoever reaches"
            " such a server can run anything there; start the cluster with RAY_AUTH_MODE=token, set"
            " here too, and put its token into ~/.ray/auth_token, or go through an SSH tunnel"
            " (--insecure does it all the same)"
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def _token() -> str | None:
    """The token, where Ray looks for it; warns of a file that others can read."""
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return _checked(given, "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named or TOKEN_FILE).expanduser()
    try:
        token, mode = file.read_text().strip(), file.stat().st_mode
    except FileNotFoundError:
        if named:
            raise UsageError(f"RAY_AUTH_TOKEN_PATH={named}: there is no such file") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token in {file} cannot be read: {_short(error)}") from error
    if mode & 0o077:
        logger.warning(
            "others on this machine can read the token; run chmod 600 %s", quote(str(file))
        )
    return _checked(token, str(file)) or None


def _checked(token: str, place: str) -> str:
    """The token; what cannot be one must not get into the message of a library."""
    if not (token.isascii() and all("!" <= character <= "~" for character in token)):
        raise UsageError(f"{place} holds no token of one line; see `ray get-auth-token`")
    return token
