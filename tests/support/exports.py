"""What labeling tools export, written as they write it and without the formats' own help; and what
happens to such files on their way: the source of thousands of them, each with the truth of it.

A tool gives `export`, and `mangle` for what can befall its files alone.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from rayal.data.card import Card
from rayal.data.images import Decoding
from rayal.data.masks import Mask, MaskDecoding
from rayal.labeling.exchange.base import Asked, Format, Item
from rayal.labeling.exchange.coco import Coco
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.exchange.cvat import Cvat
from rayal.labeling.exchange.folder import Folder as Folders
from rayal.labeling.exchange.label_studio import LabelStudio
from rayal.labeling.label_studio.brush_rle import encode_brush

UNITS = (
    "train-00001",
    "0012",
    "100000",
    "3-2",
    "größe/Ж 你好.png",
    "=SUM(A1)",
    'a,b;c"d',
    "x\ty",
)
CLASSES = "cat", "Straße", "犬 2", "-1"
SIZE = 5, 6

Label = str | Mask | None


class Said(NamedTuple):
    """An answer as a tool has it."""

    unit: str
    label: Label
    """A class, or a mask H W; None where it was skipped."""
    annotator: str = ""
    seconds: float | None = None


class Change(NamedTuple):
    """A file after something happened to it."""

    data: bytes
    right: bool | None
    """Whether it has to be taken, all of it; False: has to be refused; None: either refused, or
    what is taken of it is true."""


@dataclass
class Tool:
    """A labeling tool."""

    part: Format
    masks: bool = False

    by_name: ClassVar[bool] = True
    """Whether it knows images by their names alone, and no annotators of single answers."""
    mangles: ClassVar[tuple[str, ...]] = ()
    """What can befall its files alone."""

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        raise NotImplementedError

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        raise NotImplementedError

    def name(self, asked: Asked, unit: str) -> str:
        """The name of the file of a unit's image, as the tool has it."""
        item = asked.by_unit.get(unit)
        return f"0099-{unit}-ffffffff.png" if item is None else item.image.rpartition("/")[2]


class Table(Tool):
    """A spreadsheet."""

    by_name = False
    mangles = ("bom", "crlf", "cr", "semicolons", "tabs", "utf-16", "latin-1", "columns", "blank")
    mangles += ("rows apart", "numbers", "comma")

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        rows = [["rayal_rank", "rayal_id", "image", "label", "annotator", "seconds"]]
        rows[0].append("rayal_request")
        for each in said:
            item = asked.by_unit.get(each.unit)
            label = "SKIP" if each.label is None else str(each.label)
            seconds = "" if each.seconds is None else repr(each.seconds)
            rank, image = (str(item.rank), item.image) if item else ("", "")
            row = [rank, _quoted(each.unit), image, _quoted(label)]
            rows.append([*row, each.annotator, seconds, f"r-{asked.name}"])
        return _table(rows)

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        rows = [*csv.reader(io.StringIO(data.decode(), newline=""))]
        match how:
            case "bom":
                return Change(b"\xef\xbb\xbf" + data, True)
            case "crlf" | "cr":
                return Change(_table(rows, end={"crlf": "\r\n", "cr": "\r"}[how]), True)
            case "semicolons" | "tabs":
                return Change(_table(rows, {"semicolons": ";", "tabs": "\t"}[how]), True)
            case "utf-16":
                return Change(_table(rows, "\t").decode().encode("utf-16"), True)
            case "latin-1":
                text = data.decode()
                return Change(text.encode("latin-1", "replace"), text.isascii())
            case "columns":
                order = rng.sample(range(len(rows[0])), len(rows[0]))
                more = [[*(row[at] for at in order), "my notes"] for row in rows]
                return Change(_table(more), True)
            case "blank":
                return Change(_table(rows + [[""] * len(rows[0])] * 3), True)
            case "rows apart":
                return self._sorted_apart(rows)
            case "numbers":
                return self._as_numbers(rows)
        with_comma = [[*row[:5], row[5].replace(".", ","), *row[6:]] for row in rows]
        return Change(_table(with_comma, ";"), True)

    def _sorted_apart(self, rows: list[list[str]]) -> Change:
        """One column sorted without the others."""
        ids = [row[1] for row in rows[1:]]
        moved = [[row[0], unit, *row[2:]] for row, unit in zip(rows[1:], sorted(ids), strict=True)]
        return Change(_table([rows[0], *moved]), sorted(ids) == ids)

    def _as_numbers(self, rows: list[list[str]]) -> Change:
        """What Excel makes of ids."""
        made = {"0012": "12", "100000": "1E+05", "3-2": "3-Feb"}
        found = [[row[0], made.get(row[1], row[1]), *row[2:]] for row in rows]
        return Change(_table(found), found == rows)


