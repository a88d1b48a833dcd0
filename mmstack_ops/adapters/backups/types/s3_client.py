"""A client of an object store that runs as a service: MinIO, or what speaks like it."""

from __future__ import annotations

from typing import Any

from mmstack_ops.adapters.backups.types.base import Instance
from mmstack_ops.adapters.backups.types.credentials import password_from
from mmstack_ops.domain.errors import BackupError

CONNECTIONS = 16
"""Requests at once; more only queue in a store on one machine."""
_PORT = 9000


def s3_client(instance: Instance) -> Any:
    """Return a client for the instance's own store. It may be used from several threads.

    Raises:
        BackupError: the instance's environment names no credentials.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    user = password_from(instance, "MINIO_ROOT_USER")
    password = password_from(instance, "MINIO_ROOT_PASSWORD")
    if not user or not password:
        raise BackupError(
            f"{instance.service} has no credentials in its environment",
            why="neither MINIO_ROOT_USER nor MINIO_ROOT_USER_FILE is set",
            remedy="set them in the schema",
        )
    # Neither a profile, nor credentials, nor settings of whoever runs this play a part.
    nothing = (None, None, None, None)
    session = botocore.session.Session(
        session_vars={
            "profile": nothing,
            "config_file": (None, None, "/dev/null", None),
            "credentials_file": (None, None, "/dev/null", None),
        }
    )
    return boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=f"http://{instance.address}:{instance.definition.server_port('s3', _PORT)}",
        aws_access_key_id=user,
        aws_secret_access_key=password,
        region_name="us-east-1",
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 5},
            # A container on this host is never reached through a proxy.
            proxies={},
            ignore_configured_endpoint_urls=True,
            connect_timeout=10,
            read_timeout=120,
            max_pool_connections=CONNECTIONS + 2,
            # Older stores refuse the checksums that newer clients add by themselves.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
