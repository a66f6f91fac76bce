"""Pictures of web pages, by a headless Chromium that is told what to do over its DevTools."""

import asyncio
import base64
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()


def there() -> bool:
    return shutil.which("chromium") is not None


def shoot(
    url: str,
    cookies: CookieJar,
    png: Path,
    *,
    ready: str,
    clicks: Sequence[str] = (),
    size: tuple[int, int] = (1280, 800),
    folder: Path,
) -> None:
    """Puts a picture of the page into `png`, once the script `ready` says true; each of `clicks` is
    a script that is run then, and waited for until it says true."""
    with _chromium(folder) as address:
        asyncio.run(_shoot(address, url, cookies, png, [ready, *clicks], size))


@contextmanager
def _chromium(folder: Path) -> Iterator[str]:
    profile = folder / "chromium"
    line = ["chromium", *QUIET, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for text in process.stderr:
            if "DevTools listening on " in text:
                yield text.split("listening on ")[1].strip()
                break
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


@asynccontextmanager
async def _tab(
    address: str, heard: Callable[[str, Any], None] = lambda *_: None
) -> AsyncIterator[Callable[..., Any]]:
    """A new tab, as a function that calls its methods; `heard` is told what happens meanwhile."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, max_msg_size=2**28) as socket,
    ):
        count, tab = 0, dict[str, str]()

        async def call(method: str, **params: Any) -> Any:
            nonlocal count
            count += 1
            await socket.send_json({"id": count, "method": method, "params": params, **tab})
            while True:
                got = await asyncio.wait_for(socket.receive_json(), 120)
                if "method" in got:
                    heard(got["method"], got["params"])
                if got.get("id") == count:
                    assert "error" not in got, got
                    return got["result"]

        page = await call("Target.createTarget", url="about:blank")
        attached = await call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        tab["sessionId"] = attached["sessionId"]
        yield call


async def _shoot(
    address: str,
    url: str,
    cookies: CookieJar,
    png: Path,
    steps: Sequence[str],
    size: tuple[int, int],
) -> None:
    async with _tab(address) as call:
        width, height = size
        await call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        for each in cookies:
            await call("Network.setCookie", name=each.name, value=each.value, url=url)
        await call("Page.navigate", url=url)
        for step in steps:
            for _ in range(240):
                said = await call("Runtime.evaluate", expression=step, returnByValue=True)
                if said["result"].get("value") is True:
                    break
                await asyncio.sleep(0.5)
            else:
                raise AssertionError(f"the page never said true to {step}")
        await asyncio.sleep(2)
        shot = await call("Page.captureScreenshot", format="png")
        png.write_bytes(base64.b64decode(shot["data"]))


class Visit(NamedTuple):
    """What a browser saw of a page."""

    requests: list[str]
    """All addresses that the page asked for, itself included; not what it holds as data."""
    complaints: list[str]
    """Errors and warnings of the console, and what its policy refused."""
    said: dict[str, Any]
    """What each script returned, by its name."""
    png: bytes


def visit(
    url: str,
    folder: Path,
    *,
    ready: str,
    size: tuple[int, int] = (1440, 900),
    dark: bool = False,
    scripts: Mapping[str, str] | None = None,
    before: str = "",
) -> Visit:
    """Opens a page, offline, waits until the script `ready` says true, runs `scripts` in their
    order, waiting for what they promise, and takes a picture of the whole page. `before` runs ahead
    of the page's own scripts."""
    with _chromium(folder) as address:
        return asyncio.run(_visit(address, url, ready, size, dark, scripts or {}, before))


async def _visit(
    address: str,
    url: str,
    ready: str,
    size: tuple[int, int],
    dark: bool,
    scripts: Mapping[str, str],
    before: str,
) -> Visit:
    requests, complaints, said = list[str](), list[str](), dict[str, Any]()

    def heard(method: str, params: Any) -> None:
        if method == "Network.requestWillBeSent":
            asked = params["request"]["url"]
            if not asked.startswith("data:"):
                requests.append(asked)
        elif method == "Runtime.exceptionThrown":
            complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            complaints.append(str([each.get("value") for each in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            complaints.append(params["entry"]["text"])

    async with _tab(address, heard) as call:

        async def run(script: str) -> Any:
            asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
            got = await call("Runtime.evaluate", **asked)
            assert "exceptionDetails" not in got, got
            return got["result"].get("value")

        for domain in ("Network", "Runtime", "Log", "Page"):
            await call(f"{domain}.enable")
        width, height = size
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        await call("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await call("Emulation.setEmulatedMedia", features=[scheme])
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        await call("Network.emulateNetworkConditions", **offline)
        if before:
            await call("Page.addScriptToEvaluateOnNewDocument", source=before)
        await call("Page.navigate", url=url)
        for _ in range(240):
            if await run(ready) is True:
                break
            await asyncio.sleep(0.25)
        else:
            raise AssertionError(f"the page never said true to {ready}; it complains {complaints}")
        await asyncio.sleep(0.5)
        for name, script in scripts.items():
            said[name] = await run(script)
        whole = {"format": "png", "captureBeyondViewport": True}
        shot = await call("Page.captureScreenshot", **whole)
    return Visit(requests, complaints, said, base64.b64decode(shot["data"]))
