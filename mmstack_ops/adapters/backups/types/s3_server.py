"""An S3 server of an instance: a client for it, and its refusals in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.backups.types.credentials import password_from
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.types.base import Instance

_PORT = 9000
WORKERS = 16
"""Requests under way at once: small objects cost a round trip each, not bandwidth."""


def client_of(instance: Instance) -> Any:
    """Return a client for the server of an instance, signed in as its root user.

    Raises:
        BackupError: the environment lacks its credentials.
    """
    user = password_from(instance, "MINIO_ROOT_USER")
    password = password_from(instance, "MINIO_ROOT_PASSWORD")
    if not user or not password:
        raise BackupError(
            f"the credentials of {instance.service} aren't known",
            why="its environment names no MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, nor files of"
            " them",
            remedy="add them to the service's `environment` in the schema",
        )
    ports = [port.container for port in instance.definition.ports if port.name == "s3"]
    return client_for(f"http://{instance.address}:{ports[0] if ports else _PORT}", user, password)


def client_for(url: str, user: str, password: str) -> Any:
    """Return a client; neither this process's environment nor ``~/.aws`` play a part."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=user, aws_secret_access_key=password, region_name="us-east-1"
    )
    return session.client(
        "s3",
        endpoint_url=url,
        config=Config(
            s3={"addressing_style": "path"},
            # A container on this host is never reached through a proxy.
            proxies={},
            max_pool_connections=2 * WORKERS,
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
        ),
    )


@contextmanager
def speaking_to(service: str) -> Iterator[None]:
    """Turn what the server refuses into a ``BackupError``."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        found = error.response.get("Error", {})
        raise BackupError(
            f"{service} refused {error.operation_name}",
            why=f"{found.get('Code', '')}: {found.get('Message', '')}",
            remedy=f"look at its log: `mmstack logs {service}`",
        ) from None
    except BotoCoreError as error:
        raise BackupError(
            f"{service} couldn't be asked",
            why=type(error).__name__,
            remedy=f"look at its log: `mmstack logs {service}`",
        ) from None


def refusal(error: BaseException) -> tuple[str, int]:
    """Return the code and the HTTP status of a ``ClientError``; nothing for other errors."""
    response = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
