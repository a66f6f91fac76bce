"""Folders: images are moved into the folder of their class, masks are saved beside.

    images/0001-....png      what is to be labeled
    labeled/<class>/         classes: an image is moved (or copied) into the folder of its class
    labeled/masks/           masks: 0001-....png, of class indices, 255 where there is no class
    labeled/_skip/           images that cannot be labeled
    suggested/               masks: what the model suggests, to be corrected and saved in masks/

The folder `labeled`, or a zip of it, is given back; one of Hugging Face's metadata files beside
images (`metadata.csv` or `metadata.jsonl` with `file_name` and `label`) does as well. What the
files are called says which image it is. `annotator.txt` in it may say who labeled.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, BadMask, Mask, MaskDecoding, encode, read_mask
from rayal.errors import UsageError, quoted
from rayal.labeling.exchange._drawing import suggested_mask
from rayal.labeling.exchange._images import items_of
from rayal.labeling.exchange._skipping import Skipping, Word
from rayal.labeling.exchange._table import decoded, plain, read_table
from rayal.labeling.exchange._zip import Zip, is_zip
from rayal.labeling.exchange.base import IMAGES, Answer, Asked, Item, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.storage import folder as storage
from rayal.storage.whole_json import parsed

LABELED, MASKS, SUGGESTED = "labeled", "masks", "suggested"
WHO = "annotator.txt"
TABLE, LINES = "metadata.csv", "metadata.jsonl"
BESIDE = frozenset({IMAGES, SUGGESTED, "HOW.md", "request.json"})
"""What is beside `labeled` in a request."""
NO_NAMES = frozenset('/\\:*?"<>|') | {chr(sign) for sign in range(32)}
"""Signs that no folder has on one system or another."""
RESERVED = frozenset({MASKS, IMAGES, LABELED, SUGGESTED})


class Folder(Skipping):
    """A folder for each class into which images are moved, or one of masks."""

    linked: ClassVar[bool] = False

    skip: Word = "_skip"
    """The folder of images that cannot be labeled; in a metadata file, what stands in place of a
    class."""

    def check(self, classes: Sequence[str]) -> None:
        super().check(classes)
        check_names((*classes, self.skip))

    def write(
        self, asked: Asked, suggestions: Mapping[str, Suggestion], out: storage.Folder
    ) -> None:
        folders = (MASKS,) if asked.masks else asked.classes
        for name in (*folders, self.skip):
            (out / LABELED / name).make()
        for item in asked.items if asked.masks else ():
            mask = suggested_mask(item, suggestions)
            if mask is not None:
                (out / SUGGESTED).write(f"{stem(item.image)}.png", encode(mask))

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        if asked.masks:
            numbers = ", ".join(f"{n} `{name}`" for n, name in enumerate(asked.classes))
            how = (
                f"For each image of `{place}/{IMAGES}` save a PNG of the same size and name in"
                f" `{place}/{LABELED}/{MASKS}`, with one number a pixel (grey or palette):"
                f" {numbers}; {IGNORE} where there is no class. Where `{place}/{SUGGESTED}` has"
                " one, it is what the model suggests; correct it, and save it there."
            )
        else:
            how = (
                f"Move (or copy) each image of `{place}/{IMAGES}` into the folder of its class in"
                f" `{place}/{LABELED}`. Do not rename files. What is left in `{IMAGES}` waits."
            )
        return (
            how,
            f"Images that cannot be labeled go into `{place}/{LABELED}/{self.skip}`.",
            f"Several annotators work on copies of `{place}`; each puts a file `{WHO}` with their"
            f" name into `{LABELED}`.",
            "Look at what would be taken: `rayal labels add RUN"
            f" {shlex.quote(f'{place}/{LABELED}')} --check`; then give it without `--check`, and"
            " the run's own command again. A zip of the folder does as well.",
        )

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        if not is_zip(data):
            raise UsageError(f"the file is no zip; give the folder {LABELED}, or a zip of it")
        archive = Zip(data)
        inside = _inside(archive.names, self._folders(asked))
        annotator = ""
        if WHO in inside:
            annotator = decoded(archive.read(inside.pop(WHO))).strip()
        tables = [name for name in (TABLE, LINES) if name in inside]
        for name in tables:
            for found in self._told(name, archive.read(inside.pop(name)), asked):
                yield found._replace(annotator=annotator) if isinstance(found, Answer) else found
        for name, whole in inside.items():
            try:
                for item, label in self._answers(name, whole, archive, asked):
                    of = asked.request_of(item)
                    yield Answer(whole, item.unit, label, annotator, request=of)
            except UsageError as error:
                yield Problem(whole, str(error))

    def _folders(self, asked: Asked) -> frozenset[str]:
        """Those that mean something."""
        return frozenset({self.skip, MASKS, IMAGES} if asked.masks else {self.skip, *asked.classes})

    def _answers(
        self, name: str, whole: str, archive: Zip, asked: Asked
    ) -> Iterator[tuple[Item, str | Mask | None]]:
        """What a file says; nothing of an image that waits."""
        folder, _, file = name.rpartition("/")
        if asked.masks and folder == MASKS:
            items = _items_of_mask(file, asked)
            mask = _mask(archive.read(whole), asked)
            yield from ((item, mask) for item in items)
            return
        items = items_of(file, asked)
        if folder == self.skip:
            yield from ((item, None) for item in items)
        elif folder in asked.classes and not asked.masks:
            yield from ((item, folder) for item in items)
        elif folder not in ("", IMAGES):
            known = ", ".join(sorted(self._folders(asked) - {IMAGES}))
            raise UsageError(f"lies in {quoted(folder)}; move it to one of {known}")

    def _told(self, name: str, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        """What a metadata file of Hugging Face says."""
        for where, file, label in _rows(name, data):
            try:
                if not isinstance(label, str):
                    raise UsageError(
                        f"the label of {quoted(file)} is {quoted(label)}; write the class's name"
                    )
                for item in items_of(file, asked) if label else ():
                    said, of = None if label == self.skip else label, asked.request_of(item)
                    yield Answer(where, item.unit, said, request=of)
            except UsageError as error:
                yield Problem(where, str(error))


def check_names(classes: Sequence[str]) -> None:
    """Raises UsageError for classes that cannot be names of folders beside one another."""
    if strange := [each for each in classes if not _is_name(each)]:
        raise UsageError(
            f"the class {quoted(strange[0])} cannot be the name of a folder everywhere; use csv"
        )
    seen = dict[str, str]()
    for each in classes:
        other = seen.setdefault(each.casefold(), each)
        if other != each:
            raise UsageError(
                f"folders {quoted(other)} and {quoted(each)} are one on some systems; use csv"
            )


def stem(image: str) -> str:
    """The name of an image's file, without folders and suffix."""
    return image.rpartition("/")[2].rpartition(".")[0]


