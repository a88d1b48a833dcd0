"""Create clients for an object store that runs as a service: MinIO or a compatible server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from mmstack_ops.adapters.botocore_session import isolated_session
from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.credentials import password_from
from mmstack_ops.domain.errors import BackupError

CONNECTIONS = 16
"""Concurrent requests; more would only queue in a store on one machine."""
SERVER_WITHOUT_ACLS = frozenset({"MinIO"})
"""Names (in the ``server`` header) of servers that return the same ACL for everything."""
LISTED_ORDER = "ListedOrder"
"""Key in answers to ``list_object_versions``: the ids of all entries, in listed order."""
_PORT = 9000
_QUOTED = "mmstack-quoted:"


def s3_client(instance: Instance) -> Any:
    """Return a client for the instance's store. It may be used from several threads.

    Raises:
        BackupError: the instance's environment contains no credentials.
    """
    import boto3
    from botocore.config import Config

    user = password_from(instance, "MINIO_ROOT_USER")
    password = password_from(instance, "MINIO_ROOT_PASSWORD")
    if not user or not password:
        raise BackupError(
            f"{instance.service} has no credentials in its environment",
            why="neither MINIO_ROOT_USER nor MINIO_ROOT_USER_FILE is set",
            remedy="set them in the schema",
        )
    session = isolated_session()
    client = boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=f"http://{instance.address}:{instance.definition.server_port('s3', _PORT)}",
        aws_access_key_id=user,
        aws_secret_access_key=password,
        region_name="us-east-1",
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 5},
            # Never use a proxy for a container on this host.
            proxies={},
            ignore_configured_endpoint_urls=True,
            connect_timeout=10,
            read_timeout=120,
            max_pool_connections=CONNECTIONS + 2,
            # Older stores refuse the checksums that newer clients add automatically.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    for operation in ("PutObject", "CreateMultipartUpload"):
        # Before boto3's own check.
        client.meta.events.register_first(f"before-parameter-build.s3.{operation}", _quote_metadata)
        client.meta.events.register(f"before-call.s3.{operation}", _unquote_headers)
    client.meta.events.register("before-send.s3", _send_utf8)
    client.meta.events.register("before-parse.s3.ListObjectVersions", _keep_order)
    return client


def _keep_order(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Add the listed order of versions and delete markers: boto3 separates the two."""
    if response_dict["status_code"] != 200:
        return
    root = ElementTree.fromstring(response_dict["body"])  # noqa: S314  # as boto3 parses it
    customized_response_dict[LISTED_ORDER] = [
        one.findtext("{*}VersionId", "")
        for one in root
        if one.tag.rpartition("}")[2] in ("Version", "DeleteMarker")
    ]


# boto3 sends ASCII metadata only. Stores accept and return UTF-8 bytes, as other clients send
# them: a restore must write the same bytes.


def _quote_metadata(params: dict[str, Any], **_: Any) -> None:
    metadata = params.get("Metadata")
    if metadata and not all(value.isascii() for value in metadata.values()):
        params["Metadata"] = {
            name: value if value.isascii() else _QUOTED + quote(value)
            for name, value in metadata.items()
        }


def _unquote_headers(params: dict[str, Any], **_: Any) -> None:
    headers = params["headers"]
    for name, value in headers.items():
        if isinstance(value, str) and value.startswith(_QUOTED):
            headers[name] = unquote(value.removeprefix(_QUOTED))


def _send_utf8(request: Any, **_: Any) -> None:
    """Encode headers after they were signed: the signature is over the UTF-8 bytes."""
    for name, value in list(request.headers.items()):
        if isinstance(value, str) and not value.isascii():
            request.headers[name] = value.encode()
