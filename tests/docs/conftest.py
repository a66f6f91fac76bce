"""The modules that make pages, and the site as `make docs` builds it."""

import os
import sys
from pathlib import Path

import pytest

from tests.support import forks
from tests.support.copied_command import CopiedCommand, module

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "generate"))  # as for mkdocs, of which they are hooks


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site. A page that is not linked, a link into nothing, a docstring
    that cannot be read: each is a warning, and so the end of the build."""
    folder = tmp_path_factory.mktemp("site")
    words = ("mkdocs", "build", "--strict", "--site-dir", folder)
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    process = CopiedCommand(words, ROOT, environment, work=module)
    err = process.communicate(timeout=forks.SECONDS)[1]
    assert process.returncode == 0, err
    return folder
