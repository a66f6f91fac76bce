"""Ask and tell: active learning for whoever has a labeling loop of their own."""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rayal.api.elsewhere import allowed
from rayal.api.given import check_experiment
from rayal.api.opened_run import Run
from rayal.api.units import Labels, by_unit, images_of, shown
from rayal.cycle import asking
from rayal.cycle.candidates import of_test
from rayal.cycle.engine import Engine
from rayal.cycle.first_labels import first_labels
from rayal.cycle.steps import Steps
from rayal.cycle.telling import Telling
from rayal.data.images import Stored
from rayal.errors import LabelsPending, UsageError, quoted
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Amounts
from rayal.labeling.oracles.told import Told
from rayal.labeling.votes import IMPORTED, Vote
from rayal.plugins import NO_PLUGINS
from rayal.report.views import Views
from rayal.runs.events import Event, Listener, Observers, observer
from rayal.runs.ledger import INITIAL
from rayal.runs.results import Evaluated
from rayal.runs.trackers.base import Background
from rayal.storage.folder import Folder
from rayal.workflows import attempts
from rayal.workflows.run import default_folder, start_engine, start_run

if TYPE_CHECKING:
    from pandas import DataFrame

_open: dict[str, "ActiveLearner"] = {}  # by folder: one in a notebook is seldom closed


