"""Commands of pools: score one with any checkpoint, select from the scores."""

from typing import Annotated, Any

import typer

import rayal
from rayal.cli.options import (
    POOLS,
    Address,
    BreakLock,
    Overrides,
    Packages,
    RetryBad,
    app,
    kept,
    placed,
)
from rayal.cli.output import visible
from rayal.cli.work import allowed
from rayal.plugins import Plugins


@app.command(rich_help_panel=POOLS)
def score(
    checkpoint: Annotated[
        str,
        typer.Option(help="Weights: a rayal run or its .safetensors file, or anybody's .pt file."),
    ],
    pool: Annotated[
        str, typer.Option(help="Parquet files, a folder of images, or a dataset's name.")
    ],
    strategies: Annotated[
        str, typer.Option(help="Names, separated by commas, or a YAML list with options.")
    ],
    out: Annotated[
        str, typer.Option(help="Folder for the scores, a path or a URL.", callback=kept)
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Architecture of weights that do not say it: a name or YAML mapping."),
    ] = None,
    previous: Annotated[
        str | None, typer.Option(help="Weights of the cycle before, for cod.")
    ] = None,
    member: Annotated[
        list[str], typer.Option(help="Weights of another ensemble member; may be repeated.")
    ] = [],  # noqa: B006
    retry_bad: RetryBad = False,
    set: Overrides = [],  # noqa: B006
    address: Address = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Score a pool with one or more checkpoints, or go on with it: the same command continues.

    Every unit gets a row in OUT/scores/*.parquet: id, status, predicted class, score.<strategy>
    (higher = label sooner) and what `rayal select` needs. Any field may be changed by --set, for
    example --set decoding.size=224 --set compute.engine=local --set id=null.
    """
    from rayal.cli.console import Console, telling

    named = allowed(plugins)
    x = settings(
        {
            "checkpoint": checkpoint,
            "pool": pool,
            "strategies": listed(strategies),
            "previous": previous,
            "members": member,
            "model": None if model is None else written(model, "--model"),
        },
        set,
        named,
    )
    with telling("scores", lambda url: Console()) as told:
        scores = rayal.score(
            x,
            out=out,
            address=address,
            on_event=told,
            retry_bad=retry_bad,
            break_lock=break_lock,
            plugins=named,
        )
    for line in scores.lines:
        print(visible(line))


@app.command(rich_help_panel=POOLS)
def select(
    scores: Annotated[
        str, typer.Argument(help="What `rayal score` wrote, or a score stage.", callback=placed)
    ],
    strategy: Annotated[str, typer.Option(help="A name, or a YAML mapping with options.")],
    budget: Annotated[float, typer.Option(help="Units to select, or what may be spent.")],
    labeled: Annotated[
        str | None,
        typer.Option(
            help="File of ids that are labeled already (txt, csv, parquet).", callback=placed
        ),
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(help="Most units of one predicted class.")
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="File with columns id and group, for --per-group.", callback=placed),
    ] = None,
    per_group: Annotated[int | None, typer.Option(help="Most units of one group.")] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            help="File with columns id and cost, for a budget in clicks.", callback=placed
        ),
    ] = None,
    min_distance: Annotated[
        float | None,
        typer.Option(help="Least distance between the features of two units; 0 only tells them."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Breaks ties, and draws where a strategy draws.")] = 0,
    out: Annotated[
        str, typer.Option(help="Path of the result without its suffix.", callback=kept)
    ] = "selection",
    request: Annotated[
        str | None,
        typer.Option(
            help="Format of a labeling tool, such as csv: people are asked, by OUT.request/."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Names of the classes, by commas or as a YAML list, for --request."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, host:port, whose machines hold what one cannot."),
    ] = None,
    plugins: Packages = [],  # noqa: B006
) -> None:
    """Choose units from scores, exactly, into OUT.csv and OUT.parquet.

    Columns: rank, id, score, predicted class, reason, and with --min-distance how far the nearest
    labeled and the nearest selected unit are. Another selection that is there is kept as
    OUT-1.csv, OUT-2.csv and so on. With --address the same command goes on where
    it was killed. With --request the units also go to people: OUT.request/HOW.md says how to label
    them, and `rayal labels add OUT.request FILE` takes the answers back, into labels.csv there.
    """
    from rayal.api.select import Request
    from rayal.experiment import config

    options = {
        "strategy": written(strategy, "--strategy"),
        "budget": budget,
        "seed": seed,
        "labeled": labeled,
        "costs": costs,
        "per_class": per_class,
        "groups": groups,
        "per_group": per_group,
        "min_distance": min_distance,
    }
    named = allowed(plugins)
    checked = config.from_options(_given(options), [], Request, named)
    asked = {key: getattr(checked, key) for key in options}
    people: dict[str, Any] = {
        "request": None if request is None else written(request, "--request").plain(),
        "classes": None if classes is None else names(classes, "--classes"),
    }
    picks = rayal.select(scores, **asked, **people, out=out, address=address, plugins=named)
    place = [f"request      {out}.request/HOW.md"] if request is not None else []
    for line in (*picks.lines, f"selection    {out}.csv  {out}.parquet", *place):
        print(visible(line))


def settings(options: dict[str, Any], overrides: list[str], plugins: Plugins) -> Any:
    """A pool scoring from the options of the command."""
    from rayal.experiment import config

    return config.from_options(_given(options), overrides, rayal.PoolScoring, plugins)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value not in (None, [])}


def listed(strategies: str) -> Any:
    """Strategies, by their names or as YAML."""
    if strategies.lstrip()[:1] == "[":
        return written(strategies, "--strategies")
    return [name.strip() for name in strategies.split(",")]


def names(text: str, option: str) -> list[str]:
    """Names between commas, or a YAML list of them, where they hold commas themselves."""
    found = written(text, option).plain() if text.lstrip()[:1] == "[" else text.split(",")
    return [str(name).strip() for name in found]


def written(text: str, option: str) -> Any:
    """The value of an option that is written as in a file."""
    from rayal.storage import yaml_text

    return yaml_text.value(text, option)
