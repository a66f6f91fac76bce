"""rayal.select: units from the scores of a pool, with what is known of them as Python has it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import rayal
from rayal.errors import DataError, UsageError
from rayal.strategies.core_set import CoreSet
from rayal.strategies.entropy import Entropy

IDS = [f"unit-{number:02d}" for number in range(12)]


class Mine(Entropy):
    """A user's own: the least certain first, but for the sign."""

    def score(self, s: Any) -> Any:
        return -super().score(s)


def plain() -> nn.Linear:
    """A network whose logits are its features and its images."""
    net = nn.Linear(2, 2, bias=False)
    nn.init.eye_(net.weight)
    return net


@pytest.fixture(scope="module")
def scores() -> rayal.Scores:
    """Of vectors of 2 numbers, which are logits and features alike."""
    images = torch.randn(len(IDS), 2, generator=torch.Generator().manual_seed(0))
    return rayal.score(plain(), images, ["entropy", "core_set", Mine()], ids=IDS)


def test_by_hand(scores: rayal.Scores) -> None:
    """The order, the budget and the reasons of a ranking that a reader can sort."""
    table = scores.table().sort_values("score.entropy", ascending=False)
    first = table.head(3)

    picks = rayal.select(scores, "entropy", 3)

    assert list(first["id"]) == picks.ids
    assert list(first["score.entropy"]) == picks.scores
    assert list(first["predicted"]) == picks.predicted
    assert ["highest score by entropy"] * 3 == picks.reasons
    assert (3, 3.0, {"labeled": 0}) == (len(picks), picks.spent, picks.passed_over)
    assert "selected     3 units, cost 3" == picks.lines[0]
    assert f"<Picks: 3 units, cost 3, first {', '.join(picks.ids)}>" == repr(picks)
    short = rayal.select(scores, "entropy", 99)
    assert f"<Picks: {len(IDS)} units, cost {len(IDS)} of 99: there are no others, f" in repr(short)
    assert ["rank", "id", "score", "predicted", "reason"] == list(picks.table())
    assert picks.ids == list(picks.table()["id"]) and [1, 2, 3] == list(picks.table()["rank"])


def test_a_notebook_shows_a_table(scores: rayal.Scores) -> None:
    """Of 100,000 picks the browser would hang, and a name could run a script there."""
    odd = torch.tensor([[3.0, 3.0], [0.0, 1.0]])
    few = rayal.select(rayal.score(plain(), odd, ids=["<script>", "b"]), budget=2)._repr_html_()
    many = rayal.select(scores, "entropy", 12)
    html = many._repr_html_()

    assert "&lt;script&gt;" in few and "<script>" not in few
    assert "selected     12 units, cost 12" in html
    assert [unit in html for unit in many.ids] == [*[True] * 5, False, False, *[True] * 5]


def test_what_is_known_may_be_python_or_files(scores: rayal.Scores, tmp_path: Path) -> None:
    """A notebook would have to write files, or choose otherwise than the command line."""
    rng = np.random.default_rng(0)
    labeled = [IDS[3], IDS[7]]
    costs = {unit: float(cost) for unit, cost in zip(IDS, rng.integers(1, 5, 12), strict=True)}
    groups = {unit: f"video {int(unit[-2:]) // 4}" for unit in IDS}
    files = {"labeled": tmp_path / "done.txt"}
    files["labeled"].write_text("\n".join(labeled))
    for name, known, column in [("costs", costs, "cost"), ("groups", groups, "group")]:
        files[name] = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"id": [*known], column: [*known.values()]}), files[name])

    options: dict[str, Any] = {"strategy": "entropy", "budget": 9, "per_group": 2, "per_class": 4}
    python = rayal.select(
        scores, labeled=set(labeled), costs=costs, groups=groups, seed=2, **options
    )
    from_files = rayal.select(scores, seed=2, **files, **options)  # type: ignore[arg-type]

    assert python.table().equals(from_files.table())
    assert python.spent == sum(costs[unit] for unit in python.ids) <= 9
    assert not {*labeled} & {*python.ids} and 2 == python.passed_over["labeled"]
    assert max(sum(groups[u] == g for u in python.ids) for g in groups.values()) <= 2


def test_features_are_kept(scores: rayal.Scores) -> None:
    """Strategies that select, and distances, would have to score again."""
    table = rayal.select(scores, "core_set", 4, labeled=[IDS[0]])
    apart = rayal.select(scores, "entropy", 4, min_distance=1.0)

    assert IDS[0] not in table.ids and 4 == len(set(table.ids))
    assert table.scores is None and "core_set pick 1" == table.reasons[0]
    assert apart.passed_over["too near"] > 0


