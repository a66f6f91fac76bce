"""A user's own parts: code outside rayal, which runs only if the user allows its package."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from rayal import blame
from rayal.errors import UsageError


class Plugins(frozenset[str]):
    """Packages whose parts a configuration may name: `Plugins(["my_pkg"])`.

    The command line says them, or a caller in Python, never a file. They go to whatever builds
    parts from names: to pydantic as the context of a validation, to the trials of a sweep with
    their work. A part that is built already needs no permission any more, nor does a copy of it.
    Raises UsageError for a bare text, which would be a package for each of its letters.
    """

    def __new__(cls, packages: Iterable[str] = ()) -> "Plugins":
        if isinstance(packages, str):
            raise UsageError(f"plugins: {packages!r} is no list of packages; write [{packages!r}]")
        return super().__new__(cls, packages)

    def check(self) -> None:
        """Raises UsageError for what is no package or module that can be found here."""
        for name in sorted(self):
            if "." in name:
                top = name.partition(".")[0]
                raise UsageError(
                    f"plugins: {name!r} lies in a package; give the package, {top!r}, which allows"
                    " all that is in it"
                )
            if not _is_there(name):
                raise UsageError(
                    f"plugins: there is no module named {name!r}, neither installed nor in"
                    f" {os.getcwd()}; correct the name, or start where it lies"
                )

    def module(self, name: str) -> ModuleType:
        """The module of this name. Raises UsageError where it is no dotted name or its package is
        not among these, and for whatever its import raises."""
        package = name.split(".", 1)[0]
        if not all(word.isidentifier() for word in name.split(".")):
            raise UsageError(f"{name!r} is not the name of a module; write package.module")
        if package not in self:
            self.check()  # a mistake in a name is why it is not
            raise UsageError(
                f"{name!r} is code outside rayal; allow it on the command line: --plugins"
                f" {package}; in Python: plugins=[{package!r}], or give rayal.Experiment an"
                " instance of the part"
            )
        try:
            return importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # code of others may raise anything, SystemExit too
            raise UsageError(_not_imported(name, package, error)) from error


def _not_imported(name: str, package: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}:{error.lineno})"
        problem = f"{type(error).__name__}: {error.msg}"
    else:
        found = blame.place(error, [package])
        where, problem = f" ({found[1]})" if found else "", blame.told(error)
    return f"plugin {name!r} cannot be imported: {problem}{where}"


def _is_there(name: str) -> bool:
    """Whether there is a module of this name; it is not imported for that."""
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


NO_PLUGINS = Plugins()


def source_digest(package: str) -> str | None:
    """sha256 of the Python files of a package, or of a module that is a single file.

    None where there is no such file: of a notebook, or of what is not installed here.
    """
    digest, found = hashlib.sha256(), False
    for root, file in _sources(package):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
        found = True
    return digest.hexdigest() if found else None


def class_digest(kind: type) -> str | None:
    """sha256 of the methods of a class whose module need not be a file, such as a notebook's.

    None where their source was not kept.
    """
    digest, found = hashlib.sha256(), False
    for name, value in sorted(vars(kind).items()):
        method = getattr(value, "__func__", value)
        if inspect.isfunction(method) and method.__module__ == kind.__module__:
            with suppress(OSError, TypeError):
                digest.update(f"{name}\0{inspect.getsource(method)}\0".encode())
                found = True
    return digest.hexdigest() if found else None


def _sources(package: str) -> Iterator[tuple[Path, Path]]:
    """Each file, and the folder that its name is relative to."""
    module = sys.modules.get(package)
    try:
        spec = None if module else importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    places = getattr(module, "__path__", None) or (spec and spec.submodule_search_locations)
    file = getattr(module, "__file__", None) or (spec and spec.origin)
    if places:
        for root in map(Path, places):
            yield from ((root, each) for each in sorted(root.rglob("*.py")) if each.is_file())
    elif file and Path(file).is_file():
        yield Path(file).parent, Path(file)
