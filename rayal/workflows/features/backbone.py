"""The network that looks at the images: weights from anybody's file, with the normalisation that
they were trained with."""

import logging

from rayal.data.card import Card, ImageSpec
from rayal.data.images import Decoding
from rayal.data.tasks.classification import Classification
from rayal.errors import UsageError, quoted
from rayal.models.base import Model, Recipe
from rayal.models.build import SOME, build
from rayal.models.card import ModelCard, usual_names
from rayal.models.published import part_of
from rayal.models.trained_model import TrainedModel
from rayal.models.weights_folder import described
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.workflows.features.settings import FeaturePass
from rayal.workflows.score.cards import says_itself, says_nothing
from rayal.workflows.score.settings import IMAGENET
from rayal.workflows.score.weights_file import read_weights, weights_file

logger = logging.getLogger(__name__)


def named(x: FeaturePass) -> FeaturePass:
    """With the weights as those of its model, where they lie in a folder of timm or transformers:
    that describes the architecture too.

    Raises UsageError for a folder that no package here knows, StorageError where nothing is.
    """
    if x.checkpoint is None:
        return x
    config = described(x.checkpoint)
    if config is None:
        weights_file(x.checkpoint)  # before a dataset is prepared for nothing
        return x
    model = x.model or part_of(config, x.checkpoint)
    return x.model_copy(
        update={"checkpoint": None, "model": model.model_copy(update={"pretrained": x.checkpoint})}
    )


def read_backbone(
    x: FeaturePass, data: Card, recipe: Recipe | None = None, plugins: Plugins = NO_PLUGINS
) -> TrainedModel:
    """The network for the images of this dataset.

    Raises StorageError for a file that cannot be read, UsageError for one that is no weights, that
    does not say what it is, or for images that the architecture does not accept.
    """
    if x.checkpoint is not None:
        folder, name = weights_file(x.checkpoint)
        content, source = read_weights(folder, name), f"{folder.url}/{name}"
        card = ModelCard.parse(content, source, plugins)
        if card is not None:
            if x.model not in (None, card.model):
                raise says_itself(source, card)
            return _trained(x, data, TrainedModel.parse(content, source, card))
        if x.model is None:
            raise says_nothing(source)
    model = with_weights(x)
    assert model is not None
    usual = IMAGENET if recipe is None else (recipe.mean, recipe.std)
    if recipe is None and x.mean is None and described(model.pretrained or "") is not None:
        raise UsageError(
            f"{model.pretrained} does not say how its images are normalised: there is no"
            " preprocessor_config.json; copy it from where the weights are from, or give mean and"
            " std (--set mean=[0.5,0.5,0.5] --set std=[0.5,0.5,0.5])"
        )
    seen = _in_color(model, data.image)
    image = _image(x, seen, usual if seen.channels == 3 else None)
    network = build(model, SOME, image, seed=0, headless=True)
    return TrainedModel.of(_card(x, model.bare(), image), network)


def with_weights(x: FeaturePass) -> Model | None:
    """The model that is asked for, with the checkpoint as its weights; None where it is not known
    before the file is read."""
    if x.model is None or x.checkpoint is None:
        return x.model
    return x.model.model_copy(update={"pretrained": x.checkpoint})


def _in_color(model: Model, image: ImageSpec) -> ImageSpec:
    """Gray images as a network for three channels is shown them: each is normalised by its own mean
    and standard deviation."""
    thrice = {"channels": 3, "mean": image.mean * 3, "std": image.std * 3}
    color = image.model_copy(update=thrice)
    gray = image.channels == 1 and model.repeats_gray and model.accepts(color) is None
    return color if gray else image


def _trained(x: FeaturePass, data: Card, found: TrainedModel) -> TrainedModel:
    """A model of a run, for images of this dataset."""
    card = found.card
    if card.task.dense:
        raise UsageError(
            f"{found.source} predicts {card.task.part_name()}, of which there is no vector for an"
            " image; give a network that classifies"
        )
    if card.image.channels != data.image.channels:
        raise UsageError(
            f"{found.source} was trained on {card.image.channels} channels, {data.name} has"
            f" {data.image.channels}; set dataset.channels, or give another network"
        )
    if card.image.sides != data.image.sides:
        logger.warning(
            "%s was trained on images %s, these are %s",
            *(found.source, card.image.sides, data.image.sides),
        )
    image = _image(x, data.image, (card.image.mean, card.image.std))
    if reason := card.model.takes(image):
        raise UsageError(f"model {quoted(card.model.part_name())}: {reason}")
    update = {"image": image, "precision": x.precision or card.precision}
    return found.described(card.model_copy(update=update))


def _image(
    x: FeaturePass,
    image: ImageSpec,
    usual: tuple[tuple[float, ...], tuple[float, ...]] | None,
) -> ImageSpec:
    """What the network sees of the dataset's images."""
    mean, std = usual or (image.mean, image.std)
    if x.mean is not None and x.std is not None:
        mean, std = x.mean, x.std
    if not len(mean) == len(std) == image.channels:
        raise UsageError(
            f"mean {mean} and std {std} need one value for each of {image.channels} channels"
        )
    return image.model_copy(update={"mean": mean, "std": std})


def _card(x: FeaturePass, model: Model, image: ImageSpec) -> ModelCard:
    return ModelCard(
        model=model,
        classes=usual_names(SOME),
        image=image,
        task=Classification(),
        decoding=Decoding(channels=1 if image.channels == 1 else 3),
        precision=x.precision or "fp32",
    )
