"""Entry point: run a verb, and convert failures into messages and exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from mmstack_ops.domain.errors import CancelledError, MmstackError, UnexpectedError

# A read-only verb creates up to 100,000 objects, nearly all of them by imports, and hardly any
# garbage: a single pass of the collector would take a thirtieth of its time.
_OBJECTS_BETWEEN_COLLECTIONS = 150_000

EXIT_CANCELLED = 130
"""The exit code that shells expect of a program that Ctrl-C ended."""


def run() -> None:
    """Run ``main`` as a program, then exit at once.

    On a normal exit Python destroys every object of every module, which takes a fifth of a
    read-only verb's time. Dagster has work to do at exit: if it is loaded, the exit is normal.
    """
    try:
        main()
    except SystemExit as end:
        if "dagster" in sys.modules or not isinstance(end.code, int | None):
            raise
        code = end.code or 0
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            code = 1
        os._exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``mmstack`` with ``arguments`` (default: the process's own) and exit.

    Exit codes: 0 done, 1 something failed, 2 bad input or usage, 130 cancelled.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    # We use no pydantic plugins; a search for them reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    given = list(sys.argv[1:] if arguments is None else arguments)
    from mmstack_ops.cli.app import make_app

    try:
        make_app()(args=given, prog_name="mmstack")
    except MmstackError as error:
        from mmstack_ops.cli.output.errors import show_error

        show_error(error, as_json="--json" in given)
        sys.exit(EXIT_CANCELLED if isinstance(error, CancelledError) else error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("mmstack: cancelled\n")
        sys.exit(EXIT_CANCELLED)
    except BrokenPipeError:
        # The reader (`head`, `less`) has closed the pipe. Python would report that again when
        # it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from mmstack_ops.cli.output.errors import show_error

        unexpected = UnexpectedError.of("mmstack", error)
        show_error(unexpected, as_json="--json" in given)
        sys.exit(unexpected.exit_code)
