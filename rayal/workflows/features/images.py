"""Images as the weights want them: where the dataset decodes files and nobody says how."""

import logging
from typing import Any

from rayal.data.card import Card
from rayal.data.datasets.base import Dataset, EncodedDataset
from rayal.data.images import Decoding
from rayal.models.base import Recipe
from rayal.workflows.features.settings import FeaturePass

SHAPING = ("size", "resize", "squash", "shape", "canvas")
"""Options that belong together: where one is given, the dataset's own count."""

logger = logging.getLogger(__name__)


def suited(x: FeaturePass, recipe: Recipe | None) -> FeaturePass:
    """The pass over a dataset that resizes and cuts as the weights want it, where it says nothing
    of either itself."""
    wanted, dataset = recipe and recipe.decoding, x.dataset
    if wanted is None or not isinstance(dataset, EncodedDataset):
        return x
    given = dataset.model_fields_set
    names = () if given & {*SHAPING} else SHAPING[:-1]
    names = (*names, *({"interpolation"} - given))
    update = {name: getattr(wanted, name) for name in names}
    changed: Dataset = type(dataset).model_validate(
        {**{name: getattr(dataset, name) for name in given}, **update}
    )
    return x.model_copy(update={"dataset": changed})


def check_image(x: FeaturePass, recipe: Recipe | None, data: Card) -> None:
    """Warns where the images are not what the weights were made for, with what to set."""
    wanted = recipe and recipe.decoding
    if recipe is None or wanted is None or wanted.frame is None:
        return
    own, enlarge = x.dataset.decoding, getattr(x.model, "enlarge", 1)
    sides = tuple(side * enlarge for side in data.image.sides)
    if own is not None and own.frame is not None and enlarge == 1:
        if _resizing(own) != _resizing(wanted):
            logger.warning(
                "%s want their images otherwise than the dataset makes them; for theirs: %s",
                *(recipe.source, _asked(wanted)),
            )
    elif sides != wanted.frame:
        times = _times(data.image.sides, wanted.frame)
        enlarged = f"; with enlarge: {times} of the model they are" if times else ""
        logger.warning(
            "%s are for images of %s px, the network sees %s%s",
            *(recipe.source, _written(wanted.frame), _written(sides)),
            enlarged if own is None else f"; for theirs: {_asked(wanted)}",
        )


def _resizing(decoding: Decoding) -> dict[str, Any]:
    fields = decoding.model_dump(include={*SHAPING, "interpolation"})
    return {"interpolation": decoding.interpolation, **fields, "resize": _resize(decoding)}


def _resize(decoding: Decoding) -> int | None:
    return decoding.resize or decoding.size


def _asked(wanted: Decoding) -> str:
    """The options that make images so."""
    usual = Decoding()
    fields = {name: getattr(wanted, name) for name in (*SHAPING, "interpolation")}
    said = {k: v for k, v in fields.items() if v != getattr(usual, k)}
    return " ".join(f"--set dataset.{name}={_value(value)}" for name, value in said.items())


def _value(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value).lower()


def _written(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _times(sides: tuple[int, ...], frame: tuple[int, ...]) -> int | None:
    """The whole number by which all sides are to be made larger; None where there is none."""
    ratios = {wanted / side for wanted, side in zip(frame, sides, strict=True)}
    ratio = ratios.pop()
    return int(ratio) if not ratios and ratio == int(ratio) else None
