"""Where backup, retention and security policy stand in the schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmstack_ops.domain.schema.base import Name, SchemaModel
from mmstack_ops.domain.units import Duration, Size


class Tier(SchemaModel):
    """A place that keeps backups."""

    kind: Literal["directory", "mount", "s3", "tape"]
    description: str = ""
    location: str = ""
    """A path or URL; `${NAME}` is taken from the environment file."""
    quota: Size | None = None
    """None: unlimited."""
    retention: Duration
    after: Name | None = None
    """The tier this one is copied from; None for the first."""


class BackupPolicy(SchemaModel):
    """Tiers, and how artifacts are made."""

    tiers: dict[Name, Tier]
    compression_level: Annotated[int, Field(ge=1, le=19)] = 3
    models_cron: str = "0 4 * * 0"
    drill_cron: str = "0 5 * * 0"


class RetentionPolicy(SchemaModel):
    """Rules for deleting live data that hold in every environment."""

    backup_before_cleanup: bool = True
    max_share_deleted: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A plan that would delete more than this share stops with an error."""


class GeneratedSecret(SchemaModel):
    """A secret that is generated once for each environment and kept."""

    description: str
    kind: Literal["password", "hex", "urlsafe", "key"] = "password"
    bytes: Annotated[int, Field(ge=16, le=128)] = 24
    """Bytes of randomness; 16 bytes are 128 bits."""
    prefix: str = ""
    """Constant text in front, such as `sk-`."""
    rotate: bool = True
    """False for encryption keys: a new value makes old data unreadable."""


class SecurityPolicy(SchemaModel):
    """Secrets, and the waivers of hardening rules."""

    secrets: dict[Name, GeneratedSecret]
    max_age: Duration = 90 * 86400.0


class EnvironmentBackup(SchemaModel):
    """An environment's backups."""

    cron: str
    tiers: list[Name]


class EnvironmentRetention(SchemaModel):
    """An environment's retention of live data."""

    cron: str
    default: Duration
    services: dict[Name, Duration] = {}
