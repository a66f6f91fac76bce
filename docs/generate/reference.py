"""Pages of all fields: of an experiment, of a sweep, of the scoring of a pool."""

from typing import Any

from fields import ONE, as_table, nested, rows
from prose import markdown, page, table

from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import Sweep
from rayal.parts import names
from rayal.workflows.score.settings import PoolScoring


def experiment() -> str:
    """Every field of an experiment file."""
    return page(
        "# Fields of an experiment",
        "An experiment is a YAML file that holds what differs from the defaults, and may stand on"
        " another one (`extends: base.yaml`). `--set a.b=value` changes one field on the command"
        " line.",
        *_sections(Experiment, ""),
        "## Parts",
        "A field that takes a part takes its name, or a mapping of its name and options:"
        " `strategy: cod`, or `strategy: {name: cod, first_cycle: random}`. A part of your own is"
        " `my_package.my_module`, with `--plugins my_package`.",
        table(("a", "is one of"), [(ONE[kind], _links(kind)) for kind in ONE]),
    )


def sweep() -> str:
    """Every field of the block `sweep:`."""
    return page(
        "# Fields of a sweep",
        "A sweep is an [experiment](experiment.md) with a block `sweep:`.",
        markdown(Sweep.__doc__),
        *_sections(Sweep, "sweep."),
    )


def scoring() -> str:
    """Every setting of `rayal score`."""
    return page(
        "# Settings of `rayal score`",
        markdown(PoolScoring.__doc__),
        "Those without an option of their own are given by `--set`, such as `--set batch=64`.",
        *_sections(PoolScoring, ""),
    )


def _sections(settings: type[Any], prefix: str) -> list[str]:
    """A table of the fields themselves, then one for each block nested in them."""
    top, blocks = [], list[str]()
    for (name, field), (own, *inner) in zip(
        settings.model_fields.items(), rows(settings, prefix), strict=True
    ):
        top.append(own)
        if inner:
            block = nested(field)
            blocks += [f"## {name}", markdown(block.__doc__ if block else ""), as_table(inner)]
    return [as_table(top), *blocks]


def _links(kind: str) -> str:
    if kind in ("strategies", "schemes"):
        return ", ".join(f"[{name}](../methods/{kind}/{name}.md)" for name in names(kind))
    return ", ".join(f"[{name}]({kind}.md#{name})" for name in names(kind))
