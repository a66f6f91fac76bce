"""The house: which package may import which, who may talk to Ray, and what must stay light."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import rayal
from rayal.parts import PACKAGES

ROOT = Path(rayal.__file__).parent

ORDER = (
    "rayal errors secrets blame plugins settings location parts randomness storage data models"
    " labeling selection training signals strategies runs forecasting experiment cycle engine"
    " testing report workflows api cli __main__"
).split()
"""Each imports only what stands before it."""

ONLY = {"ray": "rayal.engine", "mlflow": "rayal.runs.trackers"}
"""Libraries that only these packages may import."""

THIN = ("rayal.workflows", "rayal.engine", "rayal.report")
"""What the command line reaches through the Python API alone: a verb can do nothing that Python
cannot."""
DISPLAY = {
    "rayal.report.amounts",  # how long something takes, in words
}
"""What of these it may use to show something."""

LIGHT = (
    "rayal rayal.cli rayal.experiment.config rayal.errors rayal.parts rayal.storage.folder".split()
)
HEAVY = {"torch", "torchvision", "ray", "mlflow", "matplotlib", "scipy", "sklearn", "pyarrow"}

STARTED = "rayal.workflows.run rayal.workflows.sweep.trial rayal.cycle.engine".split()
"""What a process that runs or works for a run imports before anything else."""
LATER = {"matplotlib", "scipy.stats", "scipy.optimize", "sklearn", "pandas", "mlflow", "ray"}


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of rayal."""
    files = sorted(ROOT.rglob("*.py"))
    names = [".".join(("rayal", *file.relative_to(ROOT).with_suffix("").parts)) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


def imports(file: Path, own: set[str]) -> set[str]:
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
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & own or {node.module}
    return found


@cache
def all_imports() -> dict[str, set[str]]:
    """Of every module of rayal; not read while tests are collected."""
    files = modules()
    return {name: imports(file, set(files)) for name, file in files.items()}


@cache
def own_imports() -> dict[str, set[str]]:
    """Those of them that are rayal's."""
    found = all_imports()
    return {name: targets & set(found) for name, targets in found.items()}


def room(module: str) -> str:
    """`strategies` for rayal.strategies.cod, `rayal` for itself."""
    return module.split(".")[1] if "." in module else module


def kind(module: str) -> str | None:
    """The kind of parts that a module's folder holds, if any."""
    return next((k for k, p in PACKAGES.items() if module.startswith(f"{p}.")), None)


def test_imports_go_down() -> None:
    """An upward import would tie a contract to one of the things built on it; a strategy that
    imports a model would work with that model only; and a circle has no bottom."""
    place = {name: rank for rank, name in enumerate(ORDER)}
    own = own_imports()
    edges = [(name, target) for name, targets in own.items() for target in sorted(targets)]

    assert set(ORDER) == {room(name) for name in own}
    assert [] == [edge for edge in edges if place[room(edge[0])] < place[room(edge[1])]]
    assert [] == [
        (name, target)
        for name, target in edges
        if kind(name) and kind(target) not in (None, kind(name)) and not target.endswith(".base")
    ]
    TopologicalSorter({name: targets - {name} for name, targets in own.items()}).prepare()


def test_ray_and_mlflow_stay_in_their_places() -> None:
    """Elsewhere they would make rayal untestable without a cluster or a server."""
    assert [] == [
        (name, library)
        for name, targets in all_imports().items()
        for library in {target.split(".")[0] for target in targets} & set(ONLY)
        if not name.startswith(ONLY[library])
    ]


def test_the_command_line_is_thin() -> None:
    """Something would work on a terminal and not in a notebook, or otherwise."""
    own = own_imports()
    edges = [(name, target) for name in own if room(name) == "cli" for target in own[name]]

    assert edges and [] == [
        (name, target)
        for name, target in edges
        if target.startswith(THIN) and target not in DISPLAY
    ]


def test_light_modules_stay_light() -> None:
    """`rayal --help` and a typo in a file must answer at once; torch alone takes seconds."""
    code = f"import sys, {', '.join(LIGHT)}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ("", "\n") == (result.stderr, result.stdout)


def test_processes_of_runs_import_what_they_need() -> None:
    """Each process of a sweep imported what draws reports, a second before its first trial."""
    code = f"import sys, {', '.join(STARTED)}; print(*sorted({LATER!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ("", "\n") == (result.stderr, result.stdout)