class ActiveLearner:
    """Asks for labels and learns from those that are told: `ask`, `tell`, and again.

    >>> x = rayal.load("configs/digits/base.yaml", strategy="margin", tracking="none",
    ...     set=["compute.engine=local", "scheme.epochs=2"])
    >>> truth = x.dataset.open().labels("pool")  # in place of somebody who looks at the images
    >>> with rayal.ActiveLearner(x, "runs/asked") as learner:
    ...     while len(learner.labels) < 60:
    ...         ids = learner.ask(20)
    ...         learner.tell({unit: truth[unit] for unit in ids})
    ...     metrics = learner.learn()
    >>> learner.curve()["labels"].tolist()
    [20, 40, 60]

    `x` says data, model, training, strategy and seed. Its oracle is not asked, so that the pool
    needs no labels, and of its budget the amounts do not count. `out`, `address`, `on_event`,
    `break_lock` and `plugins` are those of `rayal.run`; `out` is by default
    `runs/<name>/<strategy>-<scheme>-seed<seed>-asked`. All is kept there as in a run, each request
    as a cycle, so that `rayal status` and `rayal report` read it. After a crash the same script
    goes on, where it asks until it has enough labels, as above: with the same units, and with the
    labels told so far.

    The engine starts when it is first needed and stays until `close`, or the end of a `with` block
    or of Python. Another learner of the same experiment and folder closes one that is open in this
    process.
    """

    def __init__(
        self,
        x: Experiment,
        out: str | os.PathLike[str] | None = None,
        *,
        address: str | None = None,
        on_event: Listener | None = None,
        break_lock: bool = False,
        plugins: Iterable[str] = NO_PLUGINS,
    ) -> None:
        """Raises UsageError for what cannot work, and LockedError where the folder is another
        experiment's or in use."""
        watching = observer(on_event)
        self.experiment = _asked(x)
        self._address = address
        folder = Folder(f"{default_folder(x)}-asked" if out is None else out)
        start = start_run(
            self.experiment,
            folder.url,
            break_lock=break_lock,
            plugins=allowed(x, plugins),
            asked=True,
            accepted=partial(_close, folder.url),
        )
        with ExitStack() as stack:
            self._session = stack.enter_context(start)
            self.run = Run(self._session.record)
            """What is in the folder, as of any run."""
            self._ledger, self._store = self._session.ledger, self._session.store
            self._background = Background(self.experiment.tracking, self._session.record)
            stack.push(self._background)
            observers = [watching, Views(self._session.record, every=0), self._background]
            self._observers = Observers(observers)
            self._engine: Engine | None = None
            self._look()
            self._take_first()
            watching.on(Event("opened", "run", url=folder.url))
            self._stack = stack.pop_all()
        self._open, _open[folder.url] = True, self
        atexit.register(self.close)

    def ask(self, n: int) -> list[str]:
        """The units to be labeled next, the most wanted first; at most `n`, none when nothing is
        left.

        While some of the units last asked for are not told, it is those again, whatever `n`. Else
        the first call draws units at random, by the seed alone, and so do those after it while too
        few units have a label to train on; later ones train on all labels, evaluate, score the pool
        and select by the strategy. After Ctrl-C the next call goes on where this one was: what it
        had selected already is asked for, whatever `n`.
        """
        self._check_open()
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise UsageError(f"ask({quoted(n)}): ask for a whole number of units, at least 1")
        if self.waiting:
            return self.waiting
        with self._looking():
            if not self._ledger.finished(0, INITIAL):
                asking.begin(self.experiment, self._store, self._request, int(n))
            if not self.waiting and self._can_train():
                asking.ask(self._ready(), int(n))
        return self.waiting

    def tell(self, labels: Labels) -> None:
        """Labels of units, as a dictionary or a Series of pandas: a class by name or index, or None
        for what cannot be labeled.

        For segmentation, masks: class indices, H W as `images` gives the image, 255 where there is
        no class. They are on the disk when it returns, some of those asked for or all of them.
        Units told before the first `ask` are the first labeled set, in place of a random one, with
        those of the experiment's `labeled`.

        Raises UsageError with all that is wrong, and then takes none of them.
        """
        self._check_open()
        if votes := self._telling.votes(by_unit(labels)):
            try:
                self._request.tell(votes)
            except BaseException:  # they may be on the disk
                self._look()
                raise

    @property
    def url(self) -> str:
        """The folder; an absolute path where it is local."""
        return self.run.url

    @property
    def waiting(self) -> list[str]:
        """The units asked for and not told yet, the most wanted first."""
        return self._request.waiting

    @property
    def labels(self) -> dict[str, str | NDArray[np.uint8]]:
        """All labels told so far: class names, or masks H W; without units that have none."""
        known = self._telling.known.items()
        return {unit: shown(value, self._store.card) for unit, value in known if value is not None}

    @property
    def refused(self) -> list[str]:
        """The units of which was told that they cannot be labeled."""
        return [unit for unit, value in self._telling.known.items() if value is None]

    def images(self, units: Iterable[str]) -> list[Stored]:
        """These units as networks see them, each H W C or, of volumes, D H W C, in the order given.

        Raises DataError for a unit that is not in the pool or cannot be decoded.
        """
        return images_of(self._store, units)

    def learn(self) -> dict[str, float]:
        """Trains on all labels told, unless that is done, without asking for more; the metrics of
        the test split.

        Raises LabelsPending while some of the units asked for are not told, or too few of them
        have a label.
        """
        self._check_open()
        with self._looking():
            if not self._telling.begun:
                if not self._request.told:
                    raise LabelsPending("no label was told yet")
                asking.begin(self.experiment, self._store, self._request, 1)
            if self.waiting:
                raise LabelsPending(self._word())
            if not self._can_train():
                few = self._request.labeled
                raise LabelsPending(f"labels told: {few}, too few to train on; ask for more")
            pool = asking.learn(self._ready())
        metrics = self._ledger.result(pool.cycle, Evaluated).metrics
        return {name: value for name, value in metrics.items() if isinstance(value, int | float)}

    def model(self) -> nn.Module:
        """The network that was last trained, see `Run.model`; of all labels, where none is missing
        of those asked for: it is trained first if it must."""
        if self._request.told and not self.waiting and self._open:
            self.learn()
        return self.run.model()

    def curve(self) -> "DataFrame":
        """As `Run.curve`."""
        return self.run.curve()

    def close(self) -> None:
        """Lets go of the engine and the folder; the same call as before opens it again."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        self._open = False
        del _open[self._ledger.folder.url]
        atexit.unregister(self.close)
        try:
            if error is None and not self._session.record.complete:
                error = LabelsPending(self._word())  # for `rayal status`
        except BaseException as damage:
            error = damage
            raise
        finally:
            self._stack.__exit__(None if error is None else type(error), error, trace)
        if self._background.reaches:
            from rayal.workflows.tracking import show_beside  # loads all that reports do

            show_beside(self.experiment.tracking, self._session.record)

    def __repr__(self) -> str:
        state = self._word() if self._open else "closed"
        return f"<ActiveLearner {state}, {len(self.labels)} told; {self.run.url}>"

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Work that changes the ledger, which is looked at however it ends."""
        try:
            yield
        finally:
            self._look()

    def _can_train(self) -> bool:
        """Whether enough of the first units have a label; they do once those were bought."""
        bought = self._ledger.finished(0, INITIAL)
        return bought or asking.is_enough(self.experiment, self._request.labeled)

    def _take_first(self) -> None:
        """Labels that exist already are told before anybody asks."""
        if self.experiment.labeled and not self._telling.begun and not self._request.told:
            known = first_labels(self.experiment, self._store)
            votes = [Vote(unit, each.value, source=IMPORTED) for unit, each in known.items()]
            self._request.tell(votes)

    def _look(self) -> None:
        """What the ledger holds, after something was done."""
        pool = self._ledger.state()
        before = {**pool.labels, **dict.fromkeys(pool.refused)}
        self._request = asking.request(self._ledger)
        tested = of_test(self.experiment, self._store)
        self._telling = Telling(self._store, self._request, before, tested)

    def _ready(self) -> Steps:
        """The stages, on an engine that is started where it is not; each time from the first."""
        if self._engine is None:
            start = start_engine(self.experiment.compute, self._address)
            engine = self._stack.enter_context(start)
            attempts.begin(self.experiment, self._ledger, engine, self._session.record.plugins)
            self._engine = engine
        return Steps(self.experiment, self._store, self._ledger, self._engine, self._observers)

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                f"this learner of {self.run.url} is closed; make another with the same out"
            )

    def _word(self) -> str:
        if self.waiting:
            return str(self._request)
        if not self._telling.known:
            return "waiting for the first request"
        return "waiting for the next request, all labels are told"


def _close(url: str) -> None:
    """Makes room in a folder for another learner of this process."""
    if url in _open:
        _open[url].close()


def _asked(x: Experiment) -> Experiment:
    """The experiment with labels from whoever is asked, in any number."""
    check_experiment(x, "ActiveLearner")
    budget = x.budget.model_copy(update=dict.fromkeys(Amounts._fields))
    fields = {name: getattr(x, name) for name in Experiment.model_fields}
    return Experiment(**{**fields, "budget": budget, "oracle": Told()})
