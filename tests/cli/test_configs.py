"""`rayal config schema` and `rayal config show`."""

import json
from pathlib import Path

from tests.cli.test_parts import rayal  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
COD = ROOT / "configs" / "digits" / "cod.yaml"
SWEEP = ROOT / "configs" / "sweeps" / "digits_tod_lambda_alpha.yaml"


def test_the_schema(rayal):  # noqa: F811
    """An editor would be given something else than JSON, or the schema of other files."""
    plain, sweep = rayal("config", "schema"), rayal("config", "schema", "--sweep")
    said = json.loads(plain.out)

    assert (0, "") == (plain.code, plain.err)
    assert "https://json-schema.org/draft/2020-12/schema" == said["$schema"]
    assert "sweep" not in said["properties"]
    assert "sweep" in json.loads(sweep.out)["properties"]


def test_values_and_their_origins(rayal):  # noqa: F811
    """Somebody would ask in vain why a value is what it is."""
    change = ("--set", "scheme.epochs=5")
    shown, told = (
        rayal("config", "show", str(COD), *change, *json_too) for json_too in ((), ("--json",))
    )
    rows = {row["key"]: row for row in json.loads(told.out)}
    lines = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}

    assert (0, 0, "", "") == (shown.code, told.code, shown.err, told.err)
    assert ["5", "--set", "scheme.epochs=5"] == lines["scheme.epochs"]
    assert {"key": "scheme.epochs", "value": 5, "origin": "--set scheme.epochs=5"} == rows[
        "scheme.epochs"
    ]
    assert ["null", "default"] == lines["candidates"]
    assert rows["strategy"]["origin"].startswith(f"{COD}:")
    assert list(lines) == list(rows)
    assert 1 == len({line.rindex("  ") for line in shown.out.splitlines() if "default" in line})


def test_a_sweep(rayal):  # noqa: F811
    """A file with a block `sweep:` is shown without a further option."""
    shown = rayal("config", "show", str(SWEEP))

    assert "sweep.space.strategy.grid_search" in shown.out


def test_a_mistake(rayal):  # noqa: F811
    """It is told as by every command, with the exit code of the user's mistakes."""
    shown = rayal("config", "show", str(COD), "--set", "scheme.epoch=5")

    assert (2, "") == (shown.code, shown.out)
    assert "did you mean 'epochs'?" in shown.err