class CvatTask(Tool):
    """CVAT's export of a task."""

    mangles = ("bom", "zip", "entities", "attributes", "video", "renamed")

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        who = next((each.annotator for each in said), "")
        lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations><version>1.1</version>"]
        lines += [f"<meta><task><assignee><username>{who}</username></assignee></task></meta>"]
        for number, each in enumerate(said):
            name = quoteattr(self.name(asked, each.unit))
            height, width = asked.items[0].size
            lines.append(f'<image id="{number}" name={name} width="{width}" height="{height}">')
            lines += self._content(each.label, asked, rng)
            lines.append("</image>")
        return "\n".join([*lines, "</annotations>", ""]).encode()

    def _content(self, label: Label, asked: Asked, rng: Random) -> list[str]:
        if label is None or isinstance(label, str):
            return [f'<tag label={quoteattr(label or "SKIP")} source="manual"></tag>']
        if not isinstance(label, np.ndarray):
            return []
        shapes = []
        for number in sorted({*label.ravel().tolist()} - {255}):
            name = quoteattr(_named(number, asked))
            runs = ", ".join(map(str, _runs((label == number).ravel().tolist())))
            height, width = label.shape
            shapes.append(
                f'<mask label={name} source="semi-auto" occluded="0" rle="{runs}" left="0" top="0"'
                f' width="{width}" height="{height}" z_order="0"></mask>'
            )
        return rng.sample(shapes, len(shapes))

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        match how:
            case "bom":
                return Change(b"\xef\xbb\xbf" + data, True)
            case "zip":
                files = {"annotations.xml": data, "images/default/0001.png": b"", ".DS_Store": b""}
                return Change(zipped(files), True)
            case "entities":
                bomb = b'<!DOCTYPE a [<!ENTITY b "cat">]>'
                return Change(data.replace(b"<annotations>", bomb + b"<annotations>"), False)
            case "attributes":
                return Change(data.replace(b' source="', b' group_id="7" source="'), True)
            case "video":
                return Change(data.replace(b"</annotations>", b"<track/></annotations>"), False)
        there = b"-01234567.png" in data
        return Change(data.replace(b"-01234567.png", b"-01234567 (1).png"), not there)


class CocoFile(Tool):
    """A JSON file of COCO instances."""

    mangles = ("bom", "utf-16", "spaces", "zip", "ids", "shuffled", "keys", "lists", "renamed")

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        who = next((each.annotator for each in said), "")
        labels = [*asked.classes, "SKIP", "unicorn"]
        numbers = {name: 10 + 3 * number for number, name in enumerate(labels)}
        images, drawn = [], []
        for number, each in enumerate(said, start=100):
            name = self.name(asked, each.unit)
            size = dict(zip(("height", "width"), asked.items[0].size, strict=True))
            images.append({"id": number, "file_name": f"data/{name}", **size})
            for label, segmentation in self._content(each.label, asked):
                drawn.append(
                    {
                        "id": len(drawn),
                        "image_id": number,
                        "category_id": numbers.get(label, numbers["unicorn"]),
                        "bbox": [0, 0, 1, 1],
                        "iscrowd": int(bool(segmentation)),
                        "segmentation": segmentation,
                    }
                )
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        content = {"info": {"contributor": who}, "images": images, "annotations": drawn}
        return json.dumps({**content, "categories": categories}).encode()

    def _content(self, label: Label, asked: Asked) -> list[tuple[str, object]]:
        if label is None or isinstance(label, str):
            return [(label or "SKIP", [])]
        found = []
        for number in sorted({*label.ravel().tolist()} - {255}):
            runs = _runs((label == number).T.ravel().tolist())
            counts = compressed(runs) if number % 2 else runs
            found.append((_named(number, asked), {"size": [*label.shape], "counts": counts}))
        return found

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        content = json.loads(data)
        match how:
            case "bom":
                return Change(b"\xef\xbb\xbf" + data, True)
            case "utf-16":
                return Change(json.dumps(content, ensure_ascii=False).encode("utf-16"), True)
            case "spaces":
                return Change(json.dumps(content, indent=3).encode(), True)
            case "zip":
                return Change(zipped({"annotations/instances_default.json": data}), True)
            case "ids":
                ids = {row["id"]: f"x{row['id']}" for row in content["images"]}
                for row in content["images"]:
                    row["id"] = ids[row["id"]]
                for row in content["annotations"]:
                    row["image_id"] = ids[row["image_id"]]
                return Change(json.dumps(content).encode(), True)
            case "shuffled":
                for name in ("images", "annotations", "categories"):
                    rng.shuffle(content[name])
                return Change(json.dumps(content).encode(), True)
            case "keys":
                return Change(data.replace(b'{"info"', b'{"images": [], "info"'), False)
            case "lists":
                del content[rng.choice(["images", "annotations", "categories"])]
                return Change(json.dumps(content).encode(), False)
        there = b"-01234567.png" in data
        return Change(data.replace(b"-01234567.png", b"-01234567 (1).png"), not there)


