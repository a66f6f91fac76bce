"""What `make dist` builds works where this repository is not."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import rayal

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "rayal", "tests")
BUILD = """
from setuptools import build_meta
print(build_meta.build_sdist("dist"))
print(build_meta.build_wheel("dist"))
"""
START = """
import sys
sys.path[:0] = sys.argv[1:3]  # neither the repository nor how it is installed here
import rayal
assert rayal.__file__.startswith(sys.argv[1]), rayal.__file__
"""
COMMANDS = """
from rayal.cli import app
for line in sys.argv[3:]:
    app(line.split(), prog_name="rayal", standalone_mode=False)
"""
MAIN = """
from rayal.cli import main
del sys.argv[1:3]
main()
"""
SHORT = "--set scheme.epochs=1 --set budget.total=100 --set tracking=none"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist and a wheel, built without a network, of a copy: builds leave files behind."""
    copy = tmp_path_factory.mktemp("copy")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "-c", BUILD]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy / "dist"


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is unpacked in, which for one of Python alone is to install it."""
    target = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(installed: Path, folder: Path, code: str, *words: str) -> str:
    """What a program prints in this folder, with the installed rayal and the packages here; -S
    leaves out links that lead to the repository."""
    packages = sysconfig.get_path("purelib")
    command = [sys.executable, "-I", "-S", "-c", START + code, str(installed), packages, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_is_in_the_wheel(installed: Path) -> None:
    """A command would miss a file of its own, and type checkers would take rayal for untyped."""
    ours = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "rayal").rglob("*")
        if file.suffix in (".py", ".yaml", ".typed") and "__pycache__" not in file.parts
    }
    found = {file.relative_to(installed).as_posix() for file in installed.rglob("*.*")}

    assert {"rayal/py.typed", "rayal/examples/digits.yaml"} <= ours
    assert ours <= found
    assert {"rayal", f"rayal-{rayal.__version__}.dist-info"} == set(os.listdir(installed))


def test_metadata(installed: Path) -> None:
    """pip would install it for other Pythons, or without its command."""
    folder = installed / f"rayal-{rayal.__version__}.dist-info"
    lines = (folder / "METADATA").read_text().splitlines()

    assert {"License-Expression: MIT", "Requires-Python: <3.14,>=3.11"} <= set(lines)
    assert "rayal = rayal.cli:command" in (folder / "entry_points.txt").read_text()
    assert (ROOT / "LICENSE").read_text() == (folder / "licenses" / "LICENSE").read_text()


def test_the_sdist_is_what_is_built(dist: Path, tmp_path: Path) -> None:
    """It would bring tests that need what is not in it."""
    (archive,) = dist.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()

    assert {"rayal", "pyproject.toml", "README.md", "LICENSE"} <= set(os.listdir(folder))
    assert set() == {"tests", "configs", "jobs", "docs"} & set(os.listdir(folder))


def test_it_answers(installed: Path, tmp_path: Path) -> None:
    """The first words of a newcomer."""
    assert f"rayal {rayal.__version__}\n" == run(installed, tmp_path, MAIN, "--version")
    assert "demo" in run(installed, tmp_path, MAIN, "--help")


def test_the_first_commands(installed: Path, tmp_path: Path) -> None:
    """Whoever has installed it and has no repository could not begin."""
    from tests.workflows.test_init import photos

    photos(tmp_path / "photos")
    demo = f"demo --set compute.engine=local --set compute.cpus_per_worker=1 {SHORT}"
    begin = ("init first --data image_folder --root photos", "plan first.yaml --no-probe")
    told = run(installed, tmp_path, COMMANDS, *begin, demo, demo)

    assert "rayal plan first.yaml" in told
    assert 2 == told.count("runs/digits/cod-supervised-seed0/curve.png")
    assert ["digits"] == os.listdir(tmp_path / "runs")
    assert {"first.yaml", "photos", "runs"} <= set(os.listdir(tmp_path))


@pytest.mark.slow
def test_in_an_empty_environment(dist: Path, tmp_path: Path) -> None:
    """All that it needs is what pip installs with it; takes minutes and gigabytes."""
    (wheel,) = dist.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", wheel], check=True, cwd=tmp_path)

    def rayal_says(*words: str) -> str:
        done = subprocess.run(
            [python.with_name("rayal"), *words],
            cwd=tmp_path,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert f"rayal {rayal.__version__}\n" == rayal_says("--version")
    assert "run folder" in (told := rayal_says("demo")) and "cycle 5: 300 labels" in told
    assert "complete already" in rayal_says("demo")
