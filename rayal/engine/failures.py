"""What goes wrong on a worker, as an error of rayal's own: one line with the cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)

from rayal import errors
from rayal.blame import BATCHES
from rayal.errors import OUT, ClusterError, RayalError
from rayal.storage.folder import Json

GOES_ON = "the same command goes on where it stopped"


def raised(result: Json) -> Json:
    """The result of a worker; raises the error that it describes instead."""
    if "error" in result:
        raise getattr(errors, result["error"])(result["message"])
    return result


@contextmanager
def ray_errors(what: str) -> Iterator[None]:
    """Ray's own errors while `what` was under way, as ClusterError; those of rayal unchanged."""
    try:
        yield
    except RayTaskError as error:
        raise raised_by(error, what) from error
    except OutOfMemoryError as error:
        raise ClusterError(
            f"{what} ran out of memory; lower compute.shard_rows or {BATCHES}, and use another"
            f" {OUT}"
        ) from error
    except (OutOfDiskError, ObjectStoreFullError) as error:
        raise ClusterError(
            f"{what} found no room for what Ray keeps: its shared memory is full, so is the disk"
            " behind it; free the disk of Ray's temporary folder (RAY_TMPDIR, else /tmp/ray), or"
            f" lower compute.shard_rows and use another {OUT}"
        ) from error
    except RayError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(f"{what} failed: {reason[-1]}; {GOES_ON}") from error


def first_done(what: str, references: list[Any], patience: float) -> Any:
    """The first of these that is done; ClusterError where none is for `patience` seconds."""
    done, _ = ray.wait(references, timeout=patience)
    if not done:
        raise ClusterError(
            f"{what} stands still: nothing was done in {patience / 60:.0f} minutes; see"
            " `ray status`"
        )
    return done[0]


def raised_by(error: RayTaskError, what: str) -> RayalError:
    """The error that a task raised."""
    cause = error.cause
    if isinstance(cause, RayalError):
        return type(cause)(str(cause))
    return ClusterError(f"{what} failed: {type(cause).__name__}: {cause}")
