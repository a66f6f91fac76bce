"""What time on a device and labels are paid with."""

from collections.abc import Iterator
from typing import NamedTuple

from rayal.labeling.budget import HOUR, CostUnit, charged
from rayal.report.amounts import duration


class Tariff(NamedTuple):
    """Prices in one currency; None where nothing was said."""

    device_hour: float | None = None
    """Of one GPU for an hour, or of a machine without."""
    label: float | None = None
    """Of one label, of one click where the budget counts these, or of an hour of annotation where
    it counts seconds."""

    def price(
        self, device_hours: float | None, labels: float, unit: CostUnit = "samples"
    ) -> float | None:
        """Of both together; None where nothing is priced, or hours that nobody timed."""
        if self == FREE or (self.device_hour is not None and device_hours is None):
            return None
        paid = (self.label or 0.0) * charged(labels, unit)
        return (self.device_hour or 0.0) * (device_hours or 0.0) + paid

    def lines(self, device_hours: float | None, labels: float, unit: CostUnit) -> Iterator[str]:
        """The hours, and what they and the labels cost where something is priced."""
        if device_hours is not None:
            yield f"device  {duration(3600 * device_hours)} of one, however many share the work"
        if self == FREE:
            return
        counted = "labels" if unit == "samples" else unit
        parts = []
        if self.device_hour is not None:
            hours = "hours that were not timed" if device_hours is None else f"{device_hours:.3g} h"
            parts.append(f"{hours} at {self.device_hour:g}")
        if self.label is not None:
            amount = f"{labels:,.10g} {counted}"
            if unit == "seconds":
                amount = f"{labels / HOUR:,.3g} h of annotation"
            parts.append(f"{amount} at {self.label:g}")
        total = self.price(device_hours, labels, unit)
        yield f"price   {'unknown' if total is None else f'{total:,.2f}'}: {', '.join(parts)}"


FREE = Tariff()
