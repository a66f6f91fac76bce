"""A JSON object read piece by piece: the same as read at once, or refused."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.errors import UsageError
from rayal.storage import json_stream
from rayal.storage.json_stream import JsonStream, open_stream
from rayal.storage.whole_json import parsed

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def whole(pieces: Iterator[tuple[str, Any]] | JsonStream, lists: set[str]) -> dict[str, Any]:
    """The object that was read."""
    found = dict[str, Any]()
    for key, value in pieces:
        if key in lists:
            found.setdefault(key, []).append(value)
        else:
            found[key] = value
    return found | {key: [] for key in lists - found.keys()}


@settings(max_examples=50, deadline=None)
@given(
    content=st.dictionaries(st.text(), VALUES),
    block=st.integers(1, 9),
    indent=st.none() | st.integers(0, 2),
    ascii_only=st.booleans(),
)
def test_as_read_at_once(
    content: dict[str, Any], block: int, indent: int | None, ascii_only: bool
) -> None:
    """A number, or a sign, that is cut by the end of a block would be another one."""
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    stream = JsonStream(io.StringIO(text), block)

    assert content == whole(iter(stream), stream.lists)


@settings(max_examples=150, deadline=None)
@given(
    st.text('{}[]":,1a \n\\', max_size=12).map(lambda text: f'{{"a": [1{text}'), st.integers(1, 4)
)
def test_refuses_what_is_refused_at_once(text: str, block: int) -> None:
    """Half of a file would be taken for the whole."""
    stream = JsonStream(io.StringIO(text), block)
    try:
        expected = parsed(text)
    except UsageError:
        with pytest.raises(ValueError):
            list(stream)
    else:
        assert expected == whole(iter(stream), stream.lists)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    """What Windows writes is JSON too."""
    file = tmp_path / "a.json"
    file.write_bytes('{"ü": ["ß"]}'.encode(encoding))
    with open_stream(str(file)) as stream:
        assert [("ü", "ß")] == [*stream]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": [1, 2', "is no whole JSON"),
        (b'{"a": 1} {', r"\('\{' after its end\); export it again"),
        (b'{"a": 1, "a": 2}', "'a' is a key twice"),
        (b'{"a": [{"b": 1, "b": 2}]}', "has 'b' twice in one object"),
        (b'{"a": [NaN]}', "has NaN where a number should be"),
        (b"[1]", r"'\[' where '\{' should be"),
        (b"", "its end where"),
        (b'{"a": ["\xff"]}', "bytes that are no utf-8"),
        (b'{"a": [' + b"[" * 100_000, "in one another without end"),
        (b'{"a": ["' + b"x" * 5000, "an element of more than 1,000 characters"),
    ],
)
def test_files_that_are_refused(
    data: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason would be one of Python's, without the file."""
    file = tmp_path / "a.json"
    file.write_bytes(data)
    if "element" in said:
        monkeypatch.setattr(json_stream, "LARGEST", 1000)
    with pytest.raises(UsageError, match=said), open_stream(str(file)) as stream:
        list(stream)

    file.write_bytes(b'{"a": [1]}')
    with open_stream(str(file)) as stream:
        assert [("a", 1)] == [*stream]


def test_memory() -> None:
    """Half a gigabyte of polygons would not fit beside the images."""
    row = json.dumps({"segmentation": [[0.5] * 200]})
    text = f'{{"annotations": [{",".join([row] * 300)}]}}'
    stream = JsonStream(io.StringIO(text), block=4096)
    tracemalloc.start()
    count = sum(1 for _ in stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 300 == count and peak < 100_000 < len(text)
