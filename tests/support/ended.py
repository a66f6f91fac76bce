"""How trainings ended, for tests that compare them byte by byte."""

import json
from pathlib import Path


def rows(out: Path) -> list[dict[str, float]]:
    """What a training wrote of its epochs, but for how long they took."""
    lines = (out / "epochs.jsonl").read_text().splitlines()
    measured = ("seconds", "images_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in measured} for line in lines]


def assert_same_end(expected: Path, actual: Path) -> None:
    """The same bytes of all weights, and the same rows."""
    names = sorted(path.name for path in expected.glob("*.safetensors"))
    assert names == sorted(path.name for path in actual.glob("*.safetensors"))
    for name in names:
        assert (expected / name).read_bytes() == (actual / name).read_bytes(), name
    assert rows(expected) == rows(actual)
