"""The images of COCO files of detection: each with one class of what is in it, or with none."""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self, cast

from pydantic import model_validator

from rayal.data.datasets._coco import Coco, Picture, Rule, class_of, read_coco
from rayal.data.datasets._labels import check_test_labels
from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import list_images
from rayal.data.named_file import Place, located
from rayal.data.source import NO_UNITS, Source, Units
from rayal.data.table import check
from rayal.errors import DataError, counted, quoted, some
from rayal.parts import suggest

logger = logging.getLogger(__name__)


class CocoImages(EncodedDataset):
    """`root/annotations/instances_train2017.json` lists the images in `root/train2017`.

    Boxes and masks are not learned: an image has one class, chosen by the rule `label` among the
    categories in it, or is one of a pool that people label. A crowd counts as one annotation. The
    path below `root` is the id. A file that is not there is a bad image.
    """

    layout: ClassVar[str] = "JSON files of COCO instances and folders of their images"

    pool: str = "annotations/instances_train2017.json"
    """File of the pool's images, below root."""
    images: str | None = "train2017"
    """Their folder, below root, absolute or the URL of one in an object store; null: the address of
    each is its coco_url or, without one, its file_name."""
    test: str | None = None
    """File of the test images, below root, with the same categories; null: there are none."""
    test_images: str | None = "val2017"
    """Their folder, as `images`; null: as there."""
    label: Rule | None = None
    """Class of an image: that of its largest box (`largest`), of most annotations, of equals that
    of the larger box (`most`), or the one category in it, others left out (`only`); null: nobody
    has labeled the pool, and people do."""
    test_label: Rule | None = None
    """Likewise of the test images; null: as `label`."""
    background: str | None = None
    """Class of labeled images without an annotation of one of the classes; null: they are left
    out."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of their indices; annotations of other categories do not count;
    null: all categories, in the order of their ids."""
    follow_links: bool = False
    """Follow links that lead out of root (else an error)."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.tested:
            check_test_labels(self.label, self.test_label, "a rule", "test: null")
        if self.background is not None and self._rules == (None, None):
            raise ValueError(
                f"background {quoted(self.background)} is the class of images without an"
                " annotation, but no label asks for these; set label to a rule"
            )
        return self

    @property
    def tested(self) -> bool:
        return self.test is not None

    def files(self) -> list[str]:
        """The images that lie below root come last, those that no file lists too."""
        files = [self.pool, *([] if self.test is None else [self.test])]
        folders = dict.fromkeys([self.images, *([] if self.test is None else [self.test_images])])
        images = [
            path
            for folder in folders
            if folder is not None and not ("://" in folder or os.path.isabs(folder))
            for path in list_images(self.folder, _plain(folder), self.follow_links)
        ]
        return [*files, *dict.fromkeys(images)]

    def identity(self, path: str) -> str:
        """The size of an image: 20 GB are not read to see whether a store is there."""
        return super().identity(path) if path.endswith(".json") else str(os.stat(path).st_size)

    def source(self) -> Source:
        rule, test_rule = self._rules
        pool = self._read(self.pool, rule)
        test = None if self.test is None else self._read(self.test, test_rule)
        classes = self._classes(pool, test)
        far = Place(self.folder, self.images).far
        return Source(
            classes=classes,
            pool=self._units(self.pool, self.images, pool, rule, classes),
            test=NO_UNITS
            if self.test is None or test is None
            else self._units(self.test, self.test_images, test, test_rule, classes),
            origin=f"images listed in {self.folder / self.pool}",
            licence="not stated",
            encoding="uri" if self.encoding == "auto" and far else self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    @property
    def _rules(self) -> tuple[Rule | None, Rule | None]:
        """Of the pool and of the test images."""
        return self.label, self.test_label or self.label

    def _read(self, file: str, rule: Rule | None) -> Coco:
        found = read_coco(located(self.folder, file), rule is not None)
        if found.strays:
            logger.warning(
                "%s: %s of images that the file has not",
                file,
                counted(found.strays, "annotation is", "annotations are"),
            )
        return found

    def _classes(self, pool: Coco, test: Coco | None) -> tuple[str, ...]:
        """Raises DataError for classes that no file knows, and where the files differ."""
        known = pool.categories
        if self.classes is None:
            strange = [name for name in (test or pool).categories if name not in known]
            if strange:
                raise DataError(
                    f"{self.folder}/{self.test} has the categories {some(strange)}, which"
                    f" {self.pool} has not; set dataset.classes to those that are meant"
                )
        elif self.label is not None:
            fine = {*known, self.background}
            if strange := [name for name in self.classes if name not in fine]:
                raise DataError(
                    f"dataset.classes: {quoted(strange[0])} is no category of {self.pool};"
                    f" {suggest(strange[0], known)}"
                )
        classes = self.classes or known
        more = self.background is not None and self.background not in classes
        return (*classes, str(self.background)) if more else classes

    def _units(
        self,
        file: str,
        folder: str | None,
        found: Coco,
        rule: Rule | None,
        classes: Sequence[str],
    ) -> Units:
        """Raises DataError with all that is wrong with any name."""
        place = Place(self.folder, folder, self.follow_links)
        labels, places, problems = list[str | None](), dict[str, str](), list[str]()
        for number, picture, label in self._chosen(file, found, rule, classes):
            try:
                unit, address = place.of(picture.name, picture.url)
            except DataError as error:
                problems.append(f"{file} image {number} ({quoted(picture.name)}): {error}")
                continue
            if unit in places:
                problems.append(f"{file} image {number} ({quoted(unit)}): is twice; leave one out")
            labels.append(label)
            places[unit] = address
        check(located(self.folder, file), problems)
        index = {name: number for number, name in enumerate(classes)}
        known = [None if label is None else index[label] for label in labels]
        return Units([*places], cast(list[int], known), [*places.values()])

    def _chosen(
        self, file: str, found: Coco, rule: Rule | None, classes: Sequence[str]
    ) -> Iterator[tuple[int, Picture, str | None]]:
        """Number and class of the images that are units, the class None where there is no rule."""
        empty = several = 0
        for number, picture in enumerate(found.pictures, 1):
            label = None if rule is None else class_of(picture.said, rule, classes)
            if rule is not None and label is None:
                if any(name in picture.said for name in classes):
                    several += 1
                    continue
                if self.background is None:
                    empty += 1
                    continue
                label = self.background
            yield number, picture, label
        self._tell(file, empty, several)

    def _tell(self, file: str, empty: int, several: int) -> None:
        if empty:
            logger.warning(
                "%s: %s left out, without an annotation of any class; dataset.background makes"
                " them one",
                file,
                counted(empty, "image is", "images are"),
            )
        if several:
            logger.warning(
                "%s: %s left out, with several categories",
                file,
                counted(several, "image is", "images are"),
            )


def _plain(folder: str) -> str:
    """A folder below root, empty where it is root itself."""
    plain = os.path.normpath(folder)
    return "" if plain == "." else plain
