"""What of an error may reach the event log, which keeps it for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mmstack_ops.domain.errors import MmstackError, UnexpectedError


@contextmanager
def only_safe_errors(what: str) -> Iterator[None]:
    """Turn errors into failures whose text holds no secret.

    Our own errors are written for people and never carry a value: their text passes. Of
    any other error the text is dropped, since a library may have put a credential or a URL
    into it; its type and the places it came through stay (``UnexpectedError``).

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
