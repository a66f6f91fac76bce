"""Runs compared: learning curves over seeds, areas under them, paired tests, figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rayal.api.frame import frame
from rayal.api.places import Place, urls
from rayal.errors import Apart, RayalError, UsageError, counted, quoted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import annotators, curves, paper, per_class, rows, tables
from rayal.report.page.command import PAGE
from rayal.report.runs import Run
from rayal.report.shown import as_html, text
from rayal.report.tables import Summary
from rayal.runs.find_records import find_records
from rayal.runs.record import Record
from rayal.storage.failures import storage_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from rayal.report.page.projections import By


class Drawn(NamedTuple):
    """The files that were written."""

    curves: list[Path]
    classes: list[Path]
    """Results per class, where the runs have some."""
    tables: list[Path] = []
    """Verdicts, penalties and ranks as CSV, where there are some."""
    paper: list[Path] = []
    """Vector figures at the widths of a paper, where these were asked for."""


@dataclass(frozen=True)
class Comparison:
    """What runs say together: an arm is all runs that differ by seed only.

    Values are fractions where a metric is one. Means are over seeds; a half interval is half of
    the 95 % t-interval. AULC is the area under the learning curve divided by its range of labels,
    over the label counts that all complete runs share.

    >>> found = rayal.compare("runs/mine")
    >>> found.curves()[["labels", "n"]].drop_duplicates()
       labels  n
    0      50  1
    1     100  1
    >>> found.plot().savefig("curves.pdf")
    """

    summary: Summary
    records: tuple[Record, ...]
    """The runs, as their folders tell them."""
    errors: tuple[RayalError, ...] = ()
    """What could not be read, and is left out."""

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not mean what they seem to."""
        return self.summary.warnings

    def table(self) -> "DataFrame":
        """A row per arm: name, dataset, metric, arm (as figures call it), strategy, scheme,
        settings; n seeds, how many of them are complete, the last label count, mean, sd and
        half_interval of the metric there, aulc, aulc_sd and aulc_half_interval; of networks that
        were fine-tuned at the end fine_tuned, fine_tuned_sd and fine_tuned_half_interval."""
        return frame(rows.arms(self.summary.groups), rows.ARMS)

    def curves(self) -> "DataFrame":
        """A row per arm and label count: labels, n, mean, sd, half_interval; the mean is missing
        unless every seed has the point."""
        return frame(rows.points(self.summary.groups), rows.POINTS)

    def tests(self) -> "DataFrame":
        """A row per pair of arms: n common seeds, mean and half_interval of the difference in AULC
        (first less second), p of the two-sided paired t-test, p_holm with Holm's correction over
        all pairs, and a verdict in words."""
        return frame(rows.pairs(self.summary.groups), rows.PAIRS)

    def verdicts(self) -> "DataFrame":
        """A row per arm against its random baseline: `kind` (better, worse, not separated, tie,
        unknown) and the `verdict` in words; the difference in AULC with half_interval and p_holm,
        and smallest_difference, what these seeds could have shown with probability 0.8; height, the
        metric that labels are counted up to, reached_by so many `of` the seeds, the mean labels
        where all reach it, labels_of_mean_curve, and the share saved against the baseline."""
        return frame(rows.verdicts(self.summary.groups), rows.VERDICTS)

    def penalties(self) -> "DataFrame":
        """A row per two arms, winner first: the share of label counts at which a paired t-test at
        5 % says that it beats the loser (Ash et al., 2020); over all groups too, where several have
        arms in common, and `settings` says how many."""
        return frame(rows.penalties(self.summary.standings), rows.PENALTIES)

    def ranks(self) -> "DataFrame":
        """A row per arm and label count, and one without labels for AULC: the mean rank over so
        many blocks, which are seeds, or datasets over all groups."""
        return frame(rows.ranks(self.summary.standings), rows.RANKS)

    def references(self) -> "DataFrame":
        """A row per reference and arm of its dataset: the reference's labels, n, mean, sd and
        half_interval; reached_at, the first label count at which the arm's mean is as high."""
        return frame(rows.references(self.summary.groups), rows.REFERENCES)

    def annotators(self) -> "DataFrame":
        """A row per request of runs that people labeled: run, cycle (-1 before the first training),
        votes, annotators, seconds of all votes (none where one has no time), and alpha, how far
        they agree (Krippendorff; none where no unit has two votes)."""
        return frame([row._asdict() for row in self.summary.annotators], annotators.Agreed._fields)

    def plot(self) -> "Figure":
        """The learning curves with their bands, a panel per experiment and dataset."""
        return curves.figure(self.summary)

    def to_csv(self) -> str:
        """One row per arm and label count, unrounded; mean is empty where seeds are missing."""
        return self.summary.to_csv()

    def to_markdown(self) -> str:
        """Warnings first, then the tables."""
        return self.summary.to_markdown()

    def to_latex(self) -> str:
        """The tables for a paper, with the rules of the package booktabs."""
        return self.summary.to_latex()

    def to_json(self) -> str:
        """Everything, unrounded, the area of every run included."""
        return self.summary.to_json()

    def to_rich(self) -> Any:
        """Warnings and tables for a terminal."""
        return self.summary.to_rich()

    def to_html(self, *, map_by: "By" = "pca") -> str:
        """The page: all of this, and galleries, classes, costs, maps of the pool, as one HTML file
        that needs nothing else. It asks the models of each cycle what they say of what was chosen,
        and opens the datasets, for the pictures. `map_by`: what puts the pool into two dimensions;
        `umap` needs umap-learn, without which it is PCA, and the page says so."""
        from rayal.report.page.document import html  # takes long to import
        from rayal.report.page.projections import METHODS
        from rayal.report.page.seen import Seen

        if map_by not in METHODS:
            raise UsageError(f"map_by={quoted(map_by)}: give pca or umap")
        return html(Seen(self.summary, self.records, map_by))

    def write_html(self, file: str | PathLike[str] = PAGE, *, map_by: "By" = "pca") -> Path:
        """`to_html` into a file of this machine, by default `report.html`. Raises StorageError."""
        path = Path(file)
        text = self.to_html(map_by=map_by)
        with storage_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    def draw(self, folder: str | PathLike[str] = "report", *, for_paper: bool = False) -> Drawn:
        """Writes `curves.png` and `.svg` into a folder of this machine, `verdicts.csv` and what
        else is known of the arms, and `per_class_*.png` and `.csv` where runs have results per
        class. With `for_paper` also `curves`, `penalties`, `ranks` and `critical_difference` as PDF
        and SVG, 3.25 inches wide (`-column`) and 6.75 (`-page`). Raises StorageError."""
        out = Path(folder)
        classes = per_class.files(self.records)
        found = rows.files(self.summary)
        printed = dict(paper.files(self.summary.groups)) if for_paper else {}
        drawn = Drawn(
            [out / "curves.png", out / "curves.svg"],
            *([out / name for name in each] for each in (classes, found, printed)),
        )
        with storage_errors(str(out)):
            out.mkdir(parents=True, exist_ok=True)
            curves.draw(self.summary, *drawn.curves)
            for name, data in {**classes, **found, **printed}.items():
                (out / name).write_bytes(data)
        return drawn

    def draw_pictures(
        self, images: int = 4, on_picture: Callable[[str], object] | None = None
    ) -> None:
        """Writes into `analysis` of each run folder what the model said of the first `images` that
        each cycle chose; `on_picture` is told the URL of each file. Raises what failed, when all
        others are done."""
        from rayal.report import pictures  # takes long to import

        apart = Apart()
        for record in self.records:
            folder = record.folder / pictures.FOLDER
            with apart.kept():
                for name, data in pictures.files(record, images):
                    folder.write(name, data)
                    if on_picture is not None:
                        on_picture(f"{folder.url}/{name}")
        apart.end()

    def check(self) -> None:
        """Raises what could not be read, if anything, as one error."""
        Apart(self.errors).end()

    def __repr__(self) -> str:
        arms = sum(len(group.arms) for group in self.summary.groups)
        unread = f", {len(self.errors)} could not be read" if self.errors else ""
        return (
            f"<Comparison of {counted(len(self.records), 'run')}, {counted(arms, 'arm')}{unread}>"
        )

    def __str__(self) -> str:
        return "\n".join([text(self.to_rich()), *(f"error: {error}" for error in self.errors)])

    def _repr_html_(self) -> str:
        return as_html(str(self))


