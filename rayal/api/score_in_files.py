"""A resumable scoring of images in storage, here or on Ray."""

import os
from functools import partial
from tempfile import mkdtemp

from rayal.api.run import COMPLETE
from rayal.api.scores import Scores, gone_after_errors
from rayal.errors import UsageError
from rayal.plugins import Plugins
from rayal.runs.events import Event, Observer
from rayal.storage.folder import Folder
from rayal.workflows import score as pool_scoring
from rayal.workflows.run import start_engine
from rayal.workflows.score.live import live_models
from rayal.workflows.score.opened import Modules
from rayal.workflows.score.settings import PoolScoring


def score_in_files(
    x: PoolScoring,
    modules: Modules | None,
    out: str | os.PathLike[str] | None,
    address: str | None,
    observer: Observer,
    retry_bad: bool,
    break_lock: bool,
    plugins: Plugins,
) -> Scores:
    """The scores, in the folder `out`, new or continued, or in a temporary one; without `modules`
    by the weights of `x`."""
    if out is None and x.compute.engine == "ray":
        raise UsageError("engine='ray' needs a folder that its workers reach; give it as out")
    models = None if modules is None else live_models(x, modules)
    temporary = Folder(mkdtemp(prefix="rayal-scores-")) if out is None else None
    folder = temporary or Folder(out or "")
    with (
        gone_after_errors(temporary),
        pool_scoring.start_scoring(
            x,
            folder.url,
            retry_bad=retry_bad,
            break_lock=break_lock,
            plugins=plugins,
            models=models,
        ) as opened,
    ):
        note = COMPLETE if opened.complete else ""
        observer.on(Event("opened", "score", url=opened.scores.url, note=note))
        result = opened.run(partial(start_engine, x.compute.for_engine(), address), observer)
        lines = tuple(pool_scoring.lines(result, opened))
    return Scores(folder.url, x.columns(), lines, temporary)
