"""Images that a table or a list of others names: inside of their folder, whatever a name says.

All raise DataError with the reason alone; whoever has the row adds where it is.
"""

import os
from pathlib import Path

from rayal.data import uri
from rayal.errors import DataError


def located(root: Path, name: str) -> str:
    """Where a file of a dataset is that its options name: below root, or where it says."""
    return name if "://" in name else os.path.join(root, name)


class NamedFiles:
    """The files below a root, by names that somebody else wrote."""

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root, self.follow_links = root, follow_links
        self._real = os.path.realpath(root)

    def path(self, folder: str, name: str) -> str:
        """The path below root of what is called `name` in a folder, "" for root; it need not be
        there. A backslash separates folders, as on Windows, unless a file is really called so.

        Refuses a name that leads out of root, by itself or by a link.
        """
        _check_sign(name)
        if "\\" in name and os.path.isfile(self.root / folder / name):
            path = _below(folder, name)
        else:
            path = _below(folder, name.replace("\\", "/"))
        if not self.follow_links and not self._holds(f"{self.root}/{path}"):
            raise DataError(
                f"is a link out of {self.root}; copy the file there, or set dataset.follow_links:"
                " true"
            )
        return path

    def _holds(self, path: str) -> bool:
        return os.path.commonpath([self._real, os.path.realpath(path)]) == self._real


class Place:
    """Where the images of a list are."""

    def __init__(self, root: Path, folder: str | None, follow_links: bool = False) -> None:
        """`folder` is below root, absolute, or a URL; None: each image has an address of its
        own."""
        self.folder = folder
        self.far = folder is None or "://" in folder
        """Whether images are named by addresses."""
        absolute = folder is not None and os.path.isabs(folder)
        self._inside = "" if self.far or absolute else str(folder)
        self._files = NamedFiles(Path(str(folder)) if absolute else root, follow_links)

    def of(self, name: str, address: str | None) -> tuple[str, str]:
        """Id and address of an image: its path below root (or the absolute folder) and where that
        is; of one that is far the address is both."""
        if self.folder is None:
            try:
                return (uri.checked(address or name),) * 2
            except DataError as error:
                raise DataError(
                    f"{error}; or fetch the images and set dataset.images to their folder"
                ) from error
        if self.far:
            _check_sign(name)
            return (uri.checked(f"{self.folder.rstrip('/')}/{_below('', name)}"),) * 2
        path = self._files.path(self._inside, name)
        return path, f"{self._files.root}/{path}"


def _below(folder: str, name: str) -> str:
    if "://" in name or os.path.isabs(name):
        raise DataError("is no path below its folder; write one that is")
    path = os.path.normpath(f"{folder}/{name}" if folder else name)
    if path == ".." or path.startswith("../"):
        raise DataError("leads out of the dataset's folder; move the file into it")
    return path


def _check_sign(name: str) -> None:
    """Refuses what no system takes for a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = "\0"
    if "\0" in name:
        raise DataError("is no name of a file; correct it")
