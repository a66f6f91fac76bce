"""What a model of a pool scoring is: by its file, by the settings, and by what is published."""

import logging
from collections.abc import Mapping

from pydantic import BaseModel
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.errors import StorageError, UsageError, counted, some
from rayal.models import weights
from rayal.models.base import SEEN
from rayal.models.build import count_classes
from rayal.models.card import ModelCard, usual_names
from rayal.models.trained_model import TrainedModel
from rayal.parts import find
from rayal.plugins import Plugins
from rayal.storage.folder import Folder, Json
from rayal.workflows.score.settings import IMAGENET, PoolScoring
from rayal.workflows.score.weights_file import read_weights

logger = logging.getLogger(__name__)


def image_spec(image: ImageSpec, decoding: Decoding, settings: PoolScoring) -> ImageSpec:
    """What the network sees where the settings differ from the training."""
    update: Json = {"channels": decoding.channels}
    if decoding.frame is not None:
        update |= dict(zip(("height", "width"), decoding.frame, strict=True))
    if settings.mean is not None:
        update |= {"mean": settings.mean, "std": settings.std}
    spec = image.model_copy(update=update)
    if not len(spec.mean) == len(spec.std) == spec.channels:
        raise UsageError(
            f"mean {spec.mean} and std {spec.std} need one value for each of {spec.channels}"
            " channels"
        )
    return spec


def opened(settings: PoolScoring, folder: Folder, name: str, plugins: Plugins) -> TrainedModel:
    """The model of a file, with the card that it has or that the settings give."""
    data, source = read_weights(folder, name), f"{folder.url}/{name}"
    card = ModelCard.parse(data, source, plugins)
    if card is not None:
        if settings.model not in (None, card.model):
            raise says_itself(source, card)
        return with_numbers(TrainedModel.parse(data, source, card))
    if settings.model is None:
        raise says_nothing(source)
    state = weights.parse(data, source)
    card = _described(settings, state, source, _recipe(folder))
    return TrainedModel.adopted(card, state, source)


def says_itself(source: str, card: ModelCard) -> UsageError:
    """For weights with a card, beside another architecture."""
    return UsageError(f"{source} says itself that it is {card.model!r}; leave --model out")


def says_nothing(source: str) -> UsageError:
    """For weights without a card, beside no architecture."""
    return UsageError(
        f"{source} does not say what it is; give its architecture with --model, for example"
        " --model '{name: torchvision, arch: resnet50}'"
    )


def with_numbers(model: TrainedModel) -> TrainedModel:
    """The model; raises what is wrong with the numbers of its weights."""
    weights.check_numbers(model.state, model.source)
    return model


def adapted(settings: PoolScoring, card: ModelCard) -> ModelCard:
    """The card with what the settings say otherwise."""
    if not card.image.sides:
        raise UsageError(
            f"the model takes {SEEN[0]}, and what is scored here are pictures; score vectors in a"
            " run on dataset features, whose strategies and observers may be any"
        )
    decoding = settings.decoded(card.decoding)
    if decoding.channels != card.image.channels:
        raise UsageError(
            f"decoding.channels is {decoding.channels}, but the model was trained on"
            f" {card.image.channels}; leave it out"
        )
    if settings.classes is not None and len(settings.classes) != len(card.classes):
        raise UsageError(
            f"{counted(len(settings.classes), 'class', 'classes')} given, the model has"
            f" {len(card.classes)}; give as"
            f" many: {some(card.classes)}"
        )
    return card.model_copy(
        update={
            "decoding": decoding,
            "image": image_spec(card.image, decoding, settings),
            "classes": settings.classes or card.classes,
            "precision": settings.precision or card.precision,
        }
    )


class _Recipe(BaseModel):
    """What timm says of weights in the `config.json` beside them."""

    interpolation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _recipe(folder: Folder) -> _Recipe:
    """That of a folder; an empty one where there is none that can be read."""
    try:
        return _Recipe.model_validate(folder.read_json("config.json", {})["pretrained_cfg"])
    except (StorageError, KeyError, TypeError, ValueError):  # any other program's file
        return _Recipe()


def _described(
    settings: PoolScoring, state: Mapping[str, Tensor], source: str, recipe: _Recipe
) -> ModelCard:
    """The card of weights that have none; what nobody says is as published for the architecture."""
    assert settings.model is not None
    usual = settings.model.decoding()
    if recipe.interpolation in ("bilinear", "bicubic"):
        usual = usual.model_copy(update={"interpolation": recipe.interpolation})
    decoding = settings.decoded(usual)
    if decoding.interpolation == "bicubic" == usual.interpolation:
        logger.warning(
            "%s: images are resized as the published weights want it, bicubic; where yours were"
            " trained otherwise, --set decoding.interpolation=bilinear",
            source,
        )
    if decoding.frame is None:
        raise UsageError(
            "the size of the images that the model was trained on is not known; give it with"
            " --set decoding.size=224 (and decoding.resize=256, where their centre was cut out)"
        )
    mean, std = (recipe.mean, recipe.std) if recipe.mean and recipe.std else IMAGENET
    channels, (height, width) = decoding.channels, decoding.frame
    blank = ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)
    image = image_spec(blank, decoding, settings)
    classes = count_classes(state, settings.model, image, source)
    return ModelCard(
        model=settings.model,
        classes=settings.classes or usual_names(classes),
        image=image,
        task=find("tasks", next(iter(settings.model.tasks)))(),
        decoding=decoding,
        precision=settings.precision or "fp32",
    )
