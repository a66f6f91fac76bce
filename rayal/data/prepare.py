"""Writes a store from a source: labels are checked first, images decoded once, the card last."""

import hashlib
import logging
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path
from time import monotonic
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.bad_image import BadImage
from rayal.data.card import (
    Card,
    Encoding,
    ImageSpec,
    MeanStd,
    Numbers,
    Shape,
    SplitName,
    write_card,
)
from rayal.data.copies import COPIES
from rayal.data.copies import encode as encode_copies
from rayal.data.masks import IGNORE, same_size
from rayal.data.source import AnyImage, AnyMask, Source, Units
from rayal.data.store import LABEL_FILES
from rayal.data.store_writer import ImageFiles, MaskFile
from rayal.data.survey import KINDS, Look, MaskLook, Survey, look, look_at_mask
from rayal.errors import DataError, UsageError, counted, quoted, some
from rayal.storage.folder import Folder

GROUP_ROWS = 256
"""Images in a row group, the least that is read at a time."""
LOOK_BYTES = 256 * 2**20
"""Decoded images and masks that are in memory at a time."""
RAW_SIDE = 64
"""Largest side (pixels) of images that `auto` keeps as raw pixels."""
IGNORED = 0.2
"""Share of pixels without a class that is worth a line; a frame or outlines take less."""
DARK = 17
"""Below it are all values of 12 bits, of which the high byte of 16 is kept."""
NEWS = 30.0
"""Seconds between two lines about progress."""

logger = logging.getLogger(__name__)


def prepare(
    source: Source, out: Path, name: str, fingerprint: str, statistics: MeanStd | None
) -> Card:
    """Write the store of `source` into the empty folder `out`; statistics replace computed ones.

    Raises DataError for ids or labels that `Source.check` refuses, for masks that cannot be used
    and for a pool without a usable image; UsageError for images that differ in size where no size
    is set. Of masks that are not verified it sees only what `_unverified` says.
    """
    source.check()
    shape, numbers = _first(source)
    encoding = _encoding(source, shape)
    survey = Survey(shape, numbers, source.naming, pixels=encoding == "raw")
    parts = dict[str, int]()
    for split, units in source.splits.items():
        open_ = split == "pool" and source.unlabeled
        of_split = replace(source, masks=None) if open_ else source
        with ExitStack() as opened:
            images = opened.enter_context(
                ImageFiles(out, split, encoding, shape, numbers, GROUP_ROWS)
            )
            masks = source.masks and opened.enter_context(
                MaskFile(out, split, encoding, GROUP_ROWS)
            )
            for ids, looks in _examined(split, units, of_split, shape, encoding):
                survey.add(split, ids, looks)
                images.add(ids, looks)
                if masks and of_split.masks:
                    masks.add(ids, looks)
        parts |= images.rows
    if source.masks is None:
        _write_classes(out, source)
    beside = [*LABEL_FILES.values()]
    if source.verify:
        (out / COPIES).write_bytes(encode_copies(survey.copies))
        beside.append(COPIES)
    card = Card(
        name=name,
        fingerprint=fingerprint,
        classes=tuple(source.classes),
        image=_spec(shape, numbers, statistics or survey.statistics()),
        encoding=encoding,
        decoding=None if encoding == "raw" else source.decoding,
        masks=source.masks,
        pool=len(source.pool.ids),
        test=len(source.test.ids),
        parts=parts,
        group_rows=GROUP_ROWS,
        bad=survey.bad,
        sizes=dict(survey.sizes.most_common(20)),
        duplicates=survey.duplicates,
        class_counts=_class_counts(source, survey),
        empty_masks=survey.empty_masks,
        files={file: _sealed(out / file) for file in (*parts, *beside)},
        origin=source.origin,
        licence=source.licence,
    )
    write_card(Folder(out), card)
    _tell(card)
    _tell_of_pixels(survey)
    return card


def _tell_of_pixels(survey: Survey) -> None:
    if survey.brightest < DARK:
        logger.warning(
            "no pixel of the pool is above %d of 255: such are 12-bit values in 16-bit files;"
            " scale those by 16, or all looks nearly black",
            survey.brightest,
        )
    known = sum(int(counts.sum()) for counts in survey.class_pixels.values())
    share = survey.ignored / max(known + survey.ignored, 1)
    if share > IGNORED:
        logger.warning(
            "%.0f%% of the masks' pixels are %d, which is no class: they are neither trained on nor"
            " judged",
            *(100 * share, IGNORE),
        )


