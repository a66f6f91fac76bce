"""URLs of fsspec, and the file systems that they are on."""

import os
from typing import Any

from fsspec.core import url_to_fs

from rayal.errors import UsageError

S3 = ("s3://", "s3a://")
S3_ENVIRONMENT = {
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "3",  # 5 in the legacy mode: a quarter of a minute for a dead server
}
"""How often a request is tried, with pauses of seconds. What the user has set stays."""


def located(url: str, *, remember: bool = True) -> tuple[Any, str]:
    """The file system of a URL and the path in it; UsageError for one that cannot be had.

    With `remember` a folder is listed once, whatever is written there afterwards.
    """
    if "::" in url:
        raise UsageError(f"{url}: chained file systems are not supported; name one of them")
    if url.startswith(S3):
        for name, value in S3_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    try:
        fs, path = url_to_fs(url, use_listings_cache=remember)
    except ImportError as error:
        way_out = "pip install s3fs" if url.startswith(S3) else error
        raise UsageError(f"{url} needs a package that is not installed: {way_out}") from error
    except ValueError as error:  # unknown protocol
        raise UsageError(f"{url} cannot be opened: {error}") from error
    return fs, path.rstrip("/")
