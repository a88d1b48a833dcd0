"""Convert the engine's failures to errors with a cause and a remedy."""

from __future__ import annotations

import re

from mmstack_ops.domain.errors import (
    AddressConflictError,
    EngineError,
    EngineUnavailableError,
    ImageUnavailableError,
)


class MissingObjectError(EngineError):
    """The container, network, volume or image doesn't exist (any more)."""


# The engine's message (moby, several releases) → (our class, remedy). The first match wins.
_KNOWN: tuple[tuple[re.Pattern[str], type[EngineError], str], ...] = (
    (
        re.compile(r"port is already allocated|address already in use|ports are not available"),
        AddressConflictError,
        "stop what holds the port (`ss -ltnp` or `docker ps` shows it), or change the port in"
        " the schema",
    ),
    (
        re.compile(r"Pool overlaps with other one|invalid pool request|overlaps with other"),
        AddressConflictError,
        "choose another address plan (config.address_plan), or remove the network that has these"
        " addresses",
    ),
    (
        re.compile(r"no space left on device"),
        EngineError,
        "free space on the engine's disk (`docker system df` shows what takes it), then start"
        " again",
    ),
    (
        re.compile(r"could not select device driver|nvidia-container"),
        EngineError,
        "install the NVIDIA Container Toolkit, or start without --gpu",
    ),
    (
        re.compile(r"[Nn]o such image|manifest unknown|pull access denied|repository .* not found"),
        ImageUnavailableError,
        "check the image's name and tag",
    ),
    (
        re.compile(r"is already in use by container"),
        EngineError,
        "look at that container with `docker ps -a`; rename or remove it if it isn't needed",
    ),
)


def unavailable(base_url: str, error: Exception) -> EngineUnavailableError:
    """Return the error for an engine that doesn't answer."""
    why = _innermost(error)
    if "Permission denied" in why:
        return EngineUnavailableError(
            f"this user may not talk to the Docker engine at {base_url}",
            why=why,
            remedy="join the engine's group (`usermod -aG docker <user>`, then log in again), or"
            " run as root",
        )
    return EngineUnavailableError(
        f"no Docker engine answers at {base_url}",
        why=why,
        remedy="start it (`systemctl start docker`; on a bare lab machine `make lab-up`), or set"
        " DOCKER_HOST",
    )


def translate(error: Exception, *, doing: str, base_url: str) -> EngineError:
    """Return our error for an exception of docker-py, requests or urllib3 (raised by a stream)."""
    import requests
    import urllib3
    from docker.errors import APIError, NotFound

    if isinstance(
        error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError
    ):
        failure = unavailable(base_url, error)
        failure.what = f"the Docker engine went away while trying to {doing}"
        return failure
    if isinstance(error, APIError):
        text = str(error.explanation or error)
        return refusal(text, doing=doing, missing=isinstance(error, NotFound))
    return EngineError(f"could not {doing}", why=_innermost(error))


def refusal(text: str, *, doing: str, missing: bool) -> EngineError:
    """Return our error for an error answer of the engine.

    Args:
        text: the engine's message.
        missing: the engine answered 404.
    """
    if known := known_refusal(text, doing=doing):
        return known
    if missing:
        return MissingObjectError(
            f"could not {doing}: it isn't there any more",
            why=text,
            remedy="run the command again: it plans from what is there now",
        )
    return EngineError(f"the engine refused to {doing}", why=text)


def known_refusal(text: str, *, doing: str) -> EngineError | None:
    """Return our error for a message of the engine whose cause is known, or None."""
    for pattern, kind, remedy in _KNOWN:
        if pattern.search(text):
            return kind(f"the engine refused to {doing}", why=text, remedy=remedy)
    return None


def _innermost(error: BaseException) -> str:
    """Return the text of the root cause: libraries wrap it in several exceptions of their own."""
    seen: set[int] = set()
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return str(error) or type(error).__name__