def _tell(card: Card) -> None:
    """Say what a user should know about the images before the first cycle."""
    if card.bad:
        unit, reason = next(iter(card.bad.items()))
        logger.warning(
            "%s cannot be decoded, first %s: %s",
            counted(len(card.bad), "image"),
            quoted(unit),
            reason,
        )
    if across := card.duplicates["across"]:
        shared = counted(across, "test image is", "test images are")
        logger.warning("%s also in the pool, byte for byte", shared)
    if card.empty_masks:
        logger.warning(
            "%d of %d masks have no pixel of any class: nothing is learned from them",
            card.empty_masks,
            card.test + (card.pool if card.labeled else 0),
        )
    what = "image" if card.masks is None else "pixel"
    of_pool = card.class_counts.get("pool", ()) if card.labeled else ()
    counts = dict(zip(card.classes, of_pool, strict=False))
    if absent := [name for name, count in counts.items() if not count]:
        logger.warning("no %s of the pool is %s", what, some(absent))
    if counts.get(""):
        logger.warning(
            "%s of the class '' in the pool: one of its own, not without a label",
            counted(counts[""], f"{what} is", f"{what}s are"),
        )
    for names in _alike(card.classes):
        logger.warning(
            "classes %s differ in case, spaces or Unicode form alone; each is one of its own",
            some(names),
        )


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Names that people take for the same."""
    groups = dict[str, list[str]]()
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _first(source: Source) -> tuple[Shape, Numbers]:
    """What all images are: from the options, or as the first good one of the pool."""
    decoding, reasons = source.decoding, []
    if not source.verify and decoding.frame is not None:
        return (decoding.channels, *decoding.frame), "uint8"
    for _, image in zip(source.pool.ids, source.pool.images, strict=False):
        seen = look(image, decoding)
        if seen.pixels is not None:
            return seen.pixels.shape, KINDS[seen.pixels.ndim]
        reasons.append(seen.bad)
    raise DataError(
        f"none of {counted(len(reasons), 'image')} can be decoded; the first: {reasons[0]}"
    )


def _encoding(source: Source, shape: Shape) -> Encoding:
    canvas = source.decoding.canvas is not None
    if source.encoding == "raw" and canvas:
        raise UsageError(
            "encoding: raw does not keep the sizes of images inside a canvas; set encoding: bytes"
        )
    if source.encoding != "auto":
        return source.encoding
    if canvas:
        return "bytes"
    return "raw" if max(shape[1:], default=1) <= RAW_SIDE else "bytes"


def _spec(shape: Shape, numbers: Numbers, statistics: MeanStd) -> ImageSpec:
    channels, (mean, std) = shape[0], statistics
    if not len(mean) == len(std) == channels:
        raise UsageError(
            f"mean {mean} and std {std} need one value for each of {channels} channels; give"
            f" {channels} of each, or neither"
        )
    return ImageSpec.of(shape, mean, std, numbers)


def _examined(
    split: SplitName, units: Units, source: Source, shape: Shape, encoding: Encoding
) -> Iterator[tuple[list[str], list[Look]]]:
    """Ids and looks, a few after the other, decoded on all cores."""
    ids, images = iter(units.ids), iter(units.images)
    masks = iter(cast(Iterable[AnyMask | None], units.labels)) if source.masks else repeat(None)
    firsts = chain([True], repeat(False))
    least = min(GROUP_ROWS, LOOK_BYTES // math.prod(shape)) if source.verify else GROUP_ROWS
    done, told = 0, monotonic()

    def examine(image: AnyImage | BadImage | None, mask: AnyMask | None, first: bool) -> Look:
        return _look(image, mask, source, shape, encoding, first)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        run = threads.map if source.verify or source.masks else map
        while group := list(islice(ids, max(least, 1))):
            found = islice(images, len(group)), islice(masks, len(group))
            looks = list(run(examine, *found, firsts))
            if len(looks) < len(group):
                raise DataError(
                    f"the {split} has {len(units.ids)} ids, and images or masks for"
                    f" {done + len(looks)} of them; give one for each"
                )
            yield group, looks
            done += len(group)
            if monotonic() - told > NEWS:
                told = monotonic()
                logger.info("prepared %d of %d images of the %s", done, len(units.ids), split)


def _look(
    image: AnyImage | BadImage | None,
    mask: AnyMask | None,
    source: Source,
    shape: Shape,
    encoding: Encoding,
    first: bool,
) -> Look:
    """One image and, where labels are such, its mask; `first` of its split."""
    if not source.verify:
        return Look(image, mask=_unverified(image, mask, source, first))
    seen = look(image, source.decoding, shape)
    if source.masks is None or seen.misfit:
        return seen
    of_mask = look_at_mask(mask, source.masks, source.decoding, seen, keep=encoding == "uri")
    return seen._replace(mask=of_mask)


def _unverified(
    image: AnyImage | BadImage | None, mask: AnyMask | None, source: Source, first: bool
) -> MaskLook:
    """The mask as it is, with a fault that shows at a glance: of the first, which has the values of
    all the others; else where it has not the size of its image, to which it would be stretched."""
    masks = source.masks
    if masks is None:
        return MaskLook(mask)
    known = isinstance(image, str) and isinstance(mask, str) and same_size(image, mask, masks)
    if known and not first:
        return MaskLook(mask)
    seen = look(image, source.decoding)
    found = look_at_mask(mask, masks, source.decoding, seen, keep=True)
    return MaskLook(mask) if seen.bad else found._replace(label=mask, counts=None)


def _write_classes(out: Path, source: Source) -> None:
    for split, labels in source.classes_of_images.items():
        ids = pa.array(source.splits[split].ids, pa.string())
        known = np.asarray(labels, np.int64)
        table = pa.table({"id": ids[: len(known)], "label": known})
        path = out / LABEL_FILES[split]
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def _class_counts(source: Source, survey: Survey) -> dict[str, tuple[int, ...]]:
    """Of each split: images per class, or pixels where somebody looked at masks; of a pool that has
    no masks nothing."""
    classes = len(source.classes)
    if source.masks is None:
        counts = {
            split: np.bincount(np.asarray(labels, np.int64), minlength=classes)
            for split, labels in source.classes_of_images.items()
        }
    else:
        counts = dict(survey.class_pixels) if source.verify else {}
    found: dict[str, tuple[int, ...]] = {
        split: tuple(count[:classes].tolist()) for split, count in counts.items()
    }
    if source.masks is not None and source.unlabeled:
        found["pool"] = ()
    return found


def _sealed(path: Path) -> str:
    """The sha256 of a file, once it is on the disk for good."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
