"""Features that a pass does not write, since they are what the network was given: where they lie.

A linear layer on frozen vectors has these vectors for features, in every cycle. A shard's file then
says where the prepared dataset has them, and whoever reads its features gets them from there,
normalised and rounded as the pass would have written them: the same bytes.

N units, D numbers.
"""

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from rayal.data.card import ImageSpec
from rayal.data.pool import Images, Shard
from rayal.data.store import Split, Store
from rayal.errors import DataError, LostError
from rayal.experiment.experiment import Experiment
from rayal.training.augment import normalise

FEATURES = "keep.features"
"""Their column, wherever they lie."""


def refers(x: Experiment) -> bool:
    """Whether the passes of an experiment keep features that its dataset has already."""
    kept = any("features" in each.kept_names() for each in x.scored().values())
    return x.model.passes_on and (kept or x.keeps_features())


class Referred(NamedTuple):
    """The rows of a prepared dataset that are the features of a shard."""

    url: str
    """Of the dataset's store."""
    data: str
    """Its fingerprint."""
    shard: Shard
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of each number: what the network saw them normalised by."""

    @classmethod
    def of(cls, images: Images, shard: Shard, image: ImageSpec) -> "Referred":
        """`image`: as the network sees them."""
        assert isinstance(images, Split)
        return cls(images.url, images.card.fingerprint, shard, image.mean, image.std)

    def encode(self) -> bytes:
        """As the file of the shard has it."""
        return json.dumps(self).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Referred":
        url, fingerprint, shard, mean, std = json.loads(data)
        return cls(url, fingerprint, Shard(*shard), tuple(mean), tuple(std))

    def read(self, rows: pa.Table, name: str) -> pa.Array:
        """The features of these rows of the shard's file `name`, columns id and status: N lists of
        D, NaN for a unit that could not be read.

        Raises LostError where the dataset is not there, or is another by now.
        """
        try:
            split = Store(self.url).pool
            if split.card.fingerprint != self.data:
                raise DataError("other data lies there by now")
            image = split.card.normalised(self.mean, self.std).image
            decoded = split.decode(split.read(self.shard))
            places = pc.index_in(rows["id"], value_set=pa.array(decoded.ids, pa.string()))
            if pc.any(pc.and_(pc.equal(rows["status"], "ok"), places.is_null())).as_py():
                raise DataError("units are missing there")
        except DataError as error:
            raise LostError(
                f"{name}: the features of its units lie in the dataset {self.url}, as these never"
                f" change: {error}; put back the dataset that the pass was made of"
            ) from error
        vectors = normalise(torch.from_numpy(decoded.images), image).half().numpy()
        return _lists(vectors, places)


def _lists(vectors: NDArray[np.float16], places: pa.ChunkedArray) -> pa.Array:
    """Those at these places, in their order; NaN for null."""
    at = pc.fill_null(places, len(vectors)).to_numpy()
    if len(at) != len(vectors) or (at != np.arange(len(vectors))).any():
        nothing = np.full((1, vectors.shape[1]), np.nan, vectors.dtype)
        vectors = np.concatenate([vectors, nothing])[at]
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
