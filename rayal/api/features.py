"""What a network says of every image of a dataset, computed once."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from rayal.api.run import COMPLETE
from rayal.data.card import Card
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.events import Event, Listener, observer
from rayal.workflows.features import start_features
from rayal.workflows.features.settings import FeaturePass as FeaturePass
from rayal.workflows.run import start_engine


@dataclass(frozen=True)
class Made:
    """Vectors of features, in a folder."""

    url: str
    card: Card
    """Of the vectors, as of any prepared dataset."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        card = self.card
        bad = f", {len(card.bad):,} of them bad" if card.bad else ""
        return [
            f"vectors  {card.pool:,} of the pool, {card.test:,} of the test split{bad}",
            f"numbers  {card.image.channels} of each, float16",
            f"dataset  {{name: features, root: {self.url}}}",
        ]


def features(
    x: FeaturePass,
    out: str | os.PathLike[str],
    *,
    address: str | None = None,
    on_event: Listener | None = None,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Made:
    """Keeps what a network says of every image of a dataset, one float16 vector for each, in the
    folder `out`; the same call again goes on where it was stopped.

    `dataset={"name": "features", "root": out}` of an experiment opens it, and a model for vectors,
    such as `linear_head`, trains on it in seconds. `address` is that of a Ray cluster (one is
    started where there is none).

    >>> x = rayal.FeaturePass(dataset="digits", checkpoint="runs/mine",
    ...     compute={"engine": "local"})
    >>> made = rayal.features(x, "features/digits")
    >>> made.card.pool, made.card.image.sides
    (1437, ())

    Raises UsageError for weights and images that do not fit, LockedError where the folder is of
    another pass or in use, DataError where too many images cannot be decoded.
    """
    listening = observer(on_event)
    named = Plugins(plugins)
    with start_features(x, os.fspath(out), break_lock=break_lock, plugins=named) as work:
        note = COMPLETE if work.complete else ""
        listening.on(Event("opened", "features", url=work.folder.url, note=note))
        card = work.run(partial(start_engine, x.compute.for_engine(), address), listening)
    return Made(work.folder.url, card)
