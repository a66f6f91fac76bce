"""Passes over drawn scenes with three small networks: what dense strategies are tried on.

N images, C classes, H W pixels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.data.pool import Decoded, Images
from rayal.data.tasks.base import TaskName
from rayal.data.tasks.segmentation import Segmentation
from rayal.labeling.clicks import ClickModel, Region, approximate
from rayal.labeling.regions import parse_unit
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.network import DenseNetwork
from rayal.models.weights import save_weights
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.testing.bench import beside
from rayal.testing.fits import fitted
from rayal.testing.scenes import CLASSES, SHAPE, Drawn

UNITS, BATCH = 12, 4
POOL = Drawn(UNITS)
IMAGE = ImageSpec(channels=3, height=SHAPE[0], width=SHAPE[1], mean=(0.4,) * 3, std=(0.25,) * 3)
MODEL = SmallSegmenter(width=4, dropout=0.3)
Columns = dict[str, NDArray[Any]]
"""Of a pass: one row per image."""


class Pixelwise(Model):
    """A network that sees one pixel at a time, so that nothing beside an image can reach it."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        block = nn.Sequential(nn.Conv2d(image.channels, 8, 1), nn.ReLU())
        return DenseNetwork(
            blocks=[block], layer_channels=[8], classifier=nn.Conv2d(8, num_classes, 1)
        )


@lru_cache
def trained(model: Model) -> tuple[nn.Module, ...]:
    """Three networks with running statistics as a training leaves them, and predictions that
    differ, in eval mode."""
    networks = tuple(build(model, CLASSES, IMAGE, seed) for seed in range(3))
    images = torch.randn(8, *IMAGE.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for network in networks:
            network.train()(images)
            network.get_submodule("classifier").get_parameter("weight").mul_(4)
            network.eval()
    return networks


def pass_of(
    strategies: Mapping[str, Strategy],
    folder: Folder,
    *,
    images: Images = POOL,
    model: Model = MODEL,
    cycle: int = 1,
) -> ScoreJob:
    """A pass over scenes with three networks, the first of which is asked; whoever wants the last
    cycle's gets the second. `folder` holds weights and scores, and must live as long."""
    networks = trained(model)
    specs = {spec.name: spec for each in strategies.values() for spec in each.companions()}
    fits = {spec.name: spec for each in strategies.values() for spec in each.fits()}

    def written(name: str, module: nn.Module) -> FileLocation:
        return FileLocation(folder.url, folder.write(name, save_weights(module)))

    first, second, third = (written(f"{n}.safetensors", each) for n, each in enumerate(networks))
    trained_beside = beside(networks, list(specs.values()), CLASSES, IMAGE)
    made = fitted(list(fits.values()), networks[0], trained_beside, CLASSES, IMAGE)
    return ScoreJob(
        strategies=strategies,
        card=ModelCard(
            model=model,
            classes=tuple(f"class-{number}" for number in range(CLASSES)),
            image=IMAGE,
            decoding=Decoding(),
            task=Segmentation(),
        ),
        model=model,
        images=images,
        data="scenes",
        weights=first,
        out=(folder / "scores").url,
        cycle=cycle,
        batch=BATCH,
        previous=second,
        members=(second, third),
        companions={
            spec.name: written(f"{spec.name}.companion", c) for spec, c in (*trained_beside, *made)
        },
    )


def on_canvas(decoded: Decoded, height: int, width: int) -> Decoded:
    """The same images at the top left of a larger area, in noise."""
    rng, (rows, columns) = np.random.default_rng(0), SHAPE
    images = rng.integers(0, 256, (len(decoded.ids), 3, height, width), np.uint8)
    images[:, :, :rows, :columns] = decoded.images
    sizes = np.array([SHAPE] * len(decoded.ids), np.int32)
    return Decoded(decoded.ids, images, {}, sizes)


def on_larger_canvas(job: ScoreJob, height: int, width: int) -> Columns:
    """The columns of a pass whose images lie on a canvas of this size."""
    spec = IMAGE.model_copy(update={"height": height, "width": width})
    larger = replace(job, card=job.card.model_copy(update={"image": spec}))
    return Scorer(larger, "cpu").columns(on_canvas(POOL.decoded(range(UNITS)), height, width))


def regions(image: str) -> dict[int, Region]:
    """By number, those of a scene."""
    return dict(enumerate(approximate(POOL.masks[POOL.ids.index(image)], ClickModel(tolerance=3))))


def clicks(units: Iterable[str]) -> NDArray[np.float64]:
    """What each unit costs, images and regions of images."""
    images, costs = set(POOL.ids), list[int]()
    for unit in units:
        place = parse_unit(unit, images)
        assert place is not None, "what is on offer lies in the pool"
        found = regions(place.image)
        numbers = found if place.number is None else [place.number]
        costs.append(sum(found[number].clicks for number in numbers))
    return np.array(costs, np.float64)


def states(scorer: Scorer) -> dict[str, Tensor]:
    """All numbers that a pass predicts with; what is in train mode has another name."""
    networks = scorer.networks
    modules: dict[str, nn.Module] = {"model": networks.model}
    modules |= {f"reference {name}": each for name, each in networks.references.items()}
    modules |= {f"member {number}": each for number, each in enumerate(networks.members)}
    modules |= {f"companion {n}": each for n, each in networks.companions.named().items()}
    return {
        f"{key} of the {name}{' in train mode' if part.training else ''}": value
        for name, module in modules.items()
        for path, part in module.named_modules()
        for key, value in part.state_dict(prefix=f"{path}." if path else "").items()
        if isinstance(value, Tensor)
    }
