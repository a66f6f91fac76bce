"""What a job takes along, in one archive: the files of a project, and this rayal.

Only code and configuration travel. Data is named by a path or URL that the cluster sees, and
secrets are in the environment of its machines.
"""

import importlib.metadata
import json
import logging
import os
import re
import site
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pathspec import GitIgnoreSpec

import rayal
from rayal import secrets
from rayal.errors import UsageError
from rayal.storage.failures import storage_errors

logger = logging.getLogger(__name__)

MAX_BYTES = 100 * 2**20  # Ray's job server refuses larger requests, after all has been sent
MAX_FILES = 20_000  # more is a home folder, or a data set of many images
LARGEST = 5  # entries that a message names

HARMLESS = frozenset({"rayal", "test", "tests", "docs", "examples", "scripts", "benchmarks"})
"""Modules that nothing misses where a project has one of the name; this rayal travels itself."""

STAYS = """
.git
.hg
.svn
.venv
venv
node_modules
__pycache__
*.pyc
.*_cache
.cache

mlruns
mlflow.db*
wandb
.ipynb_checkpoints
*.egg-info

*.safetensors
*.pt
*.pth
*.ckpt
*.npy
*.npz
*.parquet

.env
.env.*
.netrc
.ssh
.aws
.kube
auth_token
*.pem
*.key
id_rsa*
id_ed25519*
.git-credentials
.pypirc
*credentials.json

/data
/runs
/report
"""
"""What never travels, as a .gitignore would say it: history, environments, caches, results, weights
and data, and where secrets are usually kept. The last ones only at the top: further down such a
name is more likely a module."""
_SPEC = GitIgnoreSpec.from_lines(STAYS.splitlines())


def files(folder: Path) -> dict[str, Path]:
    """Name in the archive -> file, for the files of a folder that a job may take along.

    In a git repository those that git would commit, elsewhere all; links are followed only to files
    inside. Raises UsageError where they are too many or too large, before any is read.
    """
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"--working-dir {folder}: there is no such folder")
    found: dict[str, Path] = {}
    with storage_errors(str(root)):
        for name in _of_git(root) or _below(root):
            file = Path(os.path.realpath(root / name))
            if _stays(name):
                continue
            if not file.is_relative_to(root):
                logger.warning("%s leads out of %s; it is not sent", name, folder)
            elif file.is_file() and not _stays(str(file.relative_to(root))):
                found[name] = file
            if len(found) > MAX_FILES:
                raise UsageError(
                    f"--working-dir {folder} has more than {MAX_FILES} files to send; take the"
                    " folder of your code, and name data by its path"
                )
        _refuse_large(folder, found)
    return found


def refuse_hiding(folder: Path, project: Mapping[str, Path]) -> None:
    """Raises UsageError for files at the top that hide a module of Python's or of a package that is
    installed here: in a job the folder comes first, and Ray's own processes would not start."""
    root, hiding = folder.expanduser().resolve(), list[str]()
    for name in project:
        top, slash, rest = name.partition("/")
        module = top if slash else Path(top).stem
        is_module = rest == "__init__.py" or (not slash and Path(top).suffix in (".py", ".so"))
        if not is_module or module in HARMLESS:
            continue
        if module in sys.stdlib_module_names:
            hiding.append(f"{name} hides Python's own {module!r}")
        elif _installed(module, root):
            hiding.append(f"{name} hides the installed package {module!r}")
    if hiding:
        shown = "; ".join(hiding[:LARGEST])
        raise UsageError(
            f"--working-dir {folder}: {shown}: the job would never start; rename them, or send"
            " another folder with --working-dir"
        )


def _installed(module: str, root: Path) -> bool:
    """Whether this Python has the module where packages are installed, unless it came from this
    project; what PYTHONPATH leads to, or an editable installation, may be a project's own."""
    places = [*site.getsitepackages(), site.getusersitepackages()]
    others = [place for place in places if Path(place).resolve() != root]
    if PathFinder.find_spec(module, others) is None:
        return False
    names = importlib.metadata.packages_distributions().get(module, [])
    return not any(_made_from(importlib.metadata.distribution(name), root) for name in names)


