"""Keep secrets in errors out of the event log, which stores errors forever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mmstack_ops.domain.errors import MmstackError, UnexpectedError


@contextmanager
def only_safe_errors(what: str) -> Iterator[None]:
    """Convert errors into failures whose text contains no secret.

    Our own errors are written for operators and never contain a value: their text is kept. The
    text of any other error is dropped, since a library may have put a credential or a URL
    into it; its type and the locations in its traceback are kept (``UnexpectedError``).

    Args:
        what: the work that failed, for the message.

    Raises:
        dagster.Failure: for every Exception; an interruption passes unchanged.
    """
    try:
        yield
    except dg.Failure:
        raise
    except MmstackError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    except Exception as error:
        unexpected = UnexpectedError.of(what, error)
        raise dg.Failure(description=str(unexpected), allow_retries=False) from None
