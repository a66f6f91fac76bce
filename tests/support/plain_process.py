"""In place of a process that scores, which would import torch first."""

import os
from pathlib import Path

from rayal.errors import DataError


class PlainProcess:
    """Says who it is, fails or dies."""

    def __init__(self, device: str) -> None:
        self.device = device

    def who(self) -> int:
        return os.getpid()

    def fail(self) -> None:
        raise DataError("unit 'u7' cannot be scored")

    def die(self, marker: str, times: int) -> int:
        """Ends its process the first so many times."""
        died = Path(marker).read_text().count("x") if Path(marker).exists() else 0
        if died < times:
            Path(marker).write_text("x" * (died + 1))
            os._exit(1)
        return os.getpid()
