"""Cityscapes: 2,975 training and 500 validation street scenes of 2048x1024, 19 classes."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from rayal.data.datasets._segmentation import Names, Pair, SegmentationDataset, keyed, paired
from rayal.data.listing import walk_images
from rayal.data.masks import IGNORE, MaskDecoding
from rayal.data.source import Keep

IMAGES, MASKS = "leftImg8bit", "gtFine"
ENDINGS = {
    "labelIds": "_gtFine_labelIds.png",
    "labelTrainIds": "_gtFine_labelTrainIds.png",
    "polygons": "_gtFine_polygons.json",
}

LABELS = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic"),
    *("ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence"),
    *("guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan"),
    *("trailer", "train", "motorcycle", "bicycle"),
)
"""Names of the label ids 0 to 33."""
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label ids that are classes, in the order of their train ids."""

CLASS_OF = {label: IGNORE for label in range(len(LABELS))} | {
    label: number for number, label in enumerate(EVALUATED)
}
NAMES = {name: CLASS_OF[label] for label, name in enumerate(LABELS)}
DECODINGS = {
    "labelIds": MaskDecoding(values={**CLASS_OF, IGNORE: IGNORE}),
    "labelTrainIds": MaskDecoding(
        values={**{number: number for number in range(len(EVALUATED))}, IGNORE: IGNORE}
    ),
    "polygons": MaskDecoding(
        values={},
        names={
            **{f"{name}group": number for name, number in NAMES.items()},
            **NAMES,
            "license plate": None,  # the car below it stays
        },
    ),
}


class Cityscapes(SegmentationDataset):
    """`root/leftImg8bit/<part>/<city>/` and `root/gtFine/<part>/<city>/`, read where they are.

    A part is a split, such as train, or one city of it, such as val/frankfurt. The 3,475 frames of
    DAST-AL are `pool: [train, val]`, but then nothing with public labels is left to judge by (those
    of the official test split are empty): `pool: [train, val/lindau, val/munster]` with
    `test: [val/frankfurt]` keeps 267 apart.

    The size is that of the first image, and one of another size is bad; `shape` reduces all. Like
    ImageNet, files are neither copied nor decoded while preparing, but their headers are read. The
    mean and standard deviation are those of DRN's training.

    *Source*: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, 2016.
    *Differences*: with `masks: polygons` a pixel belongs to a polygon when its centre is inside.
    The official label images also paint the pixels that an edge touches on the right and below.
    """

    layout: ClassVar[str] = f"{IMAGES}/ and {MASKS}/, with train/ and val/ in each"
    one_size: ClassVar[bool] = True
    class_names: ClassVar[tuple[str, ...]] = tuple(LABELS[label] for label in EVALUATED)
    origin: ClassVar[str] = "https://www.cityscapes-dataset.com"
    licence: ClassVar[str] = "non-commercial; registration required"

    pool: Names = ("train",)
    """Folders of the pool, below leftImg8bit and gtFine."""
    test: Names = ("val",)
    """Folders of the test images, below leftImg8bit and gtFine."""
    masks: Literal["labelIds", "labelTrainIds", "polygons"] = "labelIds"
    """Which of the files below gtFine are read: images of label ids or of train ids, or the
    polygons that were drawn."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""
    encoding: Keep = "uri"
    """How the store keeps images and masks: decoded once (`raw`), as they are (`bytes`), or only
    where they lie (`uri`); `auto`: raw up to 64 pixels a side, larger ones as bytes."""
    verify: bool = False
    """Decode every image and mask once while preparing (ten minutes of one core)."""
    mean: tuple[float, ...] | None = (0.290, 0.328, 0.287)
    """Mean per channel, of pixels in [0, 1]; null: computed from the pool, with `verify`."""
    std: tuple[float, ...] | None = (0.183, 0.187, 0.184)
    """Standard deviation per channel, given together with mean; null: computed from the pool."""

    def files(self) -> list[str]:
        paths = [path for part in (*self.pool, *self.test) for path in self._files_of(part)]
        return list(dict.fromkeys(paths))  # a part may be a city of another

    def pairs(self, parts: Sequence[str], files: Sequence[str]) -> list[Pair]:
        pairs = list[Pair]()
        for part in parts:
            images, masks = (
                [path for path in files if path.startswith(f"{kind}/{part}/")]
                for kind in (IMAGES, MASKS)
            )
            pairs += paired(
                keyed(images, IMAGES, "_leftImg8bit.png"),
                keyed(masks, MASKS, ENDINGS[self.masks]),
            )
        return pairs

    @property
    def mask_decoding(self) -> MaskDecoding:
        return DECODINGS[self.masks]

    def _files_of(self, part: str) -> list[str]:
        """Its images, then its masks."""
        images = walk_images(self.folder, f"{IMAGES}/{part}", self.follow_links)
        # The other files there are expected, so not worth a warning.
        others = walk_images(self.folder, f"{MASKS}/{part}", self.follow_links, {".png", ".json"})
        return [*images, *(path for path in others if path.endswith(ENDINGS[self.masks]))]