def _made_from(installed: importlib.metadata.Distribution, root: Path) -> bool:
    """Whether `pip install` was given this folder, or one that it lies in."""
    url = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    path = url.removeprefix("file://")
    return path != url and Path(unquote(path)).resolve() in (root, *root.parents)


def pack(archive: Path, project: Mapping[str, Path], texts: Mapping[str, str]) -> None:
    """Write a zip archive of the project, with these texts as files and this very rayal on top.

    The same content is the same bytes, so a cluster that has it is not sent it again.
    """
    package = Path(rayal.__file__).parent
    ours = {name: package.parent / name for name in _below(package, "rayal/")}
    if "rayal/__init__.py" in project:  # another rayal
        project = {name: file for name, file in project.items() if not name.startswith("rayal/")}
    with storage_errors(str(archive)), zipfile.ZipFile(archive, "w") as out:
        for name, file in sorted({**project, **ours}.items()):
            if name not in texts:
                with storage_errors(str(file)):
                    out.writestr(_entry(name), file.read_bytes())
        for name, text in sorted(texts.items()):
            out.writestr(_entry(name), text.encode())


def environment(assignments: Sequence[str]) -> dict[str, str]:
    """Variables from `NAME=value` words; raises UsageError for what could be a secret."""
    variables, problems = {}, []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            problems.append(f"--env {name}: expected NAME=value")
        elif secrets.named(name):
            problems.append(f"--env {name}: {_way_out('looks like a secret')}")
        elif secrets.holds(value):
            problems.append(f"--env {name}: {_way_out('holds a secret')}")
        variables[name] = value
    if problems:
        raise UsageError.of(problems, where="--env")
    return variables


def refuse_secrets(fields: Mapping[str, Any]) -> None:
    """Raises UsageError with the keys of all texts that hold a secret."""
    held = [key for key, value in scalars(fields) if secrets.holds(str(value))]
    if held:
        problems = [f"{key}: {_way_out('holds a secret')}" for key in held]
        raise UsageError.of(problems, where="what would be sent")


def scalars(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values inside, each under a key such as `dataset.root`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from scalars(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from scalars(inner, f"{at}.{number}")
    else:
        yield at, value


def _way_out(problem: str) -> str:
    return (
        f"{problem}, which everybody could read who sees the job; set it in the environment of the"
        " cluster's machines (on Kubernetes, from a Secret)"
    )


def _of_git(root: Path) -> list[str]:
    """What git would commit of the folder; nothing where it is in no repository."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return sorted(set(os.fsdecode(done.stdout).split("\0")) - {""})


def _below(folder: Path, at: str = "") -> Iterator[str]:
    """All files, under names that begin with `at`, without entering folders that stay."""
    for path in sorted(folder.iterdir()):
        name = f"{at}{path.name}"
        if _stays(name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _below(path, f"{name}/")
        else:
            yield name


def _stays(name: str) -> bool:
    return _SPEC.match_file(name)


def _refuse_large(folder: Path, found: Mapping[str, Path]) -> None:
    sizes = {name: file.stat().st_size for name, file in found.items()}
    total = sum(sizes.values())
    if total <= MAX_BYTES:
        return
    entries = Counter[str]()
    for name, size in sizes.items():
        entries["/".join(name.split("/")[:2])] += size
    largest = ", ".join(f"{name} {_mb(size)}" for name, size in entries.most_common(LARGEST))
    raise UsageError(
        f"--working-dir {folder} has {_mb(total)} to send, more than {_mb(MAX_BYTES)}; the largest:"
        f" {largest}; keep data elsewhere and name it by its path, or take the folder of your code"
    )


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"


def _entry(name: str) -> zipfile.ZipInfo:
    name = name.encode(errors="replace").decode()  # a name of no encoding, too
    entry = zipfile.ZipInfo(name)  # of 1980, whenever it is packed
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
