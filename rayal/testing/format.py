"""The contract of a format: what goes out, and what of it comes back.

H rows, W columns.
"""

from collections.abc import Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from rayal.data.masks import IGNORE, LabelValue, Mask, encode
from rayal.errors import UsageError
from rayal.labeling.exchange.base import IMAGES, Answer, Asked, Format, Item, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder
from rayal.testing.contract import PartContract

UNITS = (
    "plain",
    "train/cat 1.jpg",
    "größe-Ж-你好",
    "a,b;c",
    'says "no"',
    "=1+2",
    "00012",
    "3-2",
    "@x",
    "two\nlines",
)
"""Ids that files and people make something else of."""
CLASSES = "cat", "Straße", "犬", "no, never", "-1", "a b"
SIZE = 7, 9
PLACE = "runs/x/cycle-000/label-asked/request"
CUTS = 60
"""At how many places a file is cut off."""


def example(masks: bool, name: str = "0123456789abcdef", units: tuple[str, ...] = UNITS) -> Asked:
    """A request as formats get it."""
    items = [
        Item(unit, rank, f"{IMAGES}/{rank:04d}-{rank}-{name[:8]}.png", SIZE)
        for rank, unit in enumerate(units, start=1)
    ]
    return Asked(name, "x, cycle 0", CLASSES, masks, tuple(items))


def labels_of(asked: Asked) -> dict[str, str | Mask | None]:
    """An answer for every unit but the last: each class, several masks, a skip."""
    found = dict[str, str | Mask | None]()
    for number, item in enumerate(asked.items[:-1]):
        found[item.unit] = (
            _mask(number) if asked.masks else asked.classes[number % len(asked.classes)]
        )
    found[asked.items[3].unit] = None
    return found


