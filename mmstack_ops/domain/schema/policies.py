"""Where backup, retention and security policy stand in the schema."""

from __future__ import annotations

from typing import Annotated, Literal

from mmstack_ops.domain.schema.base import Name, SchemaModel
from mmstack_ops.domain.schema.ranges import (
    Age,
    Bytes,
    Count,
    Number,
    Period,
    Seconds,
    Share,
    Storage,
)
from mmstack_ops.domain.units import LARGEST, LONGEST

MOST_DRILLS = 1000
"""Series that one scheduled drill proves at most."""


class Keep(SchemaModel):
    """Backups that stay beyond the retention's age; the words are restic's, and add up."""

    last: Count = 0
    """So many of the newest."""
    hourly: Count = 0
    """The newest of so many hours that have one (UTC); likewise below."""
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0


class Tier(SchemaModel):
    """A place that keeps backups."""

    kind: Literal["directory", "mount", "s3", "tape"]
    description: str = ""
    location: str = ""
    """A path or URL; `${NAME}` is taken from the environment file."""
    quota: Storage | None = None
    """None: unlimited."""
    retention: Age
    """How much older than the newest of its series a backup may become here."""
    keep: Keep = Keep()
    after: Name | None = None
    """The tier this one is copied from; None for the first."""
    path_style: bool = True
    """S3: the bucket stands in the path, not in the host name."""
    region: str = "us-east-1"
    """S3: the region that requests are signed for."""
    server_side_encryption: Literal["none", "AES256", "aws:kms"] = "none"
    object_lock: Age | None = None
    """S3: how long the bucket refuses to delete a file (governance mode); None: not used."""
    volume_size: Storage | None = None
    """Tape volume files: the size of one volume; devices say themselves when they are full."""


class Trend(SchemaModel):
    """How far a backup may differ from the last proven ones before a drill calls it suspicious."""

    check: bool = True
    """False: nothing of this is looked at."""
    max_drop: Share = 0.5
    """Share by which rows, keys, points, objects, files or bytes may fall; 1 allows any fall."""
    min_count: Annotated[int, Number(1, 10**12)] = 20
    """Fewer than so many of something are not compared."""
    never_empty: bool = True
    """What held something in all of the last proven backups must hold something."""
    max_ratio_rise: Share = 0.2
    """How much stored bytes / plain bytes may rise for what was there; 1 allows any rise."""
    max_changed: Share = 0.9
    """Share of a tree's files that may change or go at once; 1 allows all."""
    ignore: list[str] = []
    """Patterns of names that aren't looked at, such as `rows of table app.public.sessions`."""

    def with_own(self, own: Trend | None) -> Trend:
        """Return this policy with what a service sets itself in its place."""
        if own is None:
            return self
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class BackupPolicy(SchemaModel):
    """Tiers, and how artifacts are made."""

    tiers: dict[Name, Tier]
    compression_level: Annotated[int, Number(1, 19)] = 3
    compression_threads: Annotated[int, Number(0, 64)] = 2
    """zstd worker threads; 0 compresses in the reading thread."""
    encryption: Literal["when-keyed", "required", "none"] = "when-keyed"
    """age, to the recipients in `BACKUP_AGE_RECIPIENTS`; `required` refuses to go without."""
    rate_limit: Annotated[int, Bytes("10KB", "1TB")] | None = None
    """Bytes a second a backup or copy may write; None: as fast as it goes."""
    max_age: Period = 26 * 3600.0
    """Age at which the newest backup of a service is too old."""
    models_max_age: Period = 8 * 86400.0
    proven_within: Period = 8 * 86400.0
    """How long ago a series' last proven restore may be."""
    models_cron: str = "0 4 * * 0"
    drill_cron: str = "0 5 * * 0"
    drills: Annotated[int, Number(1, MOST_DRILLS)] = 4
    """Series proven by each scheduled drill, in turn; the one waiting longest comes first."""
    verify_cron: str = "0 6 * * *"
    verify_share: Share = 0.1
    """Share of all copies that each scheduled verification reads whole, the oldest look first."""
    check_cron: str = "20 * * * *"
    """When ages, proofs and quotas are judged; that changes nothing."""
    sweep_cron: str = "30 6 * * 0"
    """When leftovers of killed writes and files no backup names are taken away."""
    copy_retry: Annotated[float, Seconds("1m", "30d")] = 1800.0
    """How long after a copy that failed the same copy is asked for again."""
    bucket_growth: Annotated[int, Bytes("1KB", LARGEST)] = 10 * 10**9
    """Growth of a bucket since its last backup that asks for one before the schedule does."""
    max_share_deleted: Share = 0.9
    """When retention would delete more than this share of a series, it deletes nothing."""
    quota_warning: Share = 0.9
    """Share of a tier's quota beyond which people are told."""
    trend: Trend = Trend()
    """What a drill compares with the last proven backups of the series."""


class RetentionPolicy(SchemaModel):
    """Rules for deleting live data that hold in every environment."""

    backup_before_cleanup: bool = True
    """Data is backed up, and that backup verified, before any of it is deleted."""
    max_share_deleted: Share = 0.9
    """When a rule would delete more than this share of what it is about, it deletes nothing."""
    archive: str = ""
    """Folder of the rows that are archived before they are deleted; `${NAME}` is taken from the
    environment file. Empty: the environment's state folder."""
    runs: Age = 30 * 86400.0
    """How long Dagster keeps runs that ended; an asset's newest stays."""
    run_containers: Age = 86400.0
    """How long a container of ours that ran once and ended stays to be looked at."""


class GeneratedSecret(SchemaModel):
    """A secret that is generated once for each environment and kept."""

    description: str
    kind: Literal["password", "hex", "urlsafe", "key"] = "password"
    bytes: Annotated[int, Number(16, 128)] = 24
    """Bytes of randomness; 16 bytes are 128 bits."""
    prefix: str = ""
    """Constant text in front, such as `sk-`."""
    rotate: bool = True
    """False for encryption keys: a new value makes old data unreadable."""


class SecurityPolicy(SchemaModel):
    """Secrets, and the waivers of hardening rules."""

    secrets: dict[Name, GeneratedSecret]
    max_age: Annotated[float, Seconds("1d", LONGEST)] = 90 * 86400.0


class EnvironmentBackup(SchemaModel):
    """An environment's backups."""

    cron: str
    tiers: list[Name]


class EnvironmentRetention(SchemaModel):
    """An environment's retention of live data."""

    cron: str
    default: Age
    services: dict[Name, Age] = {}
