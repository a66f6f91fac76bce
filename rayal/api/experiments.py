"""Experiments from files, changed by keyword."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rayal
from rayal.api.given import assignments
from rayal.api.given import path as checked
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import NO_PLUGINS

DEMO = Path(rayal.__file__).parent / "examples" / "digits.yaml"
"""The file that `rayal demo` runs: COD on handwritten digits, beside three strategies that are only
recorded."""


def load(
    path: str | Path,
    set: Iterable[str] = (),
    *,
    plugins: Iterable[str] = NO_PLUGINS,
    **fields: Any,
) -> Experiment:
    """The experiment in a YAML file, some of its fields changed.

    `fields` are those of `Experiment`, and stand on the file as a file stands on the one that it
    extends: mappings merge key by key, everything else replaces. A part may be an instance, a name
    or a mapping. `set` are assignments as on the command line, `scheme.epochs=5`, and stand on
    both. `plugins` are packages of yours whose parts the file may name.

    >>> x = rayal.load("configs/digits/cod.yaml", strategy="margin", seed=1, budget={"total": 100})
    >>> x.strategy.part_name(), x.budget.per_cycle, x.budget.total
    ('margin', 50, 100)

    Raises UsageError with all problems, each with its place, key, value and what is allowed.
    """
    return config.load(checked(path, "load"), assignments(set), plugins, fields)


def load_sweep(
    path: str | Path,
    set: Iterable[str] = (),
    *,
    plugins: Iterable[str] = NO_PLUGINS,
    **fields: Any,
) -> SweptExperiment:
    """As `load`, of a file with a block `sweep:`; `fields` may have `sweep`, a mapping.

    >>> x = rayal.load_sweep("configs/sweeps/digits_tod_lambda_alpha.yaml", sweep={"seeds": [0]})
    >>> x.sweep.samples, x.sweep.seeds
    (4, (0,))
    """
    return config.load_as(
        SweptExperiment, checked(path, "load_sweep"), assignments(set), plugins, fields
    )
