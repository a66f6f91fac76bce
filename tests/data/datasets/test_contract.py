"""What every dataset promises; runs over each file in rayal/data/datasets, with tiny originals."""

from collections.abc import Iterator

import pytest

from rayal.data.datasets.base import Dataset
from rayal.parts import names
from rayal.testing import DatasetContract
from rayal.testing.scenes import Scenes
from tests.support import originals


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
