"""Where the work of a run is done, and with how much of a machine."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from rayal.parts import Contradiction
from rayal.settings import Settings


class Compute(Settings):
    """Where the work runs and with how much of the machine."""

    engine: Literal["ray", "local"] = "ray"
    """What does the work. `ray`: Ray Train and Ray Data; `local`: this process alone."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What networks run on: `auto` takes a GPU where the cluster has one."""
    train_workers: PositiveInt = 1
    """Processes that train one model together; changes results: batch norm sees smaller batches."""
    cpus_per_worker: PositiveInt | None = None
    """CPU cores, and so torch threads, of a training worker; null: its share of a node."""
    scorers: PositiveInt | None = None
    """Processes that score; null: one per GPU, or per core."""
    score_batch: PositiveInt = 256
    """Images in one forward pass of a scorer."""
    shard_rows: PositiveInt = 2048
    """Least images in one shard, the unit of work and of resuming of the scoring pass."""
    resident_bytes: NonNegativeInt = 4 * 2**30
    """A labeled set up to this size (bytes, as stored) stays on the training device; so does what a
    scheme, or a fit, sees of the unlabeled pool."""
    select_bytes: NonNegativeInt = 4 * 2**30
    """What a pass kept of a pool up to this size (bytes, as float16) one process selects from, in
    files on its disk; beyond it, on Ray, all machines that have memory for it. The same picks."""
    compile: bool = False
    """Whether `torch.compile` makes the networks of a training, its teacher too, into kernels of
    their own; changes the last bits. Compiling takes time in every training, and on a CPU a C++
    compiler."""
    overlap: bool = False
    """Whether a GPU makes unlabeled images ready, and asks a teacher about them, in streams beside
    that of the training. The same numbers."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Least time between two checkpoints inside one training (seconds)."""
    max_failures: NonNegativeInt = 3
    """Times that a training or a scoring pass is started again after a worker died."""

    def contradictions(self) -> Iterator[Contradiction]:
        """What one process cannot do."""
        if self.engine == "local" and self.train_workers > 1:
            yield Contradiction(
                ("compute", "train_workers"),
                f"{self.train_workers}, but compute.engine local is one process; use 1, or"
                " compute.engine ray",
            )
