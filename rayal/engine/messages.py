"""Messages between two processes of one user, through a pipe: a length, then a pickle."""

import pickle
import struct
from typing import IO, Any

LENGTH = struct.Struct("<Q")


def write_message(pipe: IO[bytes], message: Any) -> None:
    """Raises OSError where nobody reads any more."""
    data = pickle.dumps(message)
    pipe.write(LENGTH.pack(len(data)) + data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> Any:
    """The next message; None where the other process has ended, perhaps amid one."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    data = pipe.read(size := LENGTH.unpack(head)[0])
    return pickle.loads(data) if len(data) == size else None
