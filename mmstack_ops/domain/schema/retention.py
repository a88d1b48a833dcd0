"""Retention of live data: which part of a service's data is deleted, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmstack_ops.domain.schema.base import SchemaModel
from mmstack_ops.domain.schema.ranges import Age, Bytes, Number, Share
from mmstack_ops.domain.units import LARGEST


class _Rule(SchemaModel):
    age: Age | None = None
    """Maximum age of data; None: the environment's. If the environment has an age for this
    service, the shorter age applies."""
    backup_before_cleanup: bool | None = None
    """None: the policy's."""
    max_share_deleted: Share | None = None
    """None: the policy's. 1 for data that may be deleted completely, such as temporary files."""


class RowsRule(_Rule):
    """Rows of a PostgreSQL table, by a column with the time when they were written."""

    strategy: Literal["rows"]
    table: Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)?$")]
    """`table` or `schema.table`."""
    column: str = "created_at"
    """A `timestamp`, `timestamptz` or `date`; values without a time zone are read as UTC."""
    database: str | None = None
    """None: the server's own (`POSTGRES_DB`)."""
    archive: bool = False
    """Write rows to compressed CSV files before they are deleted (`retention.archive`)."""


class KeysRule(_Rule):
    """Redis keys: keys that match get a time to live; a longer one is shortened."""

    strategy: Literal["keys"]
    pattern: str
    """Glob pattern, as in `SCAN … MATCH`."""
    database: Annotated[int, Number(0, 65535)] = 0


class PointsRule(_Rule):
    """Points of Qdrant collections, by a payload field with the time when they were created."""

    strategy: Literal["points"]
    collection: str
    """A pattern: `*` for all."""
    field: str = "created_at"
    """RFC 3339 text, or a number of seconds since the epoch."""


class CollectionsRule(_Rule):
    """Whole Qdrant collections whose newest point is too old; those with an alias are kept."""

    strategy: Literal["collections"]
    collection: str
    field: str = "created_at"


class ObjectsRule(_Rule):
    """Objects of a bucket, including versions, delete markers and unfinished uploads."""

    strategy: Literal["objects"]
    bucket: str
    prefix: str = ""
    by: Literal["listing", "lifecycle"] = "listing"
    """`lifecycle` sets a rule in the store, which then deletes objects itself, by age in days."""


class FilesRule(_Rule):
    """Files below a folder of one of the service's volumes, by the time of their last write."""

    strategy: Literal["files"]
    path: Annotated[str, Field(pattern=r"^/")]
    """A folder inside the container."""
    patterns: list[str] = ["*"]
    """Patterns of paths relative to `path`; `*` matches any text, including slashes."""
    rotate_above: Annotated[int, Bytes("1K", LARGEST)] | None = None
    """A file larger than this is copied, compressed and truncated: for logs without rotation."""


class RevisionsRule(_Rule):
    """Revisions of a Hugging Face cache, by the time when they were last read."""

    strategy: Literal["revisions"]
    path: Annotated[str, Field(pattern=r"^/")]
    """The cache's folder (the one with `models--…` in it) inside the container."""


class IndicesRule(_Rule):
    """Elasticsearch indices, by creation time; those with a lifecycle policy are kept."""

    strategy: Literal["indices"]
    pattern: str


class MetricsRule(_Rule):
    """Samples of a Prometheus server."""

    strategy: Literal["metrics"]


RetentionRule = Annotated[
    RowsRule
    | KeysRule
    | PointsRule
    | CollectionsRule
    | ObjectsRule
    | FilesRule
    | RevisionsRule
    | IndicesRule
    | MetricsRule,
    Field(discriminator="strategy"),
]


def label_of(rule: RetentionRule) -> str:
    """Return the label of a rule: its strategy and its subject (``rows logs``)."""
    match rule:
        case RowsRule():
            about = rule.table if rule.database is None else f"{rule.database}.{rule.table}"
        case KeysRule():
            about = f"{rule.database}:{rule.pattern}" if rule.database else rule.pattern
        case PointsRule() | CollectionsRule():
            about = rule.collection
        case ObjectsRule():
            about = f"{rule.bucket}/{rule.prefix}".rstrip("/")
        case FilesRule():
            about = " ".join([rule.path, *(p for p in rule.patterns if p != "*")])
        case RevisionsRule():
            about = rule.path
        case IndicesRule():
            about = rule.pattern
        case MetricsRule():
            about = ""
    return f"{rule.strategy} {about}".rstrip()
