"""What the core stack's stores hold, read by their own clients, to compare before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import redis
import requests
from docker.models.containers import Container

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import read_store
from tests.e2e.product import Product


def sql(product: Product, statement: str, database: str = "postgres") -> str:
    """Ask PostgreSQL as its superuser."""
    return shell(
        product.one("postgres"),
        'psql -U "${POSTGRES_USER:-postgres}" -v ON_ERROR_STOP=1 -d "$1" -Atc "$0"',
        statement,
        database,
    ).strip()


def shell(container: Container, script: str, *arguments: str) -> str:
    code, output = container.exec_run(["sh", "-euc", script, *arguments])
    assert code == 0, output.decode(errors="replace")
    return str(output.decode())


def of_postgres(product: Product, *, without: str = "") -> str:
    """Everything as SQL but one database, and but what is random in each dump.

    That is a line of pg_dump's own, and the salt of the superuser's password: that password
    is the secret store's, so a restore leaves it alone.
    """
    text = shell(
        product.one("postgres"),
        'pg_dumpall -U "${POSTGRES_USER:-postgres}" --exclude-database="$0"',
        without,
    )
    return re.sub(r"(?m)^\\(un)?restrict .*$|(?<= WITH SUPERUSER ).* PASSWORD .*$", "", text)


def of_redis(product: Product) -> dict[str, Any]:
    """Key → what it holds, and whether it expires."""
    client: Any = redis.Redis(
        _address(product, "redis"), password=_secret(product, "redis_password")
    )
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    with client:
        return {
            key.decode(): (read[client.type(key)](key), client.ttl(key) > 0)
            for key in client.scan_iter()
        }


def of_qdrant(product: Product) -> dict[str, Any]:
    """Collection → points with vectors and payloads; the aliases."""
    url = f"http://{_address(product, 'qdrant')}:6333"
    key = {"api-key": _secret(product, "qdrant_api_key")}

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, url + path, json=body, headers=key, timeout=60)
        answer.raise_for_status()
        return answer.json()["result"]

    wanted = {"limit": 10_000, "with_vector": True, "with_payload": True}
    found: dict[str, Any] = {
        one["name"]: ask("POST", f"/collections/{one['name']}/points/scroll", wanted)["points"]
        for one in ask("GET", "/collections")["collections"]
    }
    return found | {"aliases": ask("GET", "/aliases")["aliases"]}


def of_minio(product: Product) -> dict[str, Any]:
    """``bucket/key`` → content, type, metadata and tags."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=f"http://{_address(product, 'minio')}:9000",
        aws_access_key_id=_secret(product, "minio_root_user"),
        aws_secret_access_key=_secret(product, "minio_root_password"),
        region_name="us-east-1",
        config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}),
    )
    found: dict[str, Any] = {}
    for bucket in (one["Name"] for one in client.list_buckets()["Buckets"]):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for one in page.get("Contents", ()):
                answer = client.get_object(Bucket=bucket, Key=one["Key"])
                tags = client.get_object_tagging(Bucket=bucket, Key=one["Key"])["TagSet"]
                found[f"{bucket}/{one['Key']}"] = (
                    answer["Body"].read(),
                    answer["ContentType"],
                    answer["Metadata"],
                    tags,
                )
    return found


def models_folder(product: Product) -> Path:
    """Where the model cache's volume stands on the engine's host."""
    (mount,) = (m for m in product.one("vllm").attrs["Mounts"] if m["Type"] == "volume")
    return Path(mount["Source"])


def of_models(product: Product) -> dict[str, Any]:
    """Path → what a file holds, or where a link points; with mode and time."""
    root = models_folder(product)
    found: dict[str, Any] = {}
    for path in root.rglob("*"):
        state = path.lstat()
        if path.is_symlink():
            what: object = str(path.readlink())
        else:
            what = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (what, state.st_mode, state.st_mtime_ns)
    return found


def _address(product: Product, service: str) -> str:
    networks = product.one(service).attrs["NetworkSettings"]["Networks"]
    address: str = next(iter(networks.values()))["IPAddress"]
    return address


def _secret(product: Product, name: str) -> str:
    with product.variables():
        store = read_store(open_project(product.root), "development")
    assert store is not None
    return store.secrets[name].value
