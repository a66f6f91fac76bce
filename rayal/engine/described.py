"""What goes wrong on a worker, in a form that comes through to the driver."""

import traceback

from rayal.blame import told, users_fault
from rayal.errors import RayalError
from rayal.storage.folder import Json


def described(error: Exception) -> Json:
    """An error on its way to the driver. As itself it would arrive as another class, wrapped in
    pages of Ray's own frames, or be tried again as if the worker had died."""
    error = users_fault(error) or error
    if isinstance(error, RayalError):
        return {"error": type(error).__name__, "message": str(error)}
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = f"a worker raised {told(error)} ({where.filename}:{where.lineno})"
    return {"error": "ClusterError", "message": message}
