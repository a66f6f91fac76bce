"""Commands for a beginning: a first run that needs no file, and a file for images of one's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import rayal
from rayal.cli import runs
from rayal.cli.options import EXPERIMENTS, Address, BreakLock, Out, Overrides, app, on_disk
from rayal.cli.output import visible


@app.command(rich_help_panel=EXPERIMENTS)
def demo(
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Out = None,
    address: Address = None,
    break_lock: BreakLock = False,
) -> None:
    """A first run, of handwritten digits, into runs/digits; it needs no file and no network.

    The same as `rayal run` of a file that comes with rayal; --set compute.engine=local does
    without Ray.
    """
    runs.run(config=rayal.DEMO, set=set, out=out, address=address, break_lock=break_lock)


@app.command(rich_help_panel=EXPERIMENTS)
def init(
    data: Annotated[
        Literal[
            "image_folder",
            "listed_folder",
            "coco_images",
            "parquet",
            "masks",
            "photos",
            "unlabeled_parquet",
        ],
        typer.Option(
            help="A folder for each class, a folder with metadata.csv, COCO files, Parquet files,"
            " or images with masks; for people to label: photos in a folder, or unlabeled Parquet"
            " files."
        ),
    ],
    name: Annotated[str, typer.Argument(help="Of the experiment, and of its file.")] = "mine",
    root: Annotated[
        Path | None,
        typer.Option(help="Their folder: what is in it is filled in.", callback=on_disk),
    ] = None,
) -> None:
    """Write NAME.yaml, an experiment on images of your own, with every line explained.

    With --root it is ready for `rayal plan`; without, put the folder in. Nothing is overwritten.
    """
    file, found = rayal.draft(data, name, root)
    print(visible(f"wrote   {file}"))
    if found is None:
        print("next    set dataset.root in it, and look at the lines with (!)")
    else:
        print(visible(f"found   {found}"))
        print("next    look at the lines with (!)")
    print(f"        rayal plan {file}\n        rayal run {file}")