class Moved(Tool):
    """A file manager, and an editor of images."""

    mangles = ("remnants", "above", "request", "waiting", "foreign", "renamed", "deeper", "escape")
    mangles += ("table", "lines")

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        files = {"annotator.txt": next((each.annotator for each in said), "").encode()}
        for each in said:
            name = self.name(asked, each.unit)
            if isinstance(each.label, np.ndarray):
                buffer = io.BytesIO()
                Image.fromarray(each.label).save(buffer, "PNG")
                there = files.setdefault(f"masks/{name}", buffer.getvalue())
                if there != buffer.getvalue():  # one file has room for one mask
                    files[f"_skip/{name}"] = b"an image"
            else:
                files[f"{'_skip' if each.label is None else each.label}/{name}"] = b"an image"
        return zipped(files)

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        files = unzipped(data)
        name = asked.items[-1].image.rpartition("/")[2]
        match how:
            case "remnants":
                rest = dict.fromkeys(["cat/.DS_Store", "Thumbs.db", "__MACOSX/cat/._x.png"], b"")
                return Change(zipped(files | rest), True)
            case "above":
                return Change(zipped({f"my labels/{name}": d for name, d in files.items()}), True)
            case "request":
                beside = {"request.json": b"{}", "HOW.md": b"", f"images/{name}": b"an image"}
                inside = {f"labeled/{name}": d for name, d in files.items()}
                return Change(zipped(inside | beside), True)
            case "waiting":
                return Change(zipped(files | {f"images/{name}": b"", name: b""}), True)
            case "foreign":
                return Change(zipped(files | {"_skip/holiday.png": b""}), False)
            case "renamed":
                moved = {name.replace(".png", " copy.png"): d for name, d in files.items()}
                return Change(zipped(moved), not any(name.endswith(".png") for name in files))
            case "deeper":
                return Change(zipped(files | {f"unicorn/cat/{name}": b""}), False)
            case "escape":
                return Change(zipped(files | {f"../{name}": b""}), False)
        return self._as_metadata(how, files)

    def _as_metadata(self, how: str, files: dict[str, bytes]) -> Change:
        """The same answers in a file of Hugging Face."""
        rows = [(n.rpartition("/")[2], n.rpartition("/")[0]) for n in files if "/" in n]
        rest = {name: data for name, data in files.items() if "/" not in name}
        if any(label == "masks" for _, label in rows):
            return Change(zipped(files), True)
        if how == "table":
            table = _table([["file_name", "label"], *rows])
            return Change(zipped(rest | {"metadata.csv": table}), True)
        lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows]
        return Change(zipped(rest | {"metadata.jsonl": "\n".join(lines).encode()}), True)


