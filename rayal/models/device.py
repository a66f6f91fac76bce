"""What a GPU is told without being waited for: copies to it, and a second stream of work on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, most often from the CPU; there it is the same.

    To a GPU out of memory that is pinned, for a copy out of any other waits until the GPU has done
    all that it was given before: at every step, if a step makes one.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Beside:
    """A stream of a GPU beside the one on which a training runs: work that may overlap with it.

    On a CPU, and where it is not `wanted`, the work is done in its turn. The numbers are the same.
    """

    def __init__(self, device: torch.device | None = None, *, wanted: bool = False) -> None:
        on_gpu = wanted and device is not None and device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self.follow()

    def follow(self) -> None:
        """What comes in `work` needs what was begun so far, and nothing of what comes after."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))

    @contextmanager
    def work(self) -> Iterator[None]:
        """What is begun inside runs beside; `joined` has to be called with all that comes of it."""
        if self.stream is None:
            yield
            return
        with torch.cuda.stream(self.stream):
            yield

    def joined(self, result: Tensor) -> Tensor:
        """The result, for the training's own stream, which waits for it; the process does not."""
        if self.stream is not None:
            own = torch.cuda.current_stream(self.stream.device)
            own.wait_stream(self.stream)
            result.record_stream(own)  # its memory is free when that stream has done with it
        return result
