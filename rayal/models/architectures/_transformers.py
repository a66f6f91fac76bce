"""The package transformers: silent, without a network, and never with the code of a folder."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from rayal.errors import UsageError, quoted, some
from rayal.models.architectures._package import needed


@contextmanager
def quiet() -> Iterator[Any]:
    """The package; inside it asks nobody, shows no bars and tells only of errors."""
    package = needed("transformers")
    constants: Any = import_module("huggingface_hub.constants")
    told = package.utils.logging
    level, bars, offline = (
        told.get_verbosity(),
        told.is_progress_bar_enabled(),
        constants.HF_HUB_OFFLINE,
    )
    told.set_verbosity_error()
    told.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield package
    finally:
        constants.HF_HUB_OFFLINE = offline
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()


def vision_config(config: Mapping[str, Any]) -> Any:
    """The configuration of the network that sees images, of the content of a `config.json`.

    Raises UsageError for a kind that transformers does not have, or has with code of others only.
    """
    kind = config.get("model_type")
    if "quantization_config" in config:
        raise UsageError(f"these weights of {quoted(kind)} are quantized; give those in full")
    with quiet() as package:
        known = package.CONFIG_MAPPING
        if kind not in known:
            code = " (its own code, in auto_map, is never run)" if "auto_map" in config else ""
            raise UsageError(
                f"transformers {package.__version__} has no network of model_type {quoted(kind)}"
                f"{code}; give another, or a newer transformers"
            )
        rest = {key: value for key, value in config.items() if key not in LEFT_OUT}
        try:
            made = known[kind].from_dict(rest)
        except Exception as error:  # validation of many kinds
            reason = " ".join(str(error).split())
            raise UsageError(f"config.json of a {kind} is damaged: {reason}") from error
        seeing = getattr(made, "vision_config", made)
        _check_sees(package, seeing)
    return seeing


def _check_sees(package: Any, config: Any) -> None:
    """Raises UsageError for a network of text or sound, and for one that wants more than pixels."""
    try:
        network = package.MODEL_MAPPING[type(config)]
    except KeyError:
        raise UsageError(f"transformers has no network for {type(config).__name__}") from None
    takes = inspect.signature(network.forward).parameters
    required = [
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name not in ("self", "pixel_values")
    ]
    if "pixel_values" not in takes:
        raise UsageError(f"{network.__name__} sees no images; give the weights of one that does")
    if required:
        raise UsageError(
            f"{network.__name__} takes {some(required)} beside the pixels, which rayal does not"
            " make; give weights for images of one size"
        )


LEFT_OUT = ("auto_map", "attn_implementation", "_attn_implementation", "dtype", "torch_dtype")
"""What of a `config.json` is not followed: code of others, kernels from elsewhere, half numbers."""
