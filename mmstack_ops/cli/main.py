"""Entry point: run a verb, and turn failures into messages and exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from mmstack_ops.domain.errors import CancelledError, MmstackError, UnexpectedError

# A reading verb makes up to 100,000 objects, nearly all of them by imports, and hardly any
# garbage: a single pass of the collector would be a thirtieth of its time.
_OBJECTS_BETWEEN_COLLECTIONS = 150_000

EXIT_CANCELLED = 130
"""What shells expect of a program that Ctrl-C ended."""


def run() -> None:
    """``mmstack`` as a program: ``main``, and then out at once.

    On its usual way out Python takes down every object of every module, which is a fifth of a
    reading verb's time. Dagster has work to do at exit: with it loaded the usual way is taken.
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
    # We use no pydantic plugins; looking for some reads the metadata of every package there is.
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
        # The reader (`head`, `less`) has what it wants. Python would complain once more
        # when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from mmstack_ops.cli.output.errors import show_error

        unexpected = UnexpectedError.of("mmstack", error)
        show_error(unexpected, as_json="--json" in given)
        sys.exit(unexpected.exit_code)
