"""What is to be expected of labels that are not bought yet."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayal.api.frame import frame
from rayal.api.places import Place, urls
from rayal.errors import Apart, RayalError, UsageError, counted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report import forecast_text
from rayal.report.forecasts import Asked, Outlook, outlooks
from rayal.report.shown import as_html
from rayal.runs.find_records import find_records
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ["name", "arm", "metric", "labels", "times_measured", "value", "low", "high", "cost"]


@dataclass(frozen=True)
class Forecast:
    """What runs say of labels that are not bought yet, arm by arm; of the seeds of an arm their
    mean.

    >>> found = rayal.forecast("runs/long", target=0.9, price=0.08)
    >>> print(found)  # doctest: +ELLIPSIS
    digits: entropy, 1 seed, 6 cycles, 50 to 100 labels: accuracy ...
    """

    outlooks: tuple[Outlook, ...]
    """One for each arm."""
    errors: tuple[RayalError, ...] = ()
    """What could not be read, and is left out."""

    def table(self) -> "DataFrame":
        """A row per arm and number of labels that was looked at: times_measured, how many times
        those measured that is; value, low and high of the metric, none where nothing is said of so
        many; cost of those that are not bought yet."""
        told = [each.to_dict() for each in self.outlooks]
        rows = [{**each, **row} for each in told for row in each.get("expected", ())]
        return frame([{key: row[key] for key in COLUMNS} for row in rows], COLUMNS)

    def to_dict(self) -> Json:
        """All numbers, and why there are none where there are none."""
        return {"arms": [each.to_dict() for each in self.outlooks]}

    def to_rich(self) -> Any:
        """For a terminal of 80 columns."""
        from rich.text import Text

        return Text(str(self))

    def plot(self) -> "Figure":
        """The curves with their intervals, as far as anything is said of them; a panel per arm."""
        from rayal.report.forecast_figure import figure  # takes long to import

        return figure([*self.outlooks])

    def draw(self, folder: str | PathLike[str] = "report") -> list[Path]:
        """Writes `forecast.png` and `.svg` into a folder of this machine. Raises StorageError."""
        from rayal.report.drawing import encoded

        out, drawn = Path(folder), self.plot()
        with storage_errors(str(out)):
            out.mkdir(parents=True, exist_ok=True)
            paths = [out / f"forecast.{kind}" for kind in ("png", "svg")]
            for path in paths:
                path.write_bytes(encoded(drawn, path.suffix[1:]))
        return paths

    def check(self) -> None:
        """Raises what could not be read, if anything, as one error."""
        Apart(self.errors).end()

    def __repr__(self) -> str:
        known = sum(each.curve is not None for each in self.outlooks)
        return f"<Forecast of {counted(len(self.outlooks), 'arm')}, {known} of them known>"

    def __str__(self) -> str:
        blocks = ["\n".join(forecast_text.lines(each)) for each in self.outlooks]
        if any(each.curve is not None for each in self.outlooks):
            blocks.append(forecast_text.note())
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        return as_html(str(self))


def forecast(
    places: Place | Iterable[Place],
    *,
    target: float | None = None,
    labels: int | None = None,
    price: float | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Forecast:
    """What the runs at or below these places will reach with more labels, how many a `target` takes
    and what the next purchase is worth; each with the interval that holds in nine cases of ten.

    `target` is a value of the task's metric, in [0, 1]; `labels` a number of labels to look at;
    `price` that of one label, of one click where the budget counts these, or of an hour of
    annotation where it counts seconds. A place is a folder, of a run or above some, or what
    `rayal.run` returns.

    It goes by the models of the cycles so far: by test images, or, in runs without such, by labels
    that strategy `random` bought after a model was trained. Of fewer than four cycles, of what a
    strategy chose itself, and beyond four times the labels that were measured nothing is said, and
    why.

    >>> found = rayal.forecast("runs/long", labels=400)
    >>> found.table()[["labels", "times_measured"]]
       labels  times_measured
    0   400.0             4.0

    Raises UsageError for what is no target, number or price, and where no run is there.
    """
    if target is not None and not 0 < target <= 1:
        raise UsageError(f"target: {target:g} is not in (0, 1]; write 95 % as 0.95")
    if labels is not None and not labels >= 1:
        raise UsageError(f"labels: {labels:g} is no number of labels; use 1 or more")
    if price is not None and not price >= 0:
        raise UsageError(f"price: {price:g} is no price; use 0 or more")
    apart = Apart()
    records = find_records(urls(places), Plugins(plugins), apart)
    if not records:
        apart.end()
    found = outlooks(records, Asked(target, labels, price))
    return Forecast(tuple(found), tuple(apart.errors))