def test_strategies_are_those_that_scored() -> None:
    """Options that decided the scores would be forgotten, or parts without a name unknown."""
    net = nn.Linear(2, 2)
    images = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)) * 5
    own = rayal.score(net, images, Mine())
    normalised = rayal.score(net, images, {"name": "core_set", "normalise": True})

    assert (
        own.table().sort_values(f"score.{own.strategies[0]}").tail(1)["id"].item()
        == (rayal.select(own, budget=1).ids[0])
    )
    by_name = rayal.select(normalised, "core_set", 6).ids
    assert by_name == rayal.select(normalised, budget=6).ids
    assert by_name == rayal.select(normalised, CoreSet(normalise=True), 6).ids
    assert by_name == rayal.select(normalised.url, "core_set", 6).ids
    assert by_name != rayal.select(normalised, CoreSet(), 6).ids


def test_picks_can_be_kept(scores: rayal.Scores, tmp_path: Path) -> None:
    """People who label get a file."""
    picks = rayal.select(scores, "entropy", 2)
    picks.write(tmp_path / "next")

    assert picks.ids == pq.read_table(tmp_path / "next.parquet")["id"].to_pylist()
    assert (tmp_path / "next.csv").read_text().startswith("rank,id,score,predicted,reason")


@pytest.mark.parametrize(
    ("options", "problem", "mended"),
    [
        ({"budget": 1}, "the scores are of entropy, core_set.*; name one", {"strategy": "entropy"}),
        ({"strategy": "entropy"}, "budget is not given; give the number", {"budget": 2}),
        (
            {"labeled": ["unit-99"]},
            "labeled: 1 of 1 ids are not in .*give the lab",
            {"labeled": IDS[:1]},
        ),
        ({"labeled": [None]}, "labeled: None is no id; give strings", {"labeled": IDS[:1]}),
        ({"costs": {"unit-00": 1}}, "costs lacks 11 of 12 .*; add them", {"costs": None}),
        ({"costs": [1.0]}, "costs are list; give them by id, as a dict", {"costs": None}),
        ({"costs": {"unit-00": -1}}, "the cost of 'unit-00' is -1; it must be", {"costs": None}),
        ({"groups": dict.fromkeys(IDS, 0)}, "groups and per_group are given", {"per_group": 1}),
        ({"strategy": "margin"}, "has no scores of .*margin.*score again", {"strategy": "entropy"}),
        ({"strategy": "core_set", "per_class": 1}, "does not rank units", {"per_class": None}),
        ({"labeled": 5}, "labeled is 5; give ids, or a file of them", {"labeled": None}),
        ({"strategy": Entropy}, "strategy is <class .*; give a name", {"strategy": Entropy()}),
        ({"cycle": 0}, "cycle is for the passes of a Run; leave it out", {"cycle": None}),
        ({"budget": 0}, "budget: should be greater than 0|budget: greater", {"budget": 1}),
    ],
)
def test_what_cannot_be_is_said(
    scores: rayal.Scores, options: dict[str, Any], problem: str, mended: dict[str, Any]
) -> None:
    """A choice would be another one than was meant."""
    good = {"strategy": "entropy", "budget": 2}
    asked = {**good, **options}
    lacking = [key for key in good if key in mended and key not in options]

    with pytest.raises((UsageError, DataError), match=problem):
        rayal.select(scores, **{k: v for k, v in asked.items() if k not in lacking})
    rayal.select(scores, **{**asked, **mended})


def test_scores_of_a_run(runs: Path, scores: rayal.Scores) -> None:
    """Its passes could only be reached by the names of folders."""
    run = rayal.open_run(runs / "entropy-0")

    picks = rayal.select(run, budget=3, cycle=0)

    assert run.chosen(0)[:3] == picks.ids
    for cycle in (None, 9, "0"):
        with pytest.raises(UsageError, match="cycle is .* has begun 2 cycles; say whose pass"):
            rayal.select(run, budget=3, cycle=cycle)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="scores are DataFrame; give what rayal.score returned"):
        rayal.select(run.scores(0), budget=3)  # type: ignore[arg-type]
    rayal.select(scores, "entropy", 3)


def test_a_choice_may_be_written_at_once(scores: rayal.Scores, tmp_path: Path) -> None:
    """What the command does could not be done in one call."""
    picks = rayal.select(scores, "core_set", 3, out=tmp_path / "next")

    assert ["next.csv", "next.parquet"] == sorted(path.name for path in tmp_path.iterdir())
    assert picks.ids == pq.read_table(tmp_path / "next.parquet")["id"].to_pylist()
