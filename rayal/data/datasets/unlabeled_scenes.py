"""Your own images whose masks people will draw, and a few with masks to test with, or none."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.data.datasets._segmentation import Names, units_of_pairs
from rayal.data.datasets.mask_folder import MaskFolder
from rayal.data.datasets.unlabeled_folder import HERE
from rayal.data.listing import Addresses, list_images
from rayal.data.source import NO_UNITS, Source, Units
from rayal.errors import DataError, some


class UnlabeledScenes(MaskFolder):
    """`root/pool/.../x.jpg` without masks, `root/test/images/x.jpg` with `root/test/masks/x.png`.

    People draw the masks of the pool: oracle `people`, or `rayal.ActiveLearner`. The path below
    `root` is the id. Of test images all is as in `mask_folder`; they are no part of the pool,
    wherever they lie.
    """

    layout: ClassVar[str] = (
        "a folder of images to label (dataset.pool, [.] for root itself), and test/ with images/"
        " and masks/ (dataset.test, [] for none)"
    )

    pool: Names = ("pool",)
    """Folders of the images to label, below root; a dot is root itself."""
    test: tuple[str, ...] = ("test",)
    """Splits that are the test images; []: there are none."""

    @property
    def tested(self) -> bool:
        return len(self.test) > 0

    def files(self) -> list[str]:
        pool = [path for each in self.pool for path in self._listed("" if each == HERE else each)]
        of_test = [
            folder.replace("*", split)
            for split in self.test
            for folder in (self.images, self.masks)
        ]
        test = [path for folder in of_test for path in self._listed(folder)]
        return [*dict.fromkeys([*pool, *test])]

    def source_of(self, files: Sequence[str]) -> Source:
        inside = tuple("" if each == HERE else f"{each}/" for each in self.pool)
        pairs = self.pairs(self.test, files)
        if self.test and not pairs:
            raise DataError(
                f"{self.folder}: {some(self.test)} hold no test images; add some, or set"
                " dataset.test: []"
            )
        known = {path for pair in pairs for path in (pair.image, pair.mask)}
        pool = [path for path in files if path.startswith(inside) and path not in known]
        if not pool:
            raise DataError(
                f"{self.folder}: {some(self.pool)} hold no images to label; correct dataset.root or"
                " dataset.pool"
            )
        return self.described(
            Units(pool, [None] * len(pool), Addresses(self.folder, pool)),
            units_of_pairs(self.folder, pairs) if self.test else NO_UNITS,
        )

    def _listed(self, folder: str) -> list[str]:
        return list_images(self.folder, folder, self.follow_links)
