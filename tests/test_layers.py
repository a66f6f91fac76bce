"""The layering: what may import what, and what must stay light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rayal

ROOT = Path(rayal.__file__).parent

LAYERS = {
    0: "rayal document errors images machine parts randomness spreadsheet storage",
    1: (
        "atomic augment budget card class_statistics clicks committee companion dataset"
        " dense_network discriminator distances dropout experiment feature_file foreign_weights"
        " gradients greedy ids journal knapsack ledger listing lock market masks model model_card"
        " oracle parquet_columns pass_record pixel_strategy pixels policy polygons pool prepare"
        " record region_strategy regions scheme segmentation_dataset selection signals source store"
        " store_writer strategy survey task teacher tracker upload uri windows"
    ),
    2: "datasets models oracles schemes strategies tasks trackers",
    3: (
        "batch_size checkpoint checks choosing config evaluation feed loop own_choice plan"
        " planned_cycles pool_scoring probe ranking report scorer scores scoring selecting sweep"
        " training training_images"
    ),
    4: "engine",
    5: "__main__ cli console session sweeping",
}
LAYER = {unit: layer for layer, units in LAYERS.items() for unit in units.split()}
PARTS = set(LAYERS[2].split())

ALLOWED = {"ray": {"engine"}, "mlflow": {"trackers"}}
"""Packages that only these units may import."""

LIGHT = ("rayal.cli", "rayal.config", "rayal.errors", "rayal.parts", "rayal.storage")
HEAVY = {"torch", "torchvision", "ray", "mlflow", "matplotlib", "scipy", "sklearn", "pyarrow"}


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of rayal."""
    files = sorted(ROOT.rglob("*.py"))
    names = [".".join(("rayal", *file.relative_to(ROOT).with_suffix("").parts)) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


def unit(module: str) -> str:
    """`config` for rayal.config, `strategies` for rayal.strategies.cod, `rayal` for itself."""
    return module.split(".")[1] if "." in module else module


def imports(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it, but not for type checkers alone."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file}: relative import"
            found |= {_target(node.module, alias.name) for alias in node.names}
    return found


def _target(module: str, name: str) -> str:
    """`rayal.document` for `from rayal import document`, else the module named."""
    inner = f"{module}.{name}"
    return inner if inner in modules() else module


IMPORTS = {name: imports(file) for name, file in modules().items()}
OWN_IMPORTS = {
    name: {target for target in targets if target.split(".")[0] == "rayal"}
    for name, targets in IMPORTS.items()
}


def test_every_module_has_a_layer() -> None:
    """A new file must be put into the table above before anything may import it."""
    unlisted = {unit(name) for name in modules()} - LAYER.keys()
    absent = LAYER.keys() - {unit(name) for name in modules()}

    assert set() == unlisted
    assert set() == absent


@pytest.mark.parametrize("name", IMPORTS)
def test_imports_go_down(name: str) -> None:
    """An upward import would tie a contract to one of the things built on it."""
    upward = {t for t in OWN_IMPORTS[name] if LAYER.get(unit(t), 0) > LAYER.get(unit(name), 0)}

    assert set() == upward


@pytest.mark.parametrize("name", [name for name in IMPORTS if unit(name) in PARTS])
def test_folders_of_parts_do_not_know_each_other(name: str) -> None:
    """A strategy that imports a model would work with that model only."""
    others = {t for t in OWN_IMPORTS[name] if unit(t) in PARTS - {unit(name)}}

    assert set() == others


def test_no_import_cycles() -> None:
    """Within a layer imports are allowed, in one direction; prepare() raises for a circle."""
    graph = {name: targets - {name} for name, targets in OWN_IMPORTS.items()}

    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", IMPORTS)
def test_ray_and_mlflow_stay_in_their_places(name: str) -> None:
    """Elsewhere they would make rayal untestable without a cluster or a server."""
    packages = {target.split(".")[0] for target in IMPORTS[name]}

    for package, places in ALLOWED.items():
        assert package not in packages or unit(name) in places


@pytest.mark.parametrize("name", [name for name in LIGHT if name in modules()])
def test_light_modules_stay_light(name: str) -> None:
    """`rayal --help` and a typo in a file must answer at once; torch alone takes seconds."""
    code = f"import sys, {name}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ("", "\n") == (result.stderr, result.stdout)
