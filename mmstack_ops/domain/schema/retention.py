"""Retention of live data: which part of a service's data is deleted, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmstack_ops.domain.schema.base import SchemaModel
from mmstack_ops.domain.schema.ranges import Age, Bytes, Number, Share
from mmstack_ops.domain.units import LARGEST


class _Rule(SchemaModel):
    age: Age | None = None
    """How old data may become; None: the environment's. Where the environment has an age for
    this very service, the shorter holds."""
    backup_before_cleanup: bool | None = None
    """None: the policy's."""
    max_share_deleted: Share | None = None
    """None: the policy's. 1 for what may go altogether, such as temporary files."""


class RowsRule(_Rule):
    """Rows of a PostgreSQL table, by a column that says when they were written."""

    strategy: Literal["rows"]
    table: Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)?$")]
    """`table` or `schema.table`."""
    column: str = "created_at"
    """A `timestamp`, `timestamptz` or `date`; those without a zone are read as UTC."""
    database: str | None = None
    """None: the server's own (`POSTGRES_DB`)."""
    archive: bool = False
    """Write rows to compressed CSV files before they are deleted (`retention.archive`)."""


class KeysRule(_Rule):
    """Redis keys: those that match get a time to live, and none that is longer."""

    strategy: Literal["keys"]
    pattern: str
    """Glob as `SCAN … MATCH` has it."""
    database: Annotated[int, Number(0, 65535)] = 0


class PointsRule(_Rule):
    """Points of Qdrant collections, by a payload field that says when they were made."""

    strategy: Literal["points"]
    collection: str
    """A pattern: `*` for all."""
    field: str = "created_at"
    """RFC 3339 text, or a number of seconds since the epoch."""


class CollectionsRule(_Rule):
    """Whole Qdrant collections whose newest point is too old; those behind an alias stay."""

    strategy: Literal["collections"]
    collection: str
    field: str = "created_at"


class ObjectsRule(_Rule):
    """Objects of a bucket: versions, delete markers and unfinished uploads too."""

    strategy: Literal["objects"]
    bucket: str
    prefix: str = ""
    by: Literal["listing", "lifecycle"] = "listing"
    """`lifecycle` gives the store a rule of its own, which then deletes by itself, by days."""


class FilesRule(_Rule):
    """Files below a folder of one of the service's volumes, by when they were last written."""

    strategy: Literal["files"]
    path: Annotated[str, Field(pattern=r"^/")]
    """A folder inside the container."""
    patterns: list[str] = ["*"]
    """Of paths relative to `path`; `*` stands for any text, slashes included."""
    rotate_above: Annotated[int, Bytes("1K", LARGEST)] | None = None
    """A file larger than this is copied, compressed, and emptied: for logs nobody rotates."""


class RevisionsRule(_Rule):
    """Revisions of a Hugging Face cache that nobody has read for so long."""

    strategy: Literal["revisions"]
    path: Annotated[str, Field(pattern=r"^/")]
    """The cache's folder (the one with `models--…` in it) inside the container."""


class IndicesRule(_Rule):
    """Elasticsearch indices by when they were made; those with a lifecycle policy stay."""

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
    """Return how a rule is called: its strategy and what it is about (``rows logs``)."""
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