class Project(Tool):
    """Label Studio's JSON export of a project."""

    by_name = False
    mangles = ("bom", "spaces", "shuffled", "twice", "suggested", "drafts", "remarks", "numbers")
    mangles += ("min", "coco", "foreign control", "no id")

    def export(self, asked: Asked, said: Sequence[Said], rng: Random) -> bytes:
        tasks = dict[str, dict[str, Any]]()
        for number, each in enumerate(said, start=7):
            data = {"rayal_id": each.unit, "rayal_request": asked.name, "image": "/data/x.png"}
            task = tasks.setdefault(each.unit, {"id": number, "data": data, "annotations": []})
            task["annotations"].append(
                {
                    "id": 100 + number,
                    "completed_by": {"email": each.annotator} if each.annotator else None,
                    "was_cancelled": each.label is None,
                    "lead_time": each.seconds,
                    "result": self._results(each.label, asked, rng),
                }
            )
        return json.dumps([*tasks.values()]).encode()

    def _results(self, label: Label, asked: Asked, rng: Random) -> list[dict[str, Any]]:
        if label is None:
            return []
        if isinstance(label, str):
            value = {"choices": [label]}
            said = {"from_name": "class", "to_name": "image", "type": "choices", "value": value}
            return [said]
        height, width = label.shape
        drawn = []
        for number in sorted({*label.ravel().tolist()} - {255}):
            value = {"format": "rle", "rle": encode_brush(label == number)}
            value["brushlabels"] = [_named(number, asked)]
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            control = {"from_name": "brush", "to_name": "image", "type": "brushlabels"}
            drawn.append({**control, **size, "value": value})
        return rng.sample(drawn, len(drawn))

    def mangle(self, how: str, data: bytes, asked: Asked, rng: Random) -> Change:
        tasks = json.loads(data)
        match how:
            case "bom":
                return Change(b"\xef\xbb\xbf" + data, True)
            case "spaces":
                return Change(json.dumps(tasks, indent=2, ensure_ascii=False).encode(), True)
            case "shuffled":
                rng.shuffle(tasks)
            case "twice":
                tasks += [{**task, "id": 1000 + task["id"]} for task in tasks]
            case "suggested":
                result = tasks[-1]["annotations"][0]["result"]
                tasks[0]["predictions"] = [{"result": result, "score": 0.9}]
            case "drafts":
                tasks[0]["drafts"] = [{"result": [{"type": "choices"}], "lead_time": 3.0}]
            case "remarks":
                note = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {}}
                for task in tasks:
                    for each in task["annotations"]:
                        each["result"] += [note] if each["result"] else []
            case "numbers":
                tasks[0]["data"]["rayal_id"] = 100000
                return Change(json.dumps(tasks).encode(), False)
            case "min":
                least = [{"rayal_id": t["data"]["rayal_id"], "class": "cat"} for t in tasks]
                return Change(json.dumps(least).encode(), False)
            case "coco":
                content: Any = {"images": [], "categories": [], "annotations": []}
                return Change(json.dumps(content).encode(), False)
            case "foreign control":
                said = [each for task in tasks for each in task["annotations"]]
                control = {"from_name": "mood", "to_name": "image", "type": "labels", "value": {}}
                said[0]["result"], said[0]["was_cancelled"] = [control], False
                return Change(json.dumps(tasks).encode(), False)
            case "no id":
                del tasks[-1]["data"]["rayal_id"]
                return Change(json.dumps(tasks).encode(), False)
        return Change(json.dumps(tasks).encode(), True)


TOOLS: dict[str, Callable[[], Tool]] = {
    "label_studio": lambda: Project(LabelStudio()),
    "label_studio masks": lambda: Project(LabelStudio(), masks=True),
    "csv": lambda: Table(Csv()),
    "cvat": lambda: CvatTask(Cvat()),
    "cvat masks": lambda: CvatTask(Cvat(), masks=True),
    "coco": lambda: CocoFile(Coco()),
    "coco masks": lambda: CocoFile(Coco(), masks=True),
    "folder": lambda: Moved(Folders()),
    "folder masks": lambda: Moved(Folders(), masks=True),
}
"""Name in tests -> tool; formats of other files join by a line here."""

HAPPENS = (
    "nothing",
    "reordered",
    "doubled",
    "contradicted",
    "foreign id",
    "foreign request",
    "unknown label",
    "near label",
    "cut off",
    "damaged",
    "two annotators",
    "skipped",
    "some only",
)
"""What can befall a file of any tool."""


class Case(NamedTuple):
    """A file, and what is true of it."""

    what: str
    data: bytes
    truth: list[Said]
    right: bool | None


def asked_for(masks: bool, name: str = "0123456789abcdef") -> Asked:
    """The request that all files are of."""
    items = [
        Item(unit, rank, f"images/{rank:04d}-{rank}-{name[:8]}.png", SIZE)
        for rank, unit in enumerate(UNITS, start=1)
    ]
    return Asked(name, "x", CLASSES, masks, tuple(items))


