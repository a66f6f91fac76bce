"""What experiment files may say, and what one of them says."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rayal.api.given import assignments
from rayal.api.given import path as checked
from rayal.experiment import origins as _origins
from rayal.experiment import schema as _schema
from rayal.experiment.origins import Setting
from rayal.plugins import NO_PLUGINS


def schema(*, sweep: bool = False) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of experiment files, for editors: names, types, ranges,
    defaults and meanings; `sweep`: of files with a block `sweep:`.

    >>> rayal.schema()["properties"]["seed"]["default"]
    0

    A file that `extends` another may leave out what is required. Parts of yours, with a dotted
    name, may have any fields. What several values are together only `plan` can say.
    """
    return _schema.schema(sweep=sweep)


def origins(
    path: str | Path,
    set: Iterable[str] = (),
    *,
    plugins: Iterable[str] = NO_PLUGINS,
    **fields: Any,
) -> list[Setting]:
    """Every value of the experiment, or sweep, in a file, and where it comes from; arguments and
    errors as those of `load`.

    >>> found = rayal.origins("configs/digits/cod.yaml", set=["scheme.epochs=5"])
    >>> {each.key: each.origin for each in found}["scheme.epochs"]
    '--set scheme.epochs=5'

    `Setting.key` is `scheme.epochs`, a part's name at `scheme`; `value` is resolved, with secrets
    as `***`; `origin` is `FILE:LINE`, `--set ...`, `keywords` or `default`.
    """
    return _origins.origins(checked(path, "origins"), assignments(set), plugins, fields)
