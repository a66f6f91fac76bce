"""Cases in which `rayal score` is compared: a pool, a model, and the same pass by others.

The others read the same files in the same batches and decode as rayal does. N images of C channels,
H rows, W columns.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray.data
import torch
from numpy.typing import NDArray
from pool_passes import MODEL, new_folder, score, scoring, write_model, write_photos, write_raw
from ray.data import ActorPoolStrategy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding, Pixels
from rayal.data.pool import pixels
from rayal.engine import cluster
from rayal.engine.local import LocalEngine
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.signals.batch import entropy
from rayal.signals.networks import forward
from rayal.training.augment import normalise
from rayal.workflows.score.settings import IMAGENET, PoolScoring

CLASSES = tuple(f"class-{number}" for number in range(10))
DECODERS = 2
"""Workers of the DataLoader."""
SPEC = ImageSpec(channels=3, height=32, width=32, mean=IMAGENET[0], std=IMAGENET[1])


@dataclass(frozen=True)
class Case:
    """A pool in two sizes, and a model for it."""

    what: str
    folder: Path
    card: ModelCard
    sizes: tuple[int, int]
    batch: int
    loaded: Callable[["Case", Path], Iterable[Tensor]]
    """The batches of a folder (N C H W, uint8), as a plain loop reads them."""
    dataset: Callable[["Case", Path], ray.data.Dataset]
    """The same as Ray Data reads it, column `image`."""

    def pool(self, size: int) -> Path:
        return self.folder / f"pool-{size}"

    def settings(self, size: int, engine: str, scorers: int | None = None) -> PoolScoring:
        compute = {"engine": engine, "scorers": scorers, "shard_rows": self.batch}
        return scoring(self.folder, size, self.batch, compute)

    @contextmanager
    def rayal(
        self, engine: str, cores: int, scorers: int | None = None
    ) -> Iterator[Callable[[int], str]]:
        """Passes over the pool of a size, by processes that live from one to the next."""
        settings = partial(self.settings, engine=engine, scorers=scorers)
        compute = settings(self.sizes[0]).compute.for_engine()
        local = engine == "local"
        with closing(LocalEngine(compute) if local else cluster.RayEngine(compute, cores)) as place:
            yield lambda size: score(settings(size), new_folder(self.folder), place)

    def loop(self, size: int) -> NDArray[np.float32]:
        """What one would write by hand."""
        scorer = BareScorer(self.card, self.weights())
        batches = self.loaded(self, self.pool(size))
        return np.concatenate([scorer({"image": batch})["score"] for batch in batches])

    def bare(self, size: int, cores: int) -> NDArray[np.float32]:
        """What one would write with Ray Data."""
        scored = self.dataset(self, self.pool(size)).map_batches(
            BareScorer,
            fn_constructor_args=(self.card, self.weights()),
            batch_size=self.batch,
            compute=ActorPoolStrategy(size=cores),
            num_cpus=1,
        )
        return np.concatenate([batch["score"] for batch in scored.iter_batches(batch_size=None)])

    def weights(self) -> bytes:
        return (self.folder / MODEL).read_bytes()


class BareScorer:
    """The model and nothing else."""

    def __init__(self, card: ModelCard, weights: bytes) -> None:
        self.card = card
        self.model = TrainedModel.parse(weights, MODEL, card).network().eval()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        images = normalise(torch.as_tensor(batch["image"]), self.card.image)
        return {"score": entropy(forward(self.model, images).logits.log_softmax(1)).numpy()}


@contextmanager
def raw(options: argparse.Namespace, width: int, batch: int) -> Iterator[Case]:
    """32 x 32 pixels in Parquet files, and a ResNet-18."""
    card = ModelCard(
        model=Resnet18(width=width), classes=CLASSES, image=SPEC, decoding=Decoding(size=32)
    )
    what = f"ResNet-18 of width {width}, 32 x 32 raw pixels"
    with _case(options, what, card, batch, _in_memory, _from_parquet) as case:
        for size in case.sizes:
            write_raw(case.pool(size), size, SPEC, batch, batch)
        yield case


@contextmanager
def photos(options: argparse.Namespace, width: int, batch: int) -> Iterator[Case]:
    """A folder of JPEGs, and a tiny network."""
    spec = SPEC.model_copy(update={"height": 64, "width": 64})
    card = ModelCard(
        model=SmallCnn(width=width), classes=CLASSES, image=spec, decoding=Decoding(size=64)
    )
    origin = f"JPEGs of {options.photos}" if options.photos else "drawn JPEGs of 500 x 375"
    what = f"{origin} to 64 x 64, network of width {width}"
    with _case(options, what, card, batch, _by_workers, _decoded) as case:
        for size in case.sizes:
            write_photos(case.pool(size), size, options.photos)
        yield case


@contextmanager
def _case(
    options: argparse.Namespace,
    what: str,
    card: ModelCard,
    batch: int,
    *readers: Callable[..., Any],
) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as scratch:
        write_model(card, Path(scratch))
        sizes = options.units, 4 * options.units
        yield Case(what, Path(scratch), card, sizes, batch, *readers)


def _in_memory(case: Case, pool: Path) -> Iterable[Tensor]:
    images = pq.read_table(pool)["image"].combine_chunks().to_numpy_ndarray()
    batches: Iterable[Tensor] = torch.tensor(images).split(case.batch)
    return batches


def _from_parquet(case: Case, pool: Path) -> ray.data.Dataset:
    files = len(list(pool.iterdir()))
    return ray.data.read_parquet(str(pool), override_num_blocks=files)


def _by_workers(case: Case, pool: Path) -> Iterable[Tensor]:
    return DataLoader(Files(case.card, _paths(pool)), case.batch, num_workers=DECODERS)


def _decoded(case: Case, pool: Path) -> ray.data.Dataset:
    paths = [{"path": path} for path in _paths(pool)]
    blocks = ray.data.from_items(paths, override_num_blocks=-(-len(paths) // case.batch))

    def decode(batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        files = Files(case.card, batch["path"].tolist())
        return {"image": np.stack([files.pixels(place) for place in range(len(files))])}

    return blocks.map_batches(decode, batch_size=case.batch)


def _paths(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.iterdir())]


class Files(Dataset[Tensor]):
    """Images decoded one by one, as rayal decodes them."""

    def __init__(self, card: ModelCard, paths: Sequence[str]) -> None:
        self.card, self.paths = card, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        return torch.from_numpy(self.pixels(place))

    def pixels(self, place: int) -> Pixels:
        return pixels(self.paths[place], self.card.decoding, self.card.image.shape).pixels
