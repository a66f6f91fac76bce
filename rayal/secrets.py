"""What only its owner may read: passwords, tokens, keys. Recognised, and hidden, in one place.

Addresses are taken apart as URLs are, but a password may hold any sign, also those that end an
address. What is printed is hidden generously; what is refused is refused only where there is no
doubt.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

HIDDEN = "***"

_HEAD = re.compile(r"[^\s'\"<>`]*")
"""An address after its `://`."""
_VARIABLE = re.compile(r"(?<![\w/.-])([A-Z][A-Z0-9_]*)=([^\s'\"]+)")
_PARAMETER = re.compile(r"(?<=[?&;#])([\w.-]+)=([^&;#\s'\"]+)")
"""Of an address, or of what connects to a storage: `AccountName=me;AccountKey=...`."""
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.]")
_SECRET = re.compile(
    r"(TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|KEY|CREDENTIAL|SIGNATURE)S?(_|$)"
    r"|(^|_)(SIG|PWD|PASS)(_|$)"
)


class _Found(NamedTuple):
    begin: int
    end: int
    certain: bool
    """Whether it is a secret without doubt; a user's name alone is none."""


def named(name: str) -> bool:
    """Whether what has this name, a variable or a parameter, is a secret; a path to one is none."""
    words = _BETWEEN_WORDS.sub("_", name).upper()
    return bool(_SECRET.search(words)) and not words.endswith(("_PATH", "_FILE"))


def holds(text: str) -> bool:
    """Whether the text holds a secret: an address with a password, `?X-Amz-Signature=...`,
    `MY_TOKEN=...`."""
    return any(found.certain for found in _secrets(text))


def hidden(text: str) -> str:
    """The text with `***` in place of every secret, and of the user of every address."""
    for found in sorted(_secrets(text), reverse=True):  # from the end: places stay what they are
        text = text[: found.begin] + HIDDEN + text[found.end :]
    return text


def _secrets(text: str) -> Iterator[_Found]:
    """Where they are; none begins inside another one."""
    end = 0
    for found in sorted([*_in_addresses(text), *_in_pairs(text)]):
        if found.begin >= end:
            end = found.end
            yield found


def _in_addresses(text: str) -> Iterator[_Found]:
    for mark in re.finditer("://", text):
        head = _HEAD.match(text, mark.end())
        assert head is not None
        place = re.sub(r"\[.*?\]", "", re.split("[/?#]", head[0], maxsplit=1)[0])  # without IPv6
        user, _, host = place.rpartition("@")
        # A colon may begin a password, which may go on after a / ? or #; else only a port follows.
        last = head[0] if ":" in place else head[0][: len(place)]
        if "@" in last:
            port = host.partition(":")[2]
            certain = ":" in user or not (port or "0").isdecimal()
            yield _Found(head.start(), head.start() + last.rindex("@"), certain)


def _in_pairs(text: str) -> Iterator[_Found]:
    for pattern in (_VARIABLE, _PARAMETER):
        for pair in pattern.finditer(text):
            if named(pair[1]):
                yield _Found(pair.start(2), pair.end(2), True)
