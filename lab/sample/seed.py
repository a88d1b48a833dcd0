"""Fill the core stack of an environment with sample data, so that a backup has something to keep.

Usage: python lab/sample/seed.py [ENVIRONMENT]

Safe to run again: what is there stays as it is.
"""

import hashlib
import json
import random
import sys
from datetime import UTC, datetime, timedelta

import boto3
import botocore.config
import botocore.exceptions
import psycopg
import redis
from qdrant_client import QdrantClient, models

from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.secrets.values import EnvironmentValues

DOCUMENTS = 5000
VECTORS = 400
OBJECTS = 60
_RANDOM = random.Random(20260101)

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    id bigserial PRIMARY KEY, title text NOT NULL, body text NOT NULL, score double precision,
    digest text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS documents_by_digest ON documents (digest);
CREATE TABLE IF NOT EXISTS sessions (
    id bigserial PRIMARY KEY, "user" text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS logs (
    id bigserial PRIMARY KEY, message text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS audit_logs (
    id bigserial PRIMARY KEY, action text NOT NULL, created_at timestamptz NOT NULL);
"""


def main() -> None:
    project = open_project()
    catalogue = project.catalogue(sys.argv[1] if len(sys.argv) > 1 else "development")
    values = load_values(project, catalogue)
    for service, seed in {
        "postgres": seed_postgres,
        "redis": seed_redis,
        "qdrant": seed_qdrant,
        "minio": seed_minio,
    }.items():
        try:
            print(f"lab: sample data: {service}: {seed(catalogue, values)}")
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
            # A volume keeps the password it was created with.
            sys.exit(
                "lab: error: postgres doesn't accept this clone's password: its volume was created"
                " by another clone; if its data may be deleted, run `mmstack wipe core --yes` and"
                " then this again"
            )


def host_port(catalogue: Catalogue, service: str, name: str) -> tuple[str, int]:
    for port in catalogue.services[service].definition.ports:
        if port.name == name and port.host is not None:
            return catalogue.schema.config.bind_address, port.host[0]
    sys.exit(f"lab: error: {service} publishes no port {name}")


def seed_postgres(catalogue: Catalogue, values: EnvironmentValues) -> str:
    host, port = host_port(catalogue, "postgres", "postgres")
    with psycopg.connect(
        host=host,
        port=port,
        user=values.variables["POSTGRES_USER"],
        dbname=values.variables["POSTGRES_DB"],
        password=values.secrets["postgres_password"],
    ) as connection:
        connection.execute(_TABLES)
        (count,) = connection.execute("SELECT count(*) FROM documents").fetchone() or (0,)
        if count == 0:
            with connection.cursor().copy(
                "COPY documents (title, body, score, digest) FROM STDIN"
            ) as copy:
                for number in range(DOCUMENTS):
                    digest = hashlib.sha256(str(number).encode()).hexdigest()
                    text = " ".join(_RANDOM.choices(_WORDS, k=60))
                    copy.write_row((f"Document {number}", text, _RANDOM.random(), digest))
            for table, column, days in (
                ("sessions", '"user"', 3),
                ("logs", "message", 20),
                ("audit_logs", "action", 200),
            ):
                connection.execute(
                    f"INSERT INTO {table} ({column}, created_at) SELECT 'sample ' || n,"
                    f" now() - random() * interval '{days} days' FROM generate_series(1, 1000) n"
                )
            count = DOCUMENTS
    return f"{count} documents, and sessions, logs, audit_logs"


def seed_redis(catalogue: Catalogue, values: EnvironmentValues) -> str:
    host, port = host_port(catalogue, "redis", "redis")
    client = redis.Redis(host=host, port=port, password=values.secrets["redis_password"])
    pipe = client.pipeline()
    for number in range(500):
        pipe.set(f"cache:answer:{number}", f"answer {number}", ex=86400 * 30, nx=True)
        pipe.hset(f"session:{number}", mapping={"user": f"user{number}", "visits": number})
    pipe.delete("queue:jobs")
    pipe.rpush("queue:jobs", *(f"job {number}" for number in range(100)))
    pipe.zadd("ranking", {f"user{number}": number for number in range(100)})
    pipe.sadd("tags", *_WORDS)
    pipe.execute()
    return f"{client.dbsize()} keys"


def seed_qdrant(catalogue: Catalogue, values: EnvironmentValues) -> str:
    host, port = host_port(catalogue, "qdrant", "http")
    client = QdrantClient(
        url=f"http://{host}:{port}",
        api_key=values.secrets["qdrant_api_key"],
        check_compatibility=False,
    )
    now = datetime.now(UTC)
    if not client.collection_exists("documents-1"):
        client.create_collection(
            "documents-1",
            vectors_config=models.VectorParams(size=32, distance=models.Distance.COSINE),
        )
        client.upsert(
            "documents-1",
            points=[
                models.PointStruct(
                    id=number,
                    vector=[_RANDOM.uniform(-1, 1) for _ in range(32)],
                    payload={
                        "document": number,
                        "words": _RANDOM.choices(_WORDS, k=3),
                        "created_at": (now - timedelta(days=number % 90)).isoformat(),
                    },
                )
                for number in range(VECTORS)
            ],
            wait=True,
        )
        client.update_collection_aliases(
            change_aliases_operations=[
                models.CreateAliasOperation(
                    create_alias=models.CreateAlias(
                        collection_name="documents-1", alias_name="documents"
                    )
                )
            ]
        )
    return f"{client.count('documents-1').count} points in documents-1, alias documents"


def seed_minio(catalogue: Catalogue, values: EnvironmentValues) -> str:
    host, port = host_port(catalogue, "minio", "s3")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id=values.secrets["minio_root_user"],
        aws_secret_access_key=values.secrets["minio_root_password"],
        region_name="us-east-1",
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for bucket in ("documents", "temp", "logs", "models", "backups"):
        if bucket in there:
            continue
        client.create_bucket(Bucket=bucket)
        for number in range(OBJECTS):
            client.put_object(
                Bucket=bucket,
                Key=f"{number % 7}/document {number}.json",
                Body=json.dumps({"number": number, "text": _RANDOM.choices(_WORDS, k=200)}),
                ContentType="application/json",
                Metadata={"source": "lab"},
                Tagging="kind=sample",
            )
    return f"{OBJECTS} objects in each of five buckets"


_WORDS = [
    *("vector", "model", "prompt", "token", "image", "audio", "video", "caption", "embedding"),
    *("index", "query", "answer", "context", "memory", "agent", "tool", "graph", "node", "edge"),
    *("batch", "stream", "cache", "queue", "worker", "bucket", "object", "replica"),
]

main()