def _is_name(text: str) -> bool:
    """Whether a folder can have this name, on every system, beside those of ours."""
    ends = text[0] in " ." or text[-1] in " ." or len(text.encode()) > 200
    return not ends and NO_NAMES.isdisjoint(text) and text.casefold() not in RESERVED


def _inside(names: Sequence[str], folders: frozenset[str]) -> dict[str, str]:
    """Path below the folder `labeled`, wherever that lies in what was given -> name in the zip;
    without what is beside it in a request."""
    above = _above(names, folders)
    found = {name.removeprefix(above): name for name in names}
    whole = "request.json" in found or any(name.startswith(f"{LABELED}/") for name in found)
    if LABELED in folders or not whole:
        return found
    rest = {name: each for name, each in found.items() if name.partition("/")[0] not in BESIDE}
    return {name.removeprefix(f"{LABELED}/"): each for name, each in rest.items()}


def _above(names: Sequence[str], folders: frozenset[str]) -> str:
    """The one folder that all else lies in, where what means something lies right in it."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1:
        return ""
    (top,) = tops
    known = folders | {IMAGES, LABELED}
    inner = {name.partition("/")[2].partition("/") for name in names}
    meant = any(first in known if slash else first in (TABLE, LINES) for first, slash, _ in inner)
    return f"{top}/" if meant and top not in known else ""


def _items_of_mask(file: str, asked: Asked) -> Sequence[Item]:
    found = {stem(name): items for name, items in asked.by_image.items()}
    items = found.get(file.removesuffix(".png"))
    if items is None or not file.endswith(".png"):
        raise UsageError(f"{quoted(file)} is no mask of an image of this request; leave it out")
    return items


def _mask(data: bytes, asked: Asked) -> Mask:
    values = {number: number for number in (*range(len(asked.classes)), IGNORE)}
    try:
        return read_mask(data, MaskDecoding(values=values), Decoding())
    except BadMask as error:
        raise UsageError(f"{error}; save it as PNG of class indices") from error


def _rows(name: str, data: bytes) -> Iterator[tuple[str, str, Any]]:
    """Place, file name and label of each row of a metadata file; null and absent as empty."""
    if name == TABLE:
        table = read_table(data, ("file_name", "label"))
        for row in table.rows:
            if isinstance(row, Problem):
                raise UsageError(f"{name}, {row.where}: {row.reason}")
            if row.open and table.columns[-1] != "file_name":
                raise UsageError(f"{name}, {row.where}: may be cut off; end it with a line break")
            yield f"{name}, {row.where}", plain(row.cells["file_name"]), plain(row.cells["label"])
        return
    for number, line in enumerate(decoded(data).split("\n"), start=1):
        if line.strip():
            row = parsed(line, f"{name}, row {number},")
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise UsageError(f"{name}, row {number}: has no file_name; leave it out")
            label = row.get("label")
            yield f"{name}, row {number}", row["file_name"], "" if label is None else label
