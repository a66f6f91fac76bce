"""`rayal replay` of masks, clicks, regions, people and features, against real runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from tests.support import scenes
from tests.support.branched import branched
from tests.support.frozen import look, study
from tests.support.people import answer, asks, truthful
from tests.support.whole_runs import chosen, files_of, go

CLICKS: dict[str, Any] = {
    "oracle": {"name": "clicks", "tolerance": 3},
    "budget": {"initial": 100, "per_cycle": 60, "total": 220, "unit": "clicks"},
}
Made = Callable[..., Experiment]


@pytest.fixture(scope="module")
def dense(cache: Path, undrawn: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Builds experiments of three cycles on scenes with masks."""
    root = scenes.write(tmp_path_factory.mktemp("scenes"), pool=24, test=6)

    def build(strategy: Any, **fields: Any) -> Experiment:
        return Experiment(
            **{
                "name": "dense",
                "dataset": {"name": "camvid", "root": str(root)},
                "task": "segmentation",
                "model": {"name": "small_segmenter", "width": 4},
                "scheme": {"name": "supervised", "steps": 12, "batch_size": 4, "lr": 0.05},
                "strategy": strategy,
                "budget": {"initial": 4, "per_cycle": 4, "total": 12},
                "compute": {"engine": "local", "cpus_per_worker": 1, "score_batch": 8},
                "tracking": "none",
                **fields,
            }
        )

    return build


@pytest.mark.parametrize(
    "fields", [pytest.param({}, id="images"), pytest.param(CLICKS, id="clicks")]
)
def test_masks(dense: Made, tmp_path: Path, fields: dict[str, Any]) -> None:
    """Where units differ in cost, another strategy buys another number of them."""
    names = ["random", "entropy", "cod", "core_set", "entropy_gradnorm"]
    go(dense("margin", observers=["cod"], **fields), tmp_path / "run")
    go(dense("margin", **fields), tmp_path / "bare")
    found = rayal.replay(tmp_path / "bare", cycle=1, strategy=names, forward=True)

    for each in found.others:
        real = branched(tmp_path / "run", 1, dense(each.name, **fields), tmp_path / each.name)
        assert each.bought.ids == real, each.name
    assert all(row > 0 for row in found.table()["cost"])
    assert found.to_dict()["own"]["classes"] is None
    assert "True mask" in found.html()


def test_regions(dense: Made, tmp_path: Path) -> None:
    """Regions bought are gone, the rest of their images is not; their outlines decide costs."""
    polygons = ["random_polygon", "random_image_entropy_polygon"]
    go(dense("random_polygon", **CLICKS), tmp_path / "run")
    found = rayal.replay(
        tmp_path / "run", cycle=1, strategy=[*polygons, "margin", "random"], forward=True
    )

    assert found.chosen("random_polygon#2") == chosen(tmp_path / "run")[1]
    for name in (polygons[1], "margin", "random"):
        real = branched(tmp_path / "run", 1, dense(name, **CLICKS), tmp_path / name)
        assert found.chosen(name) == list(real), name
    assert len(found.html()) > 10_000


def test_people(tiny: Made, tmp_path: Path) -> None:
    """While people still label what was chosen; of what nobody has labeled no class is known."""
    fields: dict[str, Any] = {
        "oracle": "people",
        "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
    }
    x, out = tiny(strategy="margin", **fields), tmp_path / "run"
    assert asks(x, out)
    answer(out, truthful(x))
    assert asks(x, out)
    before = files_of(out)
    found = rayal.replay(out, strategy="entropy", forward=True)
    told = found.to_dict()
    y = tiny(strategy="entropy", **{**fields, "oracle": "simulated"})
    go(y, tmp_path / "simulated")

    assert found.cycle == 0
    assert found.chosen() == chosen(tmp_path / "simulated")[0]
    assert (told["own"]["unknown"], told["own"]["divergence"]) == (20, None)
    assert files_of(out) == before


def test_features(tiny: Made, tmp_path: Path) -> None:
    """Of vectors there is nothing to look at, and all else is as with images."""
    looked = look(tmp_path, tiny)

    def x(strategy: str) -> Experiment:
        return study(tiny, looked.root, strategy=strategy, fine_tune=None)

    go(x("margin"), tmp_path / "run")
    found = rayal.replay(tmp_path / "run", cycle=0, strategy=["core_set", "badge"], forward=True)

    for name in ("core_set", "badge"):
        real = branched(tmp_path / "run", 0, x(name), tmp_path / name)
        assert found.chosen(name) == list(real)
    assert "No pictures of" in found.html()


def test_another_dataset_is_refused(tiny: Made, tmp_path: Path) -> None:
    """Candidates of other data would be chosen, and their pictures shown."""
    looked = look(tmp_path, tiny)
    go(study(tiny, looked.root, strategy="margin", fine_tune=None), tmp_path / "run")
    again = look(tmp_path / "other", tiny, seed=4)
    looked.root.rename(tmp_path / "gone")
    again.root.rename(looked.root)

    with pytest.raises((rayal.DataError, UsageError), match="other data"):
        rayal.replay(tmp_path / "run", strategy="entropy", forward=True)