def compare(
    places: Place | Iterable[Place],
    *,
    reference: Place | Iterable[Place] | None = None,
    target: float | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Comparison:
    """The runs at or below these places side by side, also those that are still going.

    A place is a folder, of a run or above some, or what `rayal.run` and `rayal.sweep` return.
    `plugins` are packages of yours that parts of the runs come from. Of `reference` all runs are
    heights beside the others and no arms: finished ones of one cycle, such as a training on all
    labels, of the same dataset and metric. Labels are counted up to `target`, such as 0.95, or to
    the mean with which the random baseline ends.

    >>> found = rayal.compare("runs/mine")
    >>> found.table()[["strategy", "n", "complete", "labels"]]
      strategy  n  complete  labels
    0  entropy  1         1     100
    >>> found.warnings[0][:50]
    'digits: no random baseline with scheme supervised;'
    >>> found.draw("figures").curves[0].name
    'curves.png'

    One bad folder does not hide the others: what could not be read is left out and in `errors`,
    which `check()` raises. Raises it here, a UsageError or StorageError, where nothing else is
    there; and UsageError for two runs of one arm and seed, and for what cannot be a reference or a
    target.
    """
    apart = Apart()
    heights = [] if reference is None else find_records(urls(reference), Plugins(plugins))
    beside = {record.run_id for record in heights}
    found = find_records(urls(places), Plugins(plugins), apart)
    records = _readable([record for record in found if record.run_id not in beside], apart)
    if not records:
        apart.end()
        if found:
            raise UsageError("all runs are references; give runs to compare with them too")
    summary = tables.summarise(records, heights, target)
    return Comparison(summary, tuple(records), tuple(apart.errors))


def _readable(records: list[Record], apart: Apart) -> list[Record]:
    """Those of which everything that a report shows is there."""
    whole = []
    for record in records:
        with apart.kept():
            Run.read(record)
            per_class.grids(record)
            whole.append(record)
    return whole