def card_of(asked: Asked) -> Card:
    """The card of the dataset, as far as answers are checked by it."""
    masks = MaskDecoding(values={}) if asked.masks else None
    return Card.model_construct(classes=asked.classes, masks=masks, decoding=Decoding())


def case(tool: Tool, seed: int) -> Case:
    """The file of this number."""
    rng = Random(seed)
    asked = asked_for(tool.masks)
    what = [*HAPPENS, *tool.mangles][seed % (len(HAPPENS) + len(tool.mangles))]
    units = rng.sample(UNITS[:-1], rng.randint(2, len(UNITS) - 1))
    who = rng.choice(["", "ann", "Jürgen"])
    truth = [Said(unit, _label(tool, rng), who, _seconds(tool, rng)) for unit in units]
    made, right = truth, True
    match what:
        case "reordered":
            made = rng.sample(truth, len(truth))
        case "doubled":
            made = [*truth, truth[0]]
        case "contradicted":
            made, right = [*truth, truth[0]._replace(label=_other(truth[0].label))], False
        case "foreign id":
            made, right = [*truth, truth[0]._replace(unit="holiday")], False
        case "unknown label":
            made, right = [*truth[1:], truth[0]._replace(label=_unknown(truth[0].label))], False
        case "near label" if not tool.masks:
            made, right = [*truth[1:], truth[0]._replace(label="CAT ")], False
        case "two annotators" if not tool.by_name:
            made = truth = truth + [each._replace(annotator="bob") for each in truth]
        case "skipped":
            made = truth = [each._replace(label=None) for each in truth]
        case "some only":
            made = truth = truth[:1]
    data = tool.export(asked, made, rng)
    match what:
        case "foreign request":
            data, right = tool.export(asked_for(tool.masks, "f" * 16), made, rng), False
        case "cut off":
            data, right = data[: rng.randrange(len(data))], None
        case "damaged":
            data, right = _damaged(data, rng), None
        case _ if what in tool.mangles:
            data, right = tool.mangle(what, data, asked, rng)
    return Case(what, data, truth, right)


def _named(number: int, asked: Asked) -> str:
    return asked.classes[number] if number < len(asked.classes) else "unicorn"


def _label(tool: Tool, rng: Random) -> Label:
    if rng.random() < 0.15:
        return None
    if not tool.masks:
        return rng.choice(CLASSES)
    mask = np.full(SIZE, 255, np.uint8)
    mask[rng.randrange(2) : 4, rng.randrange(3) : 6] = rng.randrange(len(CLASSES))
    mask[2:4, 3 : rng.randrange(4, 6)] = rng.randrange(len(CLASSES))
    return mask


def _other(label: Label) -> Label:
    if label is None or isinstance(label, str):
        return CLASSES[0] if label != CLASSES[0] else CLASSES[1]
    return (label + 1).clip(0, len(CLASSES) - 1).astype(np.uint8) if label.min() < 3 else label * 0


def _unknown(label: Label) -> Label:
    return np.full(SIZE, 77, np.uint8) if isinstance(label, np.ndarray) else "unicorn"


def _seconds(tool: Tool, rng: Random) -> float | None:
    times = tool.part.times and rng.random() < 0.8
    return rng.choice([0.0, 1.5, 12.25, 100.0]) if times else None


def _damaged(data: bytes, rng: Random) -> bytes:
    """A byte that is another one, and may be no letter."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]


def _runs(inside: Sequence[bool]) -> list[int]:
    """Lengths of runs, beginning outside."""
    runs, now = [0], False
    for each in inside:
        if each != now:
            runs.append(0)
            now = each
        runs[-1] += 1
    return runs


def compressed(runs: Sequence[int]) -> str:
    """COCO's form of runs: five bits a sign, and from the fourth on the difference."""
    signs = []
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            signs.append(chr(48 + bits + 32 * more))
    return "".join(signs)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _table(rows: Sequence[Sequence[str]], delimiter: str = ",", end: str = "\n") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


def _quoted(text: str) -> str:
    return f"'{text}" if text[0] in "=+-@'" else text


def mask_of(size: tuple[int, int]) -> Mask:
    """Of the first class everywhere."""
    return np.zeros(size, np.uint8)
