"""What an image processor of transformers does, as rayal's decoding and normalisation."""

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rayal.data.images import Decoding
from rayal.errors import UsageError, some
from rayal.models.architectures._transformers import quiet
from rayal.models.base import Recipe
from rayal.models.weights_folder import CONFIG, PROCESSORS
from rayal.storage.folder import Folder

RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
FOLLOWED = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
HARMLESS = ("do_pad", "do_reduce_labels")
"""For images of one size, and for classes, nothing."""
LARGE = 384
"""From this size on ConvNeXt's processor cuts nothing out."""

logger = logging.getLogger(__name__)


def recipe_of(location: str) -> Recipe | None:
    """What the processor in a folder does; None where there is none.

    Raises UsageError for one that does more than resize, cut, and normalise.
    """
    processor = _processor(location)
    if processor is None:
        return None
    odd = [
        name
        for name, value in processor.items()
        if value is True and name.startswith("do_") and name not in (*FOLLOWED, *HARMLESS)
    ]
    if odd or processor.get("rescale_offset") is True:
        raise UsageError(
            f"{location}: its image processor does what rayal does not,"
            f" {some(odd or ['rescale_offset'])}; use other weights"
        )
    mean, std = _moments(processor)
    return Recipe(location, mean, std, _decoding(processor, location))


def _processor(location: str) -> dict[str, Any] | None:
    """As a mapping, with the defaults of its kind; made of copies of two files, beside which there
    is nothing else."""
    folder = Folder(location)
    there = [name for name in (CONFIG, *PROCESSORS) if folder.exists(name)]
    if not set(PROCESSORS) & set(there):
        return None
    with TemporaryDirectory() as place, quiet() as package:
        for name in there:
            Path(place, name).write_bytes(folder.read(name))
        try:
            found = package.AutoImageProcessor.from_pretrained(
                place, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # of many kinds
            reason = " ".join(str(error).replace(place, location).split())
            raise UsageError(f"{location}: its image processor cannot be read: {reason}") from error
    fields: dict[str, Any] = found.to_dict()
    return {**fields, "kind": type(found).__name__}


def _moments(processor: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in [0, 1]."""
    factor = processor.get("rescale_factor") or 1 / 255
    scale = 255 * (factor if processor.get("do_rescale") else 1.0)
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if not processor.get("do_normalize") or mean is None or std is None:
        mean, std = (0.0,) * 3, (1.0,) * 3
    if abs(scale - 1) < 1e-6:
        scale = 1.0
    return tuple(x / scale for x in mean), tuple(x / scale for x in std)


def _decoding(processor: Mapping[str, Any], location: str) -> Decoding | None:
    """Resize and cut; None where results have no one size."""
    sides = processor.get("size") if processor.get("do_resize") else None
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    resampling = RESAMPLING.get(int(processor.get("resample") or 2))
    if resampling is None:
        logger.warning(
            "%s wants another resize (%s); it is bicubic", location, processor["resample"]
        )
        resampling = "bicubic"
    how: dict[str, Any] = {"interpolation": resampling}
    shortest, height, width = (_side(sides, key) for key in ("shortest_edge", "height", "width"))
    if shortest is not None and str(processor["kind"]).startswith("ConvNext"):
        cut = shortest < LARGE
        resize = int(shortest / processor["crop_pct"]) if cut else shortest
        return Decoding(size=shortest, resize=resize, squash=not cut, **how)
    inner = _side(crop, "height")
    if inner is not None and inner == _side(crop, "width"):
        if shortest is not None and shortest >= inner:
            return Decoding(size=inner, resize=shortest, **how)
        if height is not None and height == width and height >= inner:
            return Decoding(size=inner, resize=height, squash=True, **how)
    if crop is None and height is not None and width is not None:
        if height == width:
            return Decoding(size=height, squash=True, **how)
        return Decoding(shape=(height, width), **how)
    return None


def _side(sides: Any, key: str) -> int | None:
    found = sides.get(key) if isinstance(sides, Mapping) else None
    return int(found) if found else None
