"""A run read: complete, stopped, or going on."""

import os
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from torch import nn

from rayal.api.frame import frame
from rayal.api.given import path as checked
from rayal.errors import UsageError, counted, quoted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.status import cycle_table
from rayal.runs import purchases
from rayal.runs.events import Listener
from rayal.runs.ledger import ORDER, S, stage_folder
from rayal.runs.purchases import Answer, Choice
from rayal.runs.record import Record
from rayal.runs.results import TUNED, Chosen, FineTuned, Scored, Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation

if TYPE_CHECKING:  # they take long to import
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from rayal.api.forecast import Forecast
    from rayal.api.replay import Named, Replay


def open_run(path: str | os.PathLike[str], *, plugins: Iterable[str] = NO_PLUGINS) -> "Run":
    """The run in a folder or at a URL: complete, stopped, or going on in another process.

    `plugins` are packages of yours whose parts it names, also where they were instances.

    >>> rayal.open_run("runs/mine").curve()[["cycle", "labels"]]
       cycle  labels
    0      0      50
    1      1     100

    Raises UsageError where there is no run, and StorageError where it is damaged.
    """
    record = Record(Folder(checked(path, "open_run")), Plugins(plugins))
    record.check()
    return Run(record)


class Run:
    """A run as its folder tells it, read anew each time: it may still be going on.

    >>> run = rayal.open_run("runs/mine")
    >>> run.complete, run.experiment.strategy.part_name()
    (True, 'entropy')
    >>> ids = run.chosen(0)
    >>> len(ids), bool(run.scores(0).loc[ids, "entropy"].is_monotonic_decreasing)
    (50, True)
    >>> run.model()(torch.zeros(1, 1, 8, 8)).logits.shape
    torch.Size([1, 10])
    >>> run.plot().savefig("curve.png")

    Methods raise StorageError where a file cannot be read or is damaged.
    """

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def url(self) -> str:
        """The folder; an absolute path where it is local."""
        return self.record.folder.url

    @property
    def complete(self) -> bool:
        """Whether its budget is spent, nothing is left to buy or a rule has ended it, and every
        stage is there."""
        return self.record.complete

    @property
    def stopped(self) -> str | None:
        """Which rule of `stop` ended it before its budget was spent, and why; None where none
        did."""
        return self.record.stopped

    @property
    def experiment(self) -> Experiment:
        """What was asked for, every default included."""
        return config.resolved(self.record.experiment(), self.record.plugins)

    def curve(self) -> "DataFrame":
        """A row for each evaluated cycle: cycle, labels, cost, the metrics of the test split, and
        the seconds that its stages took; none of a stage that the run does without.

        Without a test split the metrics are `new_accuracy`: that of the labels bought last, by the
        model before them, which the strategy chose and which therefore do not measure the pool; and
        `fit_accuracy`: that of all labels that the model was trained on. So of `miou`.
        """
        first = ["cycle", "labels", "cost"]
        rows = self.record.cycles()
        done = {column for row in rows for column, value in row.items() if value is not None}
        always = {f"{stage}_seconds" for stage in ORDER}
        rest = [c for c in (rows[0] if rows else {}) if c not in first and c in done | always]
        return frame(rows, [*first, *rest])

    @property
    def fine_tuned(self) -> FineTuned | None:
        """What a whole network reached, trained once on all labels bought, where the experiment has
        `fine_tune`: its metrics of the test images by name, labels, cost, the model and the
        fingerprint of the images. None before that; of a run that went on, the last one."""
        found = self.record.fine_tuned()
        return found[max(found)] if found else None

    def chosen(self, cycle: int) -> list[str]:
        """The units that a cycle chose, the best first; `choices` has more of each.

        Raises UsageError where it has not chosen yet.
        """
        return list(self._result(cycle, Chosen).ids)

    def choices(self) -> "DataFrame":
        """A row for each unit that was chosen: cycle, rank (from 1), id, and the strategy's score
        where it gives any (NaN elsewhere).

        With `explore` also `explored`, whether it was drawn at random, and `propensity`, with which
        probability (NaN for what the strategy chose)."""
        found = frame(purchases.choices(self.record), Choice._fields)
        return found if found["explored"].any() else found[["cycle", "rank", "id", "score"]]

    def explored(self) -> "DataFrame":
        """What the random share of purchases (`explore`) says of each model: cycle (of the model),
        labels (that it was trained on), value (the task's metric on what was drawn, before it was
        trained on), low and high (its 95 % interval; NaN where the metric is no share of units),
        units (how many were drawn and labeled) and drawn_from (all candidates, which the value is
        an estimate for)."""
        from rayal.report.explored import Estimate, estimates  # imports scipy, which takes a second

        return frame(estimates(self.record), list(Estimate._fields))

    def labels(self) -> "DataFrame":
        """A row for each answer in the order of purchase: id, cycle (-1 before the first training),
        label (the class, or the mask as the oracle gave it; none where it refused) and cost. A unit
        that was asked for again has several, of which the last one counts."""
        return frame(purchases.answers(self.record), Answer._fields)

    def votes(self) -> "DataFrame":
        """A row for each answer of each annotator: cycle (of the request, -1 before the first
        training), id, label (the class, or the mask; none where it was skipped), annotator (empty
        where nobody was named), seconds (NaN where nobody measured), at (when it was given), and
        source (the sha256 of the file that it came in; `labeled` of labels that were there before).

        Of people in the order of telling, also of a request that is still open; answers that a
        later request has taken over are there with both. Of other oracles those that labels were
        bought with; of one that keeps none each answer is one."""
        columns = ["cycle", "id", "label", "annotator", "seconds", "at", "source"]
        return frame(((cycle, *vote) for cycle, vote in purchases.votes(self.record)), columns)

    def model(self, cycle: int | None = None, *, fine_tuned: bool = False) -> nn.Module:
        """The network at the end of a cycle's training, the last one's by default; `fine_tuned`:
        the whole one that was trained after it. On the CPU, in evaluation mode.

        It takes images (N C H W), normalised as in training, and returns `Outputs`. Of pixels
        `rayal.score` has to be told how (`mean`, `std`), for a module does not say it; given the
        run itself, it knows.

        Raises UsageError where that cycle has not been trained yet, PrunedError where its weights
        were pruned.
        """
        kind: type[Trained] | type[FineTuned] = FineTuned if fine_tuned else Trained
        if cycle is None:
            done = [c for c in self._cycles() if self.record.result(c, kind) is not None]
            cycle = done[-1] if done else 0
        if fine_tuned:
            weights = self._result(cycle, FineTuned).trained.weights
        else:
            weights = self._result(cycle, Trained).weights
        folder = stage_folder(self.record.folder, cycle, kind.stage)
        data, source = FileLocation(folder.url, weights).read(), f"{folder.url}/{weights.name}"
        card = ModelCard.parse(data, source, self.record.plugins)
        return TrainedModel.parse(data, source, card).network().eval()

    def scores(self, cycle: int) -> "DataFrame":
        """The scores of a cycle's pass, indexed by id: a column for each strategy that gives any.
        Higher means: label sooner. Images that could not be decoded are left out.

        Raises UsageError where the pass is not finished, PrunedError where it was pruned.
        """
        from pandas import concat

        from rayal.cycle.shard_file import shards

        scored = self._result(cycle, Scored)
        columns = {f"score.{name}": name for name in scored.columns}
        folder = stage_folder(self.record.folder, cycle, Scored.stage)
        tables = shards(folder, scored, ["id", *columns])
        frames = [table.drop_columns("status").to_pandas() for table in tables]
        scores = concat(frames or [frame((), ["id", *columns])])
        return scores.rename(columns=columns).set_index("id").sort_index()

    def plot(self) -> "Figure":
        """The learning curve: the task's metric against labels."""
        from rayal.report.curves import figure
        from rayal.report.tables import summarise

        return figure(summarise([self.record]))

    def forecast(
        self,
        *,
        target: float | None = None,
        labels: int | None = None,
        price: float | None = None,
    ) -> "Forecast":
        """What more labels will bring, as `rayal.forecast` tells it.

        >>> rayal.open_run("runs/mine").forecast().outlooks[0].why
        '2 points are too few to say anything; 4 are needed'
        """
        from rayal.api.forecast import forecast  # imports scipy and all that reports do

        plugins = self.record.plugins
        return forecast(self.url, target=target, labels=labels, price=price, plugins=plugins)

    def replay(
        self,
        strategy: "Named | Sequence[Named]",
        cycle: int | None = None,
        *,
        forward: bool = False,
        out: str | os.PathLike[str] | None = None,
        address: str | None = None,
        on_event: Listener | None = None,
    ) -> "Replay":
        """What other strategies would have bought in a cycle, the last one that chose by default,
        as `rayal.replay` tells it.

        >>> rayal.open_run("runs/mine").replay("random", 0)
        <Replay of cycle 0: entropy beside random>
        """
        from rayal.api.replay import replay  # imports scipy and all that reports do

        return replay(
            self,
            strategy=strategy,
            cycle=cycle,
            forward=forward,
            out=out,
            address=address,
            on_event=on_event,
            plugins=self.record.plugins,
        )

    def to_rich(self) -> Any:
        """The cycles for a terminal: labels, the task's metric, seconds of the stages."""
        return cycle_table(self.record)

    def pictures(self, cycle: int, images: int = 12) -> "Figure":
        """The first images that a cycle has chosen, with what its model predicts, the strategy's
        score, why each was chosen, and the answer; of masks with where the model is uncertain.

        Raises UsageError where the cycle has chosen nothing, PrunedError for masks where its
        weights were pruned; images with one class are drawn without predictions then.
        """
        from rayal.report.pictures import of_cycle

        return of_cycle(self.record, cycle, images)

    def __repr__(self) -> str:
        return f"<Run {self._told()}; {self.url}>"

    def _repr_html_(self) -> str:
        shown = self.curve()
        columns = ["cycle", "labels", *({self.record.headline} & {*shown.columns})]
        table = shown[columns].to_html(index=False, border=0)
        return f"<div><b>{escape(self._told())}</b><br><code>{escape(self.url)}</code>{table}</div>"

    def _told(self) -> str:
        """`digits: entropy, seed 0, complete, 100 labels, accuracy 0.8112`"""
        x = self.record.experiment()
        words = [f"{x['name']}: {x['strategy']['name']}, seed {x['seed']}"]
        words.append("complete" if self.complete else "not complete")
        if rows := self.record.cycles():
            metric = self.record.headline
            value = rows[-1].get(metric)
            words.append(counted(rows[-1]["labels"], "label"))
            if not self.record.tested:
                words.append("no test set")
            if value is not None:
                words.append(f"{metric} {value:.4f}")
            if (last := rows[-1].get(f"{TUNED}{metric}")) is not None:
                words.append(f"fine-tuned {last:.4f}")
        return ", ".join(words)

    def _cycles(self) -> range:
        return range(self.record.begun())

    def _result(self, cycle: int, kind: type[S]) -> S:
        """The result of a stage, which has to be there."""
        found = self.record.result(cycle, kind) if cycle in self._cycles() else None
        if found is None:
            there = [c for c in self._cycles() if self.record.result(c, kind) is not None]
            has = f"cycles 0 to {there[-1]} have" if there else "no cycle has yet"
            raise UsageError(
                f"{self.url}: cycle {quoted(cycle)} has no result of {kind.stage}; {has}"
            )
        return found
