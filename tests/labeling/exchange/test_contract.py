"""Every format keeps the promises of formats, with files as its tool would export them."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from rayal import testing
from rayal.labeling.exchange.base import Answer, Asked, Format
from rayal.labeling.exchange.coco import Coco
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.exchange.cvat import Cvat
from rayal.labeling.exchange.folder import Folder as Folders
from rayal.storage.folder import Folder
from rayal.testing.format import example, labels_of
from tests.support.exports import CocoFile, CvatTask, Label, Moved, Said, Table, Tool


class OfTool(testing.FormatContract):
    """Answers are those of a tool."""

    tool: type[Tool]

    def answered(self, asked: Asked, request: Folder, labels: Mapping[str, Label]) -> bytes:
        said = [Said(unit, label) for unit, label in labels.items()]
        return self.tool(self.part, asked.masks).export(asked, said, Random(0))

    def test_an_answer_says_which_request_it_is_of(self) -> None:
        """An old file would be taken for second opinions of the units that are asked for again."""
        for masks in {kind == "masks" for kind in self.part.labels}:
            old, new = example(masks, "fedcba9876543210"), example(masks)
            data = self.answered(old, Folder("request"), labels_of(old))
            found = [*self.part.read(data, replace(new, earlier=(old,)))]

            assert len(found) > 3 and all(isinstance(each, Answer) for each in found), found
            assert {old.name} == {each.request for each in found if isinstance(each, Answer)}


class TestCsv(OfTool):
    part, tool = Csv(), Table


class TestCvat(OfTool):
    part, tool = Cvat(), CvatTask


class TestCoco(OfTool):
    part, tool = Coco(), CocoFile


class TestFolders(OfTool):
    part, tool = Folders(), Moved


@pytest.mark.parametrize(
    "part", [Csv(), Cvat(), Coco(), Folders()], ids=lambda part: part.part_name()
)
def test_what_can_be_tried_without_the_tool(part: Format) -> None:
    """`rayal.testing.check` would not know formats."""
    testing.check(part)


del OfTool  # no suite of its own
