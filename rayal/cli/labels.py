"""Commands of labels: what people answered, taken into a run that waits for them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import rayal
from rayal.cli.options import LABELS, AsJson, BreakLock, Packages, app, on_disk, placed
from rayal.cli.output import print_json, print_table, visible
from rayal.cli.work import allowed

labels = typer.Typer(
    help="Labels of people: taken into a run that waits for them, counted, handed on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(labels, name="labels", rich_help_panel=LABELS)

Asks = Annotated[str, typer.Argument(help="A run that asks people.", callback=placed)]
Waits = Annotated[
    str,
    typer.Argument(
        help="A run that asks people, or the OUT.request of a selection.", callback=placed
    ),
]


ServerUrl = Annotated[
    str,
    typer.Option(help="Label Studio's address; its token is in LABEL_STUDIO_API_KEY."),
]
Number = Annotated[int | None, typer.Option(min=1, help="Number of a project that is there.")]
Title = Annotated[str | None, typer.Option(help="Title of the project.")]


@labels.command()
def add(
    run: Waits,
    file: Annotated[
        Path, typer.Argument(help="What the labeling tool has exported.", callback=on_disk)
    ],
    annotator: Annotated[
        str, typer.Option(help="Who gave the answers that name nobody, as in a CSV without names.")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Look only, take nothing.")] = False,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Take a file of answers, all of it or nothing; the same file twice changes nothing."""
    named = allowed(plugins)
    added = rayal.add_labels(
        run, file, annotator=annotator, check=check, break_lock=break_lock, plugins=named
    )
    for line in added.lines:
        print(visible(line))


@labels.command()
def status(
    run: Waits,
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """What people were asked and have answered, how far they agree, and what to do next."""
    found = rayal.label_status(run, plugins=allowed(plugins))
    if json:
        return print_json(found.to_dict())
    print_table(found.to_rich(), fit=True)
    print(visible(f"next    {found.next}"))


@labels.command()
def export(
    run: Annotated[str, typer.Argument(help="The run.", callback=placed)],
    to: Annotated[
        Literal["csv", "coco", "cvat", "imagefolder", "parquet"],
        typer.Option(help="What is written."),
    ],
    out: Annotated[str, typer.Option(help="New folder, path or URL.", callback=placed)],
    votes: Annotated[
        bool, typer.Option("--votes", help="CSV: a row for each answer of an annotator.")
    ] = False,
    images: Annotated[
        Literal["copied", "linked"], typer.Option(help="Images as files, or their addresses.")
    ] = "copied",
    plugins: Packages = [],  # noqa: B006
) -> None:
    """Write all labels of a run with their images into a folder, for other tools."""
    named = allowed(plugins)
    done = rayal.export_labels(run, to, out, votes=votes, images=images, plugins=named)
    for line in done.lines:
        print(visible(line))


@labels.command()
def push(
    run: Asks,
    server: ServerUrl,
    project: Number = None,
    title: Title = None,
    upload: Annotated[
        bool, typer.Option("--upload/--no-upload", help="Send the images too.")
    ] = True,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Put the request onto a Label Studio server; again, it adds what is missing there."""
    named = allowed(plugins)
    pushed = rayal.push_labels(
        run,
        server,
        project=project,
        title=title,
        upload=upload,
        break_lock=break_lock,
        plugins=named,
    )
    for line in pushed.lines:
        print(visible(line))


@labels.command()
def pull(
    run: Asks,
    server: ServerUrl,
    project: Number = None,
    title: Title = None,
    check: Annotated[bool, typer.Option("--check", help="Look only, take nothing.")] = False,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Take the answers on a Label Studio server, all of them or nothing."""
    named = allowed(plugins)
    pulled = rayal.pull_labels(
        run,
        server,
        project=project,
        title=title,
        check=check,
        break_lock=break_lock,
        plugins=named,
    )
    for line in pulled.lines:
        print(visible(line))
