"""The command line: `rayal demo`, `init`, `run CONFIG`, `score`, `select`, `plan`, `status`,
`report`, `sync`, what there is, and the same on a cluster: `submit`, `logs`, `stop`.

Heavy imports are inside the commands, so that help appears at once.
"""

import atexit
import io
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

import rayal
from rayal.blame import users_fault
from rayal.cli import (  # noqa: F401 (their commands belong to the application)
    configs,
    features,
    forecasting,
    jobs,
    labels,
    output,
    parts,
    replaying,
    runs,
    scoring,
    starting,
    submitting,
    sweeping,
)
from rayal.cli.options import app
from rayal.cli.output import Lines, note, visible
from rayal.cli.work import INTERRUPTED, catch_signals, interrupted
from rayal.errors import LabelsPending, RayalError, quoted

_debug = False
ANYWHERE = {
    "--debug": "debug",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
}
"""Options that stand before or after the command, in all commands alike."""


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors alone.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what else is done.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Active-learning experiments on Ray, tracked in MLflow.

    --debug, -q and -v go anywhere.
    """  # `main` has taken all of them out


def command() -> NoReturn:
    """The `rayal` command as a process: when `main` is done, the process ends without unloading all
    that was imported, which takes a second after torch and Ray."""
    try:
        main()
    except SystemExit as end:
        others = [thread for thread in threading.enumerate() if not thread.daemon]
        if others != [threading.main_thread()] or not isinstance(end.code, int):
            raise
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads any more
                stream.flush()
        os._exit(end.code)


def main(application: typer.Typer = app, program: str = "rayal") -> NoReturn:
    """What the `rayal` command does: one line for an error of the user's, with its exit code.

    Another program's `application` gets the same, under the name `program`.
    """
    global _debug
    words = sys.argv[1:]
    if words == ["--version"]:
        print(f"rayal {rayal.__version__}")
        sys.exit(0)
    given = {ANYWHERE[word] for word in words if word in ANYWHERE}
    arguments = [word for word in words if word not in ANYWHERE]
    _debug, output.quiet = "debug" in given, "quiet" in given
    catch_signals(arguments[0] if arguments else "")
    _direct_output(verbose="verbose" in given)
    try:
        if application(arguments, prog_name=program, standalone_mode=False) == INTERRUPTED:
            raise KeyboardInterrupt  # typer has made a return value of it
        print(end="", flush=True)
    except LabelsPending as pending:
        print(visible(f"rayal: {pending}"))
    except RayalError as error:
        _fail(error, str(error), error.exit_code)
    except KeyboardInterrupt as error:
        _fail(error, interrupted(), INTERRUPTED)
    except typer.TyperException as error:
        if (text := error.format_message()).startswith("Usage:"):  # a group without a command
            print(text)
            sys.exit(error.exit_code)
        _fail(error, _said(error, text), error.exit_code)
    except BrokenPipeError:  # nobody reads any more, as behind `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, SystemExit) as error:
        fault = users_fault(error)
        if fault is None:
            raise  # a mistake of rayal's own: all there is to know of it
        _fail(error, str(fault), fault.exit_code)
    sys.exit(0)


def _said(error: typer.TyperException, text: str) -> str:
    """What is wrong with a command, on one line; of a value in the words that files have too."""
    cause, parameter = error.__cause__, getattr(error, "param", None)
    if parameter is None or type(cause).__name__ != "ValidationError":
        return " ".join(text.split())
    from rayal.settings import wanted

    first = cause.errors()[0]  # type: ignore[union-attr]
    given = "" if first["type"] == "value_error" else f", got {quoted(first['input'])}"
    return f"{'/'.join(parameter.opts)}: {wanted(first)}{given}"


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    if _debug:
        note("".join(traceback.format_exception(error)))
    if message:  # `rayal` alone has shown its help
        note(f"rayal: {message}")
    sys.exit(code)


def _direct_output(*, verbose: bool) -> None:
    """Streams take every character, and log records become lines of stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.captureWarnings(True)
    usual = logging.WARNING if output.quiet else logging.INFO
    for name, level in (("rayal", usual), ("py.warnings", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG if _debug or verbose else level)
        logger.handlers, logger.propagate = [Lines()], False
