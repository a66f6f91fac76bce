"""Images that stay where they are: which addresses are accepted, and their bytes."""

import os
from pathlib import Path

from fsspec.core import url_to_fs

from rayal.errors import DataError
from rayal.images import BadImage

STORAGES = ("file", "s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs")
"""Where images may stay. Not the web: a pool is data, and data must not make the machines of a
cluster send requests into its own network."""


def checked(uri: str) -> str:
    """The address, an absolute path or a URL of one of STORAGES; raises DataError for any other."""
    protocol = uri.partition("://")[0]
    if os.path.isabs(uri) or (protocol in STORAGES and "::" not in uri):
        return uri
    accepted = ", ".join(f"{name}://" for name in STORAGES)
    raise DataError(f"image address {uri[:200]!r} is refused; use an absolute path or {accepted}")


def read(uri: str) -> bytes:
    """The bytes of an image file; raises BadImage when it is missing or cannot be read."""
    checked(uri)
    try:
        if os.path.isabs(uri):  # whatever signs are in a file's name, it is no URL
            return Path(uri).read_bytes()
        fs, path = url_to_fs(uri)
        data: bytes = fs.cat_file(path)
    except FileNotFoundError as error:
        raise BadImage(f"missing: {uri}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise BadImage(f"unreadable: {uri}: {error}") from error
    return data
