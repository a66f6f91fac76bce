"""The part that a folder of somebody's weights is for, by the description in it."""

from collections.abc import Mapping
from typing import Any

from rayal.errors import UsageError, quoted
from rayal.models.base import Model
from rayal.models.weights_folder import CONFIG
from rayal.parts import build


def part_of(config: Mapping[str, Any], location: str) -> Model:
    """`timm` or `transformers`, as this `config.json` says; without its weights.

    Raises UsageError for one of something else, and where that package is missing.
    """
    if "architecture" in config:  # also where transformers calls it a timm_wrapper
        from rayal.models.architectures.timm import of_folder

        made: Any = of_folder(config)
    elif "model_type" in config:
        made = "transformers"
    else:
        raise UsageError(
            f"{location}/{CONFIG} names no architecture of timm and no model_type of transformers,"
            f" its keys are {quoted(', '.join(config))}; give the architecture with --model and a"
            " file of weights"
        )
    model: Model = build("models", made)
    return model
