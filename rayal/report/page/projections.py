"""Where units lie on a map: many numbers of each in two. N units of D features."""

import warnings
from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Chosen = NDArray[np.bool_]
By = Literal["pca", "umap"]
METHODS: tuple[By, ...] = get_args(By)
LEAST = 3
"""Units that a plane can be laid through."""
NEIGHBOURS = 15
"""Of UMAP, its authors' own number."""


class Projected(NamedTuple):
    """The places, and what figures call them."""

    name: str
    axes: tuple[str, str]
    places: Values  # N 2
    note: str = ""
    """Why it is not what was asked for."""


def projected(features: Values, by: By, of: Chosen | None = None) -> Projected:
    """N D features in two dimensions; by PCA, and a note, where UMAP is not installed or cannot.

    `of`: N, whose variance PCA looks at, all by default.
    """
    if by == "pca":
        return _by_pca(features, of)
    if find_spec("umap") is None:
        return _by_pca(features, of, "UMAP needs a package: pip install umap-learn; this is PCA.")
    if len(features) <= NEIGHBOURS:
        return _by_pca(features, of, f"UMAP needs more than {NEIGHBOURS} units; this is PCA.")
    places = umap(features)
    if not np.isfinite(places).all():
        return _by_pca(features, of, "UMAP found no place for some of these units; this is PCA.")
    return Projected("UMAP", ("UMAP, first axis", "UMAP, second axis"), places)


def _by_pca(features: Values, of: Chosen | None, note: str = "") -> Projected:
    basis = np.ones(len(features), bool) if of is None or of.sum() < LEAST else of
    places = pca(features, basis)
    whole = features[basis].var(axis=0).sum()
    first, second = places[basis].var(axis=0) / whole if whole else (0.0, 0.0)
    axes = (
        f"First principal component, {first:.0%} of the variance".replace("%", " %"),
        f"Second, {second:.0%}".replace("%", " %"),
    )
    return Projected("PCA", axes, places, note)


def pca(features: Values, of: Chosen | None = None) -> Values:
    """Along the two directions of most variance, N 2; each so that its largest weight is above 0.
    `of`: N, whose mean and variance count, all by default."""
    basis = features if of is None else features[of]
    centred, around = features - basis.mean(axis=0), basis - basis.mean(axis=0)
    _, vectors = np.linalg.eigh(around.T @ around)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    found = np.zeros((len(features), 2))
    found[:, : axes.shape[1]] = centred @ axes
    return found


def umap(features: Values) -> Values:
    """By umap-learn, N 2, in one thread with seed 0, so that the same features lie at the same
    places again. The first map of a process waits for the package's compiler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package, about itself: nothing that a user can mend
        from umap import UMAP

        made = UMAP(n_neighbors=NEIGHBOURS, random_state=0, n_jobs=1)
        return np.asarray(made.fit_transform(features), np.float64)
