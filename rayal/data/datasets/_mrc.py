"""Volumes in MRC files, the format of electron microscopes: read whole, hostile bytes refused.

An array in a file is Z Y X; here it is D H W = X Y Z, as the cryo-ET recipe of aitom has it. 8- and
16-bit whole numbers and 16-bit floats become float32, which holds each of them exactly; complex
numbers and stacks are refused. What the header says of axes, origin and voxel size is not used.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rayal.data.bad_image import BadImage
from rayal.data.images import Volume
from rayal.errors import UsageError, quoted


def sides_of(path: str) -> tuple[int, ...]:
    """D H W by the header alone, one kilobyte of a file; raises BadImage where it is no MRC file,
    or ends before its last number."""
    with _refused():
        _check_extended(path)  # it is read with the header
    with _refused(), _opened(path, header_only=True) as file:
        header, size = file.header, Path(path).stat().st_size
        sides = int(header.nx), int(header.ny), int(header.nz)
        if min(sides) < 1:
            raise BadImage(f"has {sides} numbers along its sides")
        least = header.nbytes + int(header.nsymbt) + np.prod(sides, dtype=float)
        if size < least:  # of numbers of one byte; whoever reads it says what is missing exactly
            raise BadImage(f"{size:,} bytes do not hold {sides} numbers: it was cut off")
    return sides


def read_volume(path: str) -> Volume:
    """The numbers, C D H W with one channel; raises BadImage as `sides_of`, and for kinds of
    numbers that have no float32."""
    sides_of(path)  # so that no header asks for more memory than its file has bytes
    with _refused(), _opened(path) as file:
        data = file.data
        if data.ndim != 3:
            raise BadImage(f"is a stack of shape {data.shape}")
        if data.dtype.kind not in "iuf":
            raise BadImage(f"holds {data.dtype} numbers")
        volume: Volume = np.ascontiguousarray(data.transpose(2, 1, 0)[None], dtype=np.float32)
    return volume


def _check_extended(path: str) -> None:
    """Raises BadImage where the header says that more follows it than the file has: whoever reads
    the header with what follows would take that much memory first."""
    mrcfile, size = _mrcfile(), Path(path).stat().st_size
    kind = mrcfile.dtypes.HEADER_DTYPE
    with Path(path).open("rb") as file:
        data = file.read(kind.itemsize)
    if len(data) < kind.itemsize:
        raise BadImage(f"{size:,} bytes are no whole header")
    stamp = np.frombuffer(data, kind)["machst"][0]
    order = mrcfile.utils.byte_order_from_machine_stamp(stamp)
    extended = int(np.frombuffer(data, kind.newbyteorder(order))["nsymbt"][0])
    if size < kind.itemsize + extended:
        raise BadImage(f"{size:,} bytes do not hold an extended header of {extended:,}")


def write_volume(path: Path, volume: Volume) -> None:
    """A volume, C D H W with one channel, as `read_volume` reads it."""
    (planes,) = volume
    with _mrcfile().new(path) as file:
        file.set_data(np.ascontiguousarray(planes.transpose(2, 1, 0)))


@contextmanager
def _refused() -> Iterator[None]:
    """What is raised inside, by whatever bytes, is a BadImage, and warnings are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bytes after the last number, which nobody reads
        try:
            yield
        except (BadImage, UsageError):
            raise
        except Exception as error:  # a reader may raise anything on hostile bytes
            reason = str(error) or type(error).__name__
            raise BadImage(f"not a whole MRC file: {quoted(reason)}") from error


def _opened(path: str, header_only: bool = False) -> Any:
    """Not by `mrcfile.open`, which also unpacks files, to any size."""
    return _mrcfile().mrcfile.MrcFile(path, header_only=header_only)


def _mrcfile() -> Any:
    try:
        import mrcfile
    except ImportError as error:
        raise UsageError("MRC files need a package: pip install mrcfile") from error
    return mrcfile
