"""The engine's words → our errors."""

from __future__ import annotations

import pytest
import requests
import urllib3
from docker.errors import APIError, ImageNotFound, NotFound

from mmstack_ops.adapters.engine.failures import MissingObjectError, translate, unavailable
from mmstack_ops.domain.errors import (
    AddressConflictError,
    EngineError,
    EngineUnavailableError,
    ImageUnavailableError,
)

URL = "unix:///run/d.sock"


@pytest.mark.parametrize(
    ("text", "kind", "remedy"),
    [
        (
            "driver failed programming external connectivity on endpoint x: Bind for"
            " 127.0.0.1:5432 failed: port is already allocated",
            AddressConflictError,
            "ss -ltnp",
        ),
        ("listen tcp4 0.0.0.0:80: bind: address already in use", AddressConflictError, "ss -ltnp"),
        (
            "Pool overlaps with other one on this address space",
            AddressConflictError,
            "config.address_plan",
        ),
        (
            "invalid pool request: Pool overlaps with other one on this address space",
            AddressConflictError,
            "config.address_plan",
        ),
        ("write /x: no space left on device", EngineError, "docker system df"),
        (
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            EngineError,
            "without --gpu",
        ),
        ("manifest for a/b:1 not found: manifest unknown", ImageUnavailableError, "name and tag"),
        (
            'Conflict. The container name "/x" is already in use by container "abc"',
            EngineError,
            "docker ps -a",
        ),
    ],
)
def test_known_refusals_have_a_class_and_a_remedy(
    text: str, kind: type[EngineError], remedy: str
) -> None:
    error = translate(APIError("500", explanation=text), doing="start container x", base_url=URL)
    assert type(error) is kind
    assert error.what == "the engine refused to start container x"
    assert error.why == text
    assert remedy in error.remedy


def test_an_unknown_refusal_keeps_the_engines_words() -> None:
    error = translate(APIError("500", explanation="oh dear"), doing="do it", base_url=URL)
    assert type(error) is EngineError
    assert error.why == "oh dear"


def test_what_is_gone_is_told_from_what_is_refused() -> None:
    error = translate(
        NotFound("404", explanation="No such container: x"), doing="stop x", base_url=URL
    )
    assert type(error) is MissingObjectError
    image = ImageNotFound("404", explanation="No such image: a:1")
    assert type(translate(image, doing="create x", base_url=URL)) is ImageUnavailableError


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("Connection refused"),
        requests.ReadTimeout("timed out"),
        urllib3.exceptions.ProtocolError("Connection broken"),
    ],
)
def test_an_engine_that_went_away(error: Exception) -> None:
    found = translate(error, doing="start x", base_url=URL)
    assert type(found) is EngineUnavailableError
    assert found.what == "the Docker engine went away while trying to start x"
    assert "systemctl start docker" in found.remedy


def test_the_first_cause_is_told_not_the_layers_around_it() -> None:
    error = requests.ConnectionError("Connection aborted.")
    error.__cause__ = FileNotFoundError(2, "No such file or directory")
    assert unavailable(URL, error).why == "[Errno 2] No such file or directory"


def test_a_socket_that_is_not_ours_to_use_has_another_remedy() -> None:
    error = unavailable(URL, PermissionError(13, "Permission denied"))
    assert "may not talk to the Docker engine" in error.what
    assert "usermod -aG docker" in error.remedy
