"""What a Label Studio server answers, for what goes wrong; when all goes well is tested with a real
one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION: dict[str, Any] = {"release": "1.23.2", "label-studio-os-package": {"version": "1.23.2"}}
Reply = tuple[int, object]


@contextmanager
def serving(replies: dict[str, Reply]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server with one answer for each path, as the real one gave it; also what it was asked and
    by which token."""
    seen = list[tuple[str, str]]()
    known = {
        "/api/version": (200, VERSION),
        "/api/current-user/whoami": (200, {"id": 1, "email": "ana@example.org"}),
        **replies,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, self.headers.get("Authorization", "")))
            status, body = known.get(self.path.split("?")[0], (404, {"detail": "Not found."}))
            if isinstance(body, list) and body and isinstance(body[0], tuple):
                status, body = body.pop(0)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "https://elsewhere.example.org/login")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", seen
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def refused(status: int, detail: str = "No.") -> Reply:
    """As the real server says it."""
    body = {"id": "8469", "status_code": status, "version": "1.23.2", "detail": detail}
    return status, {**body, "exc_info": None}
