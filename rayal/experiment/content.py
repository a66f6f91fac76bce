"""What files hold, in place of their names: as an experiment is told from another by it."""

import os
from hashlib import sha256
from pathlib import Path

from rayal.data.walk import Disk, LeftOut, walk
from rayal.storage.folder import Folder


def content(location: str) -> str:
    """The sha256 of a file, by absolute path or URL; of a local folder that of the images below, by
    their paths: of what `labeled` is read from, and not of what else a system leaves there."""
    if os.path.isdir(location):
        found = walk(Disk(Path(location), follow_links=True), "", LeftOut())
        names = [(file.path, content(f"{location}/{file.path}")) for file in found]
        return sha256(repr(names).encode()).hexdigest()
    folder, _, name = location.rpartition("/")
    return sha256(Folder(folder or "/").read(name)).hexdigest()