class FormatContract(PartContract):
    """What every format promises.

    Only the tool can answer: override `answered` in a suite of your own, else what comes back is
    tried with bytes of no meaning alone.
    """

    part: Format
    kind: ClassVar[str] = "format"

    def answered(
        self, asked: Asked, request: Folder, labels: Mapping[str, str | Mask | None]
    ) -> bytes | None:
        """What the tool exports when people have said this of units, None for a skip; of what was
        written into the folder `request`. Written without the format's own help, or with none."""
        return None

    def test_writes_what_it_is_given(self) -> None:
        """Otherwise people would get nothing to import, another thing each time, or lose images."""
        for asked in self._asked():
            with TemporaryDirectory() as first, TemporaryDirectory() as second:
                written = [self._written(asked, Folder(place)) for place in (first, second)]
            if not written[0] and not self._folders(asked):
                self.broken("files for the tool", "there are none")
            if written[0] != written[1]:
                self.broken("the same files for the same request", "they differ")
            if strange := [name for name in written[0] if name.startswith(f"{IMAGES}/")]:
                self.broken("to leave the images as they are", f"it writes {strange[0]}")

    def test_says_how_in_steps(self) -> None:
        """Otherwise nobody would know what to do with the files."""
        for asked in self._asked():
            steps = self.part.steps(asked, PLACE)
            if isinstance(steps, str) or not steps or not all(isinstance(s, str) for s in steps):
                self.broken("steps, each a text", f"they are {steps!r:.80}")
            if not any(PLACE in step for step in steps):
                self.broken("to say where the request is", "no step names its folder")

    def test_takes_no_suggestion_for_an_answer(self) -> None:
        """Otherwise a model would be trained on what it said itself."""
        for asked in self._asked():
            with TemporaryDirectory() as place:
                files = self._written(asked, Folder(place))
            for name, data in files.items():
                answers, _ = self._read(data, asked)
                if answers:
                    self.broken("no answer before people gave one", f"{name} gives {answers[0]}")

    def test_refuses_what_is_no_file_of_its_tool(self) -> None:
        """Otherwise a mistaken file would end in a traceback, or bring labels."""
        rng = np.random.default_rng(0)
        strange = [b"", b"\0", b"{", b"[]", b"<a>", b"PK\x03\x04", "ü".encode("latin-1"), b"\n\n"]
        strange += [rng.integers(0, 256, size, dtype=np.uint8).tobytes() for size in (1, 40, 900)]
        for asked in self._asked():
            for data in strange:
                answers, _ = self._read(data, asked)
                if answers:
                    self.broken("no answer of bytes without meaning", f"{data!r:.40} gives some")

    def test_reads_what_people_said(self) -> None:
        """Otherwise answers would be lost, changed, or of other units."""
        for asked, labels, data in self._answered():
            answers, problems = self._read(data, asked)
            if problems:
                self.broken("to read what its tool exports", str(problems[0]))
            told = {answer.unit: answer.label for answer in answers}
            if len(told) < len(answers):
                self.broken("one answer for a unit that one person labeled", "there are more")
            for unit, label in labels.items():
                if unit not in told:
                    self.broken("every answer", f"that of {unit!r} is missing")
                if not _same(told[unit], label):
                    self.broken("answers as they are", f"{unit!r}: {told[unit]!r}, not {label!r}")
            if more := told.keys() - labels.keys():
                self.broken("that the rest waits", f"{more.pop()!r} has an answer")

    def test_refuses_another_request(self) -> None:
        """Otherwise labels of another cycle or run would be taken for these."""
        for asked, _, data in self._answered():
            units = tuple(unit + "?" for unit in UNITS)
            for other in (example(asked.masks, "f" * 16), example(asked.masks, "f" * 16, units)):
                answers, problems = self._read(data, other)
                if answers or not problems:
                    self.broken("to refuse the file of another request", "it takes it")

    def test_a_file_that_is_cut_off(self) -> None:
        """Otherwise half of a label would be taken for one, or a command end in a traceback."""
        for asked, labels, data in self._answered():
            step = max(1, len(data) // CUTS)
            for end in {*range(0, len(data), step), *range(max(0, len(data) - CUTS), len(data))}:
                answers, _ = self._read(data[:end], asked)
                for answer in answers:
                    if answer.unit not in labels or not _same(answer.label, labels[answer.unit]):
                        self.broken(
                            "no other answers of a file that is cut off",
                            f"after {end} bytes {answer.unit!r} is {answer.label!r}",
                        )

    def _asked(self) -> Iterator[Asked]:
        for kind in ("classes", "masks"):
            if kind in self.part.labels:
                yield example(kind == "masks")

    def _answered(self) -> Iterator[tuple[Asked, dict[str, str | Mask | None], bytes]]:
        for asked in self._asked():
            labels = labels_of(asked)
            with TemporaryDirectory() as place:
                self._written(asked, Folder(place))
                data = self.answered(asked, Folder(place), labels)
            if data is not None:
                yield asked, labels, data

    def _written(self, asked: Asked, out: Folder) -> dict[str, bytes]:
        self.part.write(asked, _suggestions(asked), out)
        return dict(_files(out))

    def _folders(self, asked: Asked) -> list[str]:
        with TemporaryDirectory() as place:
            self._written(asked, Folder(place))
            return Folder(place).folders()

    def _read(self, data: bytes, asked: Asked) -> tuple[list[Answer], list[object]]:
        """Answers and problems; a file that is refused has one of these."""
        answers, problems = list[Answer](), list[object]()
        try:
            for found in self.part.read(data, asked):
                if isinstance(found, Answer):
                    answers.append(found)
                elif isinstance(found, Problem) and found.where and found.reason:
                    problems.append(found)
                else:
                    self.broken("answers, and problems with place and reason", f"one is {found!r}")
        except UsageError as error:
            return [], [error]
        return answers, problems


def _mask(number: int) -> Mask:
    """Two areas of classes, one in the other, and void."""
    mask = np.full(SIZE, IGNORE, np.uint8)
    mask[1:6, 1:8] = number % len(CLASSES)
    mask[2:4, 2 : 4 + number % 3] = (number + 1) % len(CLASSES)
    return mask


def _suggestions(asked: Asked) -> dict[str, Suggestion]:
    def predicted(number: int) -> LabelValue:
        return encode(_mask(number + 1)) if asked.masks else number % len(asked.classes)

    return {
        item.unit: Suggestion(0.5, "chosen by margin", predicted(number), 0.7)
        for number, item in enumerate(asked.items)
    }


def _files(folder: Folder, above: str = "") -> Iterator[tuple[str, bytes]]:
    below = folder.folders()
    for name in folder.names():
        if name in below:
            yield from _files(folder / name, f"{above}{name}/")
        else:
            yield f"{above}{name}", folder.read(name)


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one is other or (isinstance(one, str) and one == other)
