"""The files that finished stages of a run have made, for the jobs of later ones."""

from collections.abc import Callable, Mapping

from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import Ledger
from rayal.runs.result import File
from rayal.runs.results import Fitted, Trained, member_place
from rayal.storage.stage_file import FileLocation


class Made:
    """Where they lie, and what they must be."""

    def __init__(self, x: Experiment, ledger: Ledger) -> None:
        self.x, self.ledger = x, ledger

    def weights(self, cycle: int, member: int = 0) -> FileLocation:
        """The weights that a cycle's training of this member ended with."""
        return self._trained(cycle, member, lambda trained: {"": trained.weights})[""]

    def companions(self, cycle: int, member: int = 0) -> dict[str, FileLocation]:
        """What lived beside that member, by name."""
        return self._trained(cycle, member, lambda trained: trained.companions)

    def beside(self, cycle: int) -> dict[str, FileLocation]:
        """The companions that are there when candidates are scored."""
        there = self.companions(cycle)
        if self.x.fits():
            fits = self.ledger.result(cycle, Fitted).fits
            out = self.ledger.stage(cycle, Fitted.stage)
            there |= {
                name: FileLocation((out / name).url, fit.companion) for name, fit in fits.items()
            }
        return there

    def _trained(
        self, cycle: int, member: int, files: Callable[[Trained], Mapping[str, File]]
    ) -> dict[str, FileLocation]:
        """Files that a cycle's training of one member wrote."""
        trained = self.ledger.result(cycle, Trained).member(member)
        out, inner = self.ledger.stage(cycle, "train").url, member_place(member)
        return {
            name: FileLocation(out, file._replace(name=f"{inner}{file.name}"))
            for name, file in files(trained).items()
        }
