"""What every dataset promises; runs over each file in rayal/data/datasets, with tiny originals."""

from collections.abc import Iterator

import pytest

from rayal.data.datasets.base import Dataset
from rayal.parts import names
from rayal.testing import DatasetContract
from rayal.testing.scenes import Scenes
from tests.support import originals

UNTESTED = {
    "unlabeled_folder": {"test": None, "classes": ("a", "b")},
    "unlabeled_scenes": {"test": ()},
    "listed_folder": {"test": None},
    "coco_images": {"test": None, "label": None},
    "uri_list": {"test": None, "classes": ("a", "b")},
    "parquet": {"test": (), "label": None, "classes": ("a", "b")},
}
"""Datasets that do without test images, by these options."""


@pytest.fixture(scope="module", params=UNTESTED)
def untested(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dataset]:
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        made = originals.dataset(request.param, root, patch)
        yield made.model_copy(update=UNTESTED[request.param])


class TestUntestedDatasets(DatasetContract):
    @pytest.fixture(autouse=True)
    def _each(self, untested: Dataset) -> None:
        self.part = untested


@pytest.fixture(scope="module", params=[*names("datasets"), "scenes"])
def dataset(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dataset]:
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        yield (
            Scenes() if request.param == "scenes" else originals.dataset(request.param, root, patch)
        )


class TestDatasets(DatasetContract):
    @pytest.fixture(autouse=True)
    def _each(self, dataset: Dataset) -> None:
        self.part = dataset
