"""People answer in a CSV file; the run waits until all that it asks for is in there."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rayal import DataError, Folder, Label, LabelsPending, Oracle, Store
from rayal.location import Location


class AnswersFile(Oracle):
    """Labels from a CSV file with the columns id and class; `?` for what nobody can tell."""

    file: Location
    """Rows are added from cycle to cycle; the file need not exist yet."""

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        answers = self._answers(store.card.classes)
        missing = [unit for unit in ids if unit not in answers]
        if missing:
            out.write("asked.csv", "".join(f"{unit}\n" for unit in ["id", *missing]).encode())
            raise LabelsPending(
                f"waiting for {len(missing)} of {len(ids)} labels: add the ids in"
                f" {out.url}/asked.csv with their class to {self.file}, then run this again"
            )
        return {unit: answers[unit] for unit in ids}

    def _answers(self, classes: Sequence[str]) -> dict[str, Label]:
        if not Path(self.file).exists():
            return {}
        with open(self.file, newline="", encoding="utf-8") as file:
            rows = {row["id"]: row["class"] for row in csv.DictReader(file)}
        for unit, name in rows.items():
            if name not in (*classes, "?"):
                raise DataError(f"{self.file}: {unit} has class {name!r}; use one of {classes}")
        values = {name: number for number, name in enumerate(classes)}
        return {unit: Label(values.get(name), 1.0) for unit, name in rows.items()}
