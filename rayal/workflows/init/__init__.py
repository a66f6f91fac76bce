"""A file for an experiment on images of one's own, filled in with what a look at them tells."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import NamedTuple

from rayal.errors import DataError, UsageError, quoted
from rayal.parts import suggest
from rayal.storage.failures import storage_errors
from rayal.storage.yaml_text import flow
from rayal.workflows.init import (
    coco_images,
    image_folder,
    listed_folder,
    masks,
    parquet,
    photos,
    unlabeled_parquet,
)
from rayal.workflows.init.found import Found, folders_in

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Kind(NamedTuple):
    """A way in which people keep images."""

    look: Callable[[Path], Found]
    """What is in a folder; raises UsageError where it is not what the kind has."""
    unseen: Found
    """In place of a look."""
    frame: str
    """The template of the whole file."""
    block: str | None = None
    """That of its `dataset:`, where the frame leaves room for one."""


KINDS = {
    "image_folder": Kind(image_folder.look, image_folder.UNSEEN, "images", "image_folder"),
    "listed_folder": Kind(listed_folder.look, listed_folder.UNSEEN, "images", "listed_folder"),
    "coco_images": Kind(coco_images.look, coco_images.UNSEEN, "images", "coco_images"),
    "parquet": Kind(parquet.look, parquet.UNSEEN, "images", "parquet"),
    "masks": Kind(masks.look, masks.UNSEEN, "masks"),
    "photos": Kind(photos.look, photos.UNSEEN, "unlabeled", "photos"),
    "unlabeled_parquet": Kind(
        unlabeled_parquet.look, unlabeled_parquet.UNSEEN, "unlabeled", "unlabeled_parquet"
    ),
}


def write(name: str, kind: str, root: Path | None, folder: Path) -> tuple[Path, str | None]:
    """The file `folder/NAME.yaml`, new, and what was found in `root`, in words.

    Raises UsageError for another kind, where there is such a file, and for a root that does not
    hold what it should.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{quoted(name)} is no name of an experiment; use letters, digits, dots, dashes and"
            " underscores, such as first-try"
        )
    file = folder / f"{name}.yaml"
    if file.exists():
        raise _there(file)
    if kind not in KINDS:
        raise UsageError(f"data: {quoted(kind)} is no way to keep images; {suggest(kind, KINDS)}")
    chosen = KINDS[kind]
    found = chosen.unseen if root is None else _seen(kind, root)
    places = {} if root is None else {"root": flow(_seen_from(folder, root))}
    text = _filled(chosen, found, {**places, "name": flow(name), "file": file.name})
    with storage_errors(str(file)):
        try:
            with file.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError as error:  # since the look
            raise _there(file) from error
    return file, None if root is None else found.told


def _seen(kind: str, root: Path) -> Found:
    """A look; where another kind's list of these images lies there, with its name."""
    other, file = _listing(root)
    hint = f"; {file} lists images: data {other} takes them from it" if other != kind else ""
    try:
        found = KINDS[kind].look(root)
    except (UsageError, DataError) as error:
        raise type(error)(f"{error}{hint if other else ''}") from error
    told = bool(other) and kind in ("image_folder", "photos")
    return found._replace(told=f"{found.told}{hint}") if told else found


def _listing(root: Path) -> tuple[str, str]:
    """The kind that a list of images is of, and where that is, below root; empty where there is
    none."""
    folders = ["", *(folders_in(root) if root.is_dir() else [])]
    for folder in folders:
        for name in listed_folder.tables_in(root / folder):
            return "listed_folder", f"{folder}/{name}".lstrip("/")
    files = coco_images.files_in(root)
    return ("coco_images", files[0]) if files else ("", "")


def _there(file: Path) -> UsageError:
    return UsageError(f"{file} is there already; use another name, or move that file away")


def _seen_from(folder: Path, root: Path) -> str:
    """How a file in this folder calls the root: its paths start there, and not where we are."""
    here, whole = folder.absolute(), root.absolute()
    if root.is_absolute() or here == Path.cwd():
        return str(root)
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _filled(kind: Kind, found: Found, given: Mapping[str, str]) -> str:
    values = {**found.values, **found.budget(), **given}
    if kind.block is not None:
        values["dataset"] = _template(kind.block).substitute(values)
    return _template(kind.frame).substitute(values)


def _template(name: str) -> Template:
    return Template((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
