"""The fastest batch of a scoring pass within a memory limit, measured on one worker."""

import resource
from time import perf_counter

import numpy as np
import torch

from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.data.pool import Decoded
from rayal.errors import OUT, UsageError
from rayal.runs.passes import FastestBatch
from rayal.storage.folder import Json

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
GAIN = 1.05
"""A batch twice as large must be this much faster to be worth its memory."""
SECONDS = 0.5
"""How long each size is measured, at least twice; no longer than the pass itself takes with it."""


def fastest_batch(job: ScoreJob, device: str, limit: int, images: int) -> FastestBatch:
    """The batch of this job that scores the most images per second, for a pass of so many.

    Larger sizes are tried, up to the job's own, while they fit `limit` bytes beside the models and
    twice in a row bring a gain. The choice is made once for a pass: scores depend on the batch in
    their last bits. Raises UsageError where not even the smallest fits.
    """
    scorer = Scorer(job, device)
    sizes = sorted({min(size, job.batch) for size in SIZES})
    tried: list[Json] = []
    best, idle = 0, 0
    for size in sizes:
        try:
            scorer.job = job.with_batch(size)
            rate, used = _measured(scorer, size, images)
        except torch.OutOfMemoryError:
            break
        if used > limit:
            break
        tried.append({"batch": size, "images_per_second": rate, "bytes": used})
        if len(tried) == 1 or rate > GAIN * tried[best]["images_per_second"]:
            best, idle = len(tried) - 1, 0
        elif (idle := idle + 1) == 2:
            break
    if not tried:
        raise UsageError(
            f"{sizes[0]} images do not fit compute.batch_bytes, {limit}; raise it, or set batch and"
            f" another {OUT}"
        )
    return FastestBatch(batch=tried[best]["batch"], tried=tuple(tried))


def _measured(scorer: Scorer, size: int, most: int) -> tuple[float, int]:
    """Images per second, and bytes beside the models, of batches of grey noise; of about `most`
    images, or two batches."""
    image = scorer.job.card.image
    noise = np.random.default_rng(0).random((size, *image.shape), np.float32)
    images = (noise * image.scale).astype(image.numbers)
    decoded = Decoded([str(number) for number in range(size)], images, {})
    before = _peak(scorer.device, reset=True)
    scorer.computed(decoded)
    done, started = 0, perf_counter()
    while done < 2 * size or (done < most and perf_counter() - started < SECONDS):
        scorer.computed(decoded)
        done += size
    seconds = perf_counter() - started
    return done / seconds, _peak(scorer.device) - before


def _peak(device: torch.device, reset: bool = False) -> int:
    """The most bytes ever in use: of the GPU since the last reset, of this process since its start,
    so that on a CPU only what exceeds smaller batches is seen."""
    if device.type != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if reset:
        torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.max_memory_allocated(device)
