"""What only its owner may read: passwords, tokens, keys. Recognised, and hidden, in one place.

Addresses are taken apart as URLs are, but a password may hold any sign, also those that end an
address. What is printed is hidden generously; what is refused is refused only where there is no
doubt.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

HIDDEN = "***"

_REPEATED = re.compile(r"(?:\*{3}){2,}")
_HEAD = re.compile(r"[^\s'\"<>`]*")
"""An address after its `://`."""
_VARIABLE = re.compile(r"(?<![\w/.-])([A-Z][A-Z0-9_]*)=([^\s'\"]+)")
_PARAMETER = re.compile(r"(?<=[?&;#])([\w.-]+)=([^&;#\s'\"]+)")
"""Of an address, or of what connects to a storage: `AccountName=me;AccountKey=...`."""
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.]")
_SECRET = re.compile(
    r"(TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|KEY|CREDENTIAL|SIGNATURE)S?(_|$)"
    r"|(^|_)(SIG|PWD|PASS)$"
)
_OTHER = re.compile(
    r"_(PATH|FILE)$|^(OLD)?PWD$|(^|_)((MAX|MIN|NUM|N)(_NEW)?_TOKENS|(ONE|TWO|PER)_PASS"
    r"|(PRIMARY|FOREIGN|PARTITION|SORT|PUBLIC)_KEYS?)$"
)
"""Names that only look like one of a secret: paths to one, numbers of tokens, keys of tables."""
_NAMES_A_PLACE = ("abfs", "abfss", "wasb", "wasbs", "hdfs")
"""Schemes of storages where a container, or the owner of the files, stands in front of the @."""


class _Found(NamedTuple):
    begin: int
    end: int
    certain: bool
    """Whether it is a secret without doubt; a user's name alone is none, nor is a variable."""


def named(name: str) -> bool:
    """Whether what has this name, a variable or a parameter, is a secret; a path to one is none."""
    words = _BETWEEN_WORDS.sub("_", name).upper()
    return bool(_SECRET.search(words)) and not _OTHER.search(words)


def holds(text: str) -> bool:
    """Whether the text holds a secret without doubt: an address with a password,
    `?X-Amz-Signature=...`."""
    return any(found.certain for found in _candidates(text))


def names_user_or_secret(url: str) -> bool:
    """Whether an address holds a secret, or a user, who may be one: in front of its host."""
    return holds(url) or any("@" in _place(head) for _, head in _heads(url))


def hidden(text: str) -> str:
    """The text with `***` in place of every secret, and of the user of every address."""
    for found in sorted(_secrets(text), reverse=True):  # from the end: places stay what they are
        text = text[: found.begin] + HIDDEN + text[found.end :]
    return _REPEATED.sub(HIDDEN, text)  # one secret may end where the next begins


def _secrets(text: str) -> Iterator[_Found]:
    """Where they are; none begins inside another one."""
    end = 0
    for found in sorted(_candidates(text)):
        if found.begin >= end:
            end = found.end
            yield found


def _candidates(text: str) -> Iterator[_Found]:
    """As `_secrets`, in no order, and also those inside another one."""
    yield from _in_addresses(text)
    yield from _in_pairs(text)


def _heads(text: str) -> Iterator[tuple[int, str]]:
    """Of every address where it goes on after its `://`, and how."""
    for mark in re.finditer("://", text):
        head = _HEAD.match(text, mark.end())
        assert head is not None
        yield head.start(), head[0]


def _place(head: str) -> str:
    """Up to the path: `user:password@host:port`, without an IPv6 host."""
    return re.sub(r"\[.*?\]", "", re.split("[/?#]", head, maxsplit=1)[0])


def _in_addresses(text: str) -> Iterator[_Found]:
    for begin, head in _heads(text):
        place = _place(head)
        user, _, host = place.rpartition("@")
        # A colon may begin a password, which may go on after a / ? or #; else only a port follows.
        last = head if ":" in place else head[: len(place)]
        told, at, _ = last.rpartition("@")
        if at and (":" in told or not text.endswith(_NAMES_A_PLACE, 0, begin - len("://"))):
            port = host.partition(":")[2]
            certain = ":" in user or not (port or "0").isdecimal()
            yield _Found(begin, begin + len(told), certain)


def _in_pairs(text: str) -> Iterator[_Found]:
    for pattern, certain in ((_VARIABLE, False), (_PARAMETER, True)):
        for pair in pattern.finditer(text):
            if named(pair[1]):
                yield _Found(pair.start(2), pair.end(2), certain)
