"""Asks people: what goes to a labeling tool is written, and what comes back is waited for.

The stage ends with LabelsPending until enough of the request is answered, see `rayal labels`. Then
the votes of each unit become one label by the stated rule; all of them stay in `votes.parquet`.
"""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import LabelsPending, UsageError
from rayal.labeling.agreement import Agreement
from rayal.labeling.areas import Areas, Regions
from rayal.labeling.budget import Budget, CostUnit
from rayal.labeling.clicks import Region
from rayal.labeling.exchange.base import Format
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.outgoing import HOW, REQUEST, title, write_request
from rayal.labeling.pictures import Handing
from rayal.labeling.request import Request
from rayal.labeling.suggestions import read_suggestions
from rayal.labeling.tiles import tiles_of
from rayal.labeling.votes import NO_VOTES, VOTES, Vote, dump_votes
from rayal.models.base import SEEN
from rayal.parts import Contradiction, Part
from rayal.storage.folder import FileRecord, Folder


class People(Agreement, Oracle):
    """Waits for people who label in a tool of theirs."""

    asks_people: ClassVar[bool] = True

    format: Annotated[Format, Part("formats")] = Field(
        default="csv", validate_default=True, examples=["label_studio"]
    )
    """The labeling tool that requests are written for and answers come from."""
    wait: Literal["all"] | Annotated[float, Field(gt=0, le=1)] = "all"
    """How much of a request must be answered before the run goes on: all of it, or a share. What is
    missing then may be chosen again."""
    images: Handing = "copied"
    """How people get the images: `copied` beside the request, or `linked` by their addresses where
    the dataset has addresses alone."""

    tiles: tuple[PositiveInt, PositiveInt] | None = Field(default=None, examples=[[4, 8]])
    """Rows and columns of tiles that each image is divided into, for strategies that choose
    regions: each tile is then a unit of its own, at the price of an image. null: images alone."""
    seconds_per_unit: PositiveFloat | None = None
    """Where cost is seconds: how long a unit is thought to take all its annotators together, until
    the run has measured it; null where cost is units."""

    def contradictions(self, budget: Budget) -> Iterator[Contradiction]:
        yield from super().contradictions(budget)
        for field, problem in self.problems():
            yield Contradiction(("oracle", field), problem)
        if self.images == "linked" and not self.format.linked:
            yield Contradiction(
                ("oracle", "images"),
                f"linked, but {self.format.part_name()} knows images by the names of their files;"
                " set it to copied",
            )
        if self.cost == "units":
            return
        if self.seconds_per_unit is None:
            yield Contradiction(
                ("oracle", "seconds_per_unit"),
                "is required where cost is seconds; say how long one unit takes",
            )
        if not self.format.times:
            yield Contradiction(
                ("oracle", "cost"),
                f"seconds, but files of {self.format.part_name()} say none; set it to units, or use"
                " label_studio or csv",
            )

    def check(self, card: Card) -> None:
        if len(card.image.sides) != 2:
            way = "set oracle to simulated" if card.labeled else "ask with rayal.ActiveLearner"
            raise UsageError(
                f"oracle people shows pictures, and those of {card.name} are"
                f" {SEEN[len(card.image.sides)]}; {way}"
            )
        kind = "classes" if card.masks is None else "masks"
        if kind not in self.format.labels:
            raise UsageError(
                f"oracle.format: {self.format.part_name()} cannot carry {kind}, which are the"
                f" labels of {card.name}; use label_studio"
            )
        self.format.check(card.classes)
        if self.tiles is not None and card.masks is None:
            raise UsageError(
                f"oracle.tiles: the labels of {card.name} are classes of whole images; set it to"
                " null"
            )

    def has_regions(self) -> bool:
        return self.tiles is not None

    def regions(self, store: Store, ids: Sequence[str]) -> dict[str, list[Region]]:
        """Image -> its tiles, row by row; number i is the unit `<image>/<i>`."""
        if self.tiles is None:
            raise UsageError("oracle people knows no regions of images; set oracle.tiles")
        return tiles_of(store, ids, self.tiles)

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        return self.answer_again(store, ids, NO_VOTES, out)

    def answer_again(
        self,
        store: Store,
        ids: Sequence[str],
        earlier: Mapping[str, Sequence[Vote]],
        out: Folder,
    ) -> dict[str, Label]:
        if not ids:
            return {}
        request = Request(out)
        if request.asked is None:
            request.take_over(ids)
        needed = self._needed(len(request.asked or ids))
        request.ask(ids, self.rule, needed, earlier)
        asked = request.asked or ()
        if not request.enough:
            self._hand_out(store, request)
            place = f"{request.folder.url}/{REQUEST}"
            run = out.url.rsplit("/", 2)[0]
            raise LabelsPending(
                f"{request}\n"
                f"  request  {place}: {HOW} there says how to answer it\n"
                f"  answers  rayal labels add {shlex.quote(run)} FILE\n"
                f"  state    rayal labels status {shlex.quote(run)}\n"
                "  go on    this command again"
            )
        told, areas = request.told, Areas(store, self._regions)
        return {
            unit: told[unit]._replace(value=areas.cut(unit, told[unit].value))
            for unit in (*asked, *request.late)
            if unit in told
        }

    def costs(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """What it will be about: a second is only known when it was worked."""
        expected = self.seconds_per_unit if self.cost == "seconds" else None
        return np.full(len(ids), 1.0 if expected is None else expected)

    def counts(self) -> CostUnit:
        return "seconds" if self.cost == "seconds" else "samples"

    def estimates(self) -> bool:
        return self.cost == "seconds"

    def _hand_out(self, store: Store, request: Request) -> None:
        write_request(
            self.format,
            request.folder,
            store,
            request.asked or (),
            read_suggestions(request.folder),
            name=request.name,
            title=title(request),
            handing=self.images,
            regions=self._regions,
        )

    @property
    def _regions(self) -> Regions | None:
        return self.regions if self.has_regions() else None

    @property
    def rule(self) -> Agreement:
        """How votes become labels, as a request keeps it."""
        return Agreement(**{name: getattr(self, name) for name in Agreement.model_fields})

    def _needed(self, asked: int) -> int:
        """How many answers end the waiting."""
        return asked if self.wait == "all" else max(1, math.ceil(asked * self.wait - 1e-9))

    def evidence(self, out: Folder) -> dict[str, FileRecord]:
        votes = [vote for votes in Request(out).votes.values() for vote in votes]
        return {VOTES: out.write(VOTES, dump_votes(votes))} if votes else {}
