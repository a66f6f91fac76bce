"""Images that stay where they are: which addresses are accepted, and their bytes."""

import os
import re
import stat

from rayal.data.images import BadImage
from rayal.errors import DataError, quoted
from rayal.secrets import hidden
from rayal.storage.location import located

STORAGES = ("file", "s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs")
"""Where images may stay. Not the web: a pool is data, and data must not make the machines of a
cluster send requests into its own network."""

MAX_BYTES = 2**30
"""In one image file: more than one of `Decoding.max_pixels` takes without compression."""
ENCODED = re.compile(r"data:|(/9j/|iVBORw0KGgo|R0lGOD|UklGR|SUkqA|TU0AK)[A-Za-z0-9+/\s]{100}")
"""How base64 text of an image begins: JPEG, PNG, GIF, WebP, TIFF."""
LONGEST_PATH = 4096  # characters
LOST = ("missing: ", "unreadable: ")
"""How the reason begins where an image may be there again at another time."""


def checked(uri: str) -> str:
    """The address, an absolute path or a URL of one of STORAGES; raises DataError for any other."""
    check_is_no_image(uri)
    protocol = uri.partition("://")[0]
    if os.path.isabs(uri) or (protocol in STORAGES and "::" not in uri):
        return uri
    accepted = ", ".join(f"{name}://" for name in STORAGES)
    raise DataError(
        f"image address {quoted(hidden(uri))} is refused; use an absolute path or {accepted}"
    )


def check_is_no_image(address: str) -> None:
    """Raises DataError for a text that is an image itself, in base64, or too long for a path."""
    if ENCODED.match(address):
        raise DataError(
            f"{quoted(address)} is an image as base64 text, not the address of one; write the"
            " column again as binary, with the decoded bytes"
        )
    if len(address) > LONGEST_PATH:
        raise DataError(
            f"image address {quoted(hidden(address))} has {len(address)} characters; none has more"
            f" than {LONGEST_PATH}"
        )


def read_uri(uri: str) -> bytes:
    """The bytes of an image file; raises BadImage when it is missing or cannot be read, too large,
    or a device or pipe, which would never end."""
    checked(uri)
    try:
        if os.path.isabs(uri):  # whatever signs are in a file's name, it is no URL
            found = os.stat(uri)
            _check(uri, stat.S_ISREG(found.st_mode), found.st_size)
            with open(uri, "rb") as file:
                return file.read(found.st_size)  # no more: some files of the system have no end
        fs, path = located(uri)
        info = fs.info(path)
        _check(uri, info["type"] == "file", info["size"] or 0)
        data: bytes = fs.cat_file(path)
    except FileNotFoundError as error:
        raise BadImage(f"missing: {hidden(uri)}") from error
    except BadImage:  # which is a ValueError
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise BadImage(hidden(f"unreadable: {uri}: {error}")) from error
    return data


def _check(uri: str, regular: bool, size: int) -> None:
    if not regular:
        raise BadImage(f"no regular file: {hidden(uri)}")
    if size > MAX_BYTES:
        raise BadImage(f"{size} bytes, more than {MAX_BYTES}: {hidden(uri)}")
