"""What a pass has for another strategy, and that strategy's own pass made of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.cycle import shard_file
from rayal.cycle.kept import KeptPass, asks_nothing, lacks, listed, narrowed
from rayal.parts import build
from rayal.randomness import unit_uniforms
from rayal.runs.results import Scored
from rayal.storage.folder import Folder
from tests.support.doubles import small_strategy


@pytest.mark.parametrize(
    ("made", "wanted", "missing"),
    [
        (["entropy"], "random", []),
        (["entropy"], "entropy", []),
        (["margin", "entropy"], "entropy", []),
        (["entropy"], "margin", ["the score of margin"]),
        (["entropy"], {"name": "entropy", "pixels": "max"}, ["the score of entropy"]),
        (["entropy"], "core_set", ["features"]),
        (["badge"], "core_set", ["features of labeled units"]),
        (["typiclust"], "core_set", []),
        (["core_set"], "badge", ["probs"]),
        (["core_set", "badge"], "prob_cover", []),
        (["entropy"], "core_gcn", ["the embedding of graph"]),
        (["core_gcn"], "core_gcn", []),
    ],
)
def test_what_is_missing(
    tiny: Callable[..., Any], made: list[Any], wanted: Any, missing: list[str]
) -> None:
    """A strategy would choose by numbers that are not its own, or ask models for nothing."""
    first, *others = made
    x, y = tiny(strategy=first, observers=others), tiny(strategy=wanted)

    assert missing == lacks(x, y)


def test_an_embedding_of_other_settings_is_another(tiny: Callable[..., Any]) -> None:
    """Two graphs of one name have different numbers."""
    x = tiny(strategy="core_gcn")
    spec = x.strategy.embeds()
    field = next(
        n for n, f in type(spec).model_fields.items() if isinstance(f.default, int | float)
    )
    own = next(n for n in type(x.strategy).model_fields if getattr(x.strategy, n) == spec)
    other = {"name": "core_gcn", own: {field: getattr(spec, field) * 2}}

    assert lacks(x, tiny(strategy=other)) == ["the embedding of graph"]


def test_who_asks_nothing() -> None:
    """A strategy that reads the model would be scored without it."""
    names = ("random", "core_set", "badge", "entropy", "power_margin", "ll4al", "vaal")
    asked = {name: asks_nothing(small_strategy(name)) for name in names}

    assert [name for name, nothing in asked.items() if nothing] == ["random", "core_set", "badge"]


@pytest.fixture
def kept(tiny: Callable[..., Any], tmp_path: Path) -> KeptPass:
    """Of margin, entropy and core_set, in two shards; `e` was bought before, `x` is bad."""
    x = tiny(strategy="margin", observers=["entropy", "core_set"])
    folder, files = Folder(tmp_path / "pass"), []
    for number, (ids, bad) in enumerate(((["b", "a", "e"], {"x": "empty"}), (["d", "c"], {}))):
        rows = np.array([ord(unit) for unit in ids], float)
        columns = {
            "score.margin": -rows,
            "score.entropy": rows,
            "keep.features": np.stack([rows, rows + 1], axis=1).astype(np.float16),
        }
        data = shard_file.encode(ids, columns, bad)
        files.append(folder.write(f"shard-{number:05d}.parquet", data))
    scored = Scored(units=6, columns=tuple(x.scored()), shards=tuple(files), bad={"x": "empty"})
    return KeptPass(x, folder, scored)


def rows_of(folder: Folder, scored: Scored, column: str) -> dict[str, Any]:
    found = dict[str, Any]()
    for rows in shard_file.shards(folder, scored, ["id", column]):
        values = rows[column].to_pylist()
        found |= dict(zip(rows["id"].to_pylist(), values, strict=True))
    return found


def test_a_score_and_nothing_else(kept: KeptPass, tiny: Any, tmp_path: Path) -> None:
    """Bought units would be candidates, bad ones good, or columns of others be there."""
    out = Folder(tmp_path / "out")
    scored = narrowed(kept, tiny(strategy="entropy"), 0, {"e"}, out)

    assert rows_of(out, scored, "score.entropy") == {unit: ord(unit) for unit in "badc"}
    assert (scored.units, scored.bad, scored.columns) == (5, {"x": "empty"}, ("entropy",))
    table = shard_file.read_shard(out, scored.shards[0].name)
    assert table.column_names == ["id", "status", "score.entropy"]


def test_what_is_kept_of_labeled_units_stays(kept: KeptPass, tiny: Any, tmp_path: Path) -> None:
    """core_set would not know what it has to be far from."""
    out = Folder(tmp_path / "out")
    scored = narrowed(kept, tiny(strategy="core_set"), 0, {"e"}, out)

    expected = {unit: [ord(unit), ord(unit) + 1] for unit in "baedc"}
    assert rows_of(out, scored, "keep.features") == expected


def test_random_is_scored_by_ids_alone(kept: KeptPass, tiny: Any, tmp_path: Path) -> None:
    """Another order than in a run of random; the same from the pass as from a list of ids."""
    y, out, again = tiny(strategy="random", seed=3), Folder(tmp_path / "a"), Folder(tmp_path / "b")
    scored = narrowed(kept, y, 2, {"e"}, out)
    from_ids = listed(["a", "b", "c", "d", "x"], {"x": "empty", "z": "gone"}, y, 2, again)
    expected = dict(zip("abcd", unit_uniforms([*"abcd"], 3, 2, "noise"), strict=True))

    assert rows_of(out, scored, "score.random") == expected
    assert rows_of(again, from_ids, "score.random") == expected
    assert scored.bad == from_ids.bad == {"x": "empty"}
    assert build("strategies", "random") == y.strategy
