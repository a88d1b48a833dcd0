"""The schema's models of backup, retention and security policies."""

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
"""The maximum number of series that one scheduled drill proves."""


class Keep(SchemaModel):
    """Backups to keep beyond the retention age. The keys work as in restic and are ORed."""

    last: Count = 0
    """Number of newest backups to keep."""
    hourly: Count = 0
    """Keep the newest backup of this many hours that have one (UTC); likewise below."""
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0


class Tier(SchemaModel):
    """A place where backups are stored."""

    kind: Literal["directory", "mount", "s3", "tape"]
    description: str = ""
    location: str = ""
    """A path or URL; `${NAME}` is taken from the environment file."""
    quota: Storage | None = None
    """None: unlimited."""
    retention: Age
    """How much older than the newest of its series a backup may become on this tier."""
    keep: Keep = Keep()
    after: Name | None = None
    """The tier that this one is copied from; None for the first tier."""
    path_style: bool = True
    """S3: put the bucket name in the path, not in the host name."""
    region: str = "us-east-1"
    """S3: the region to sign requests for."""
    server_side_encryption: Literal["none", "AES256", "aws:kms"] = "none"
    object_lock: Age | None = None
    """S3: how long the bucket refuses to delete a file (governance mode); None: not used."""
    volume_size: Storage | None = None
    """Tape volume files: the size of one volume; devices report when they are full."""


class Trend(SchemaModel):
    """How much a backup may differ from the last proven ones before a drill reports it."""

    check: bool = True
    """False: none of this is checked."""
    max_drop: Share = 0.5
    """Share by which rows, keys, points, objects, files or bytes may drop; 1 allows any drop."""
    min_count: Annotated[int, Number(1, 10**12)] = 20
    """Smaller counts than this are not compared."""
    never_empty: bool = True
    """A place that contained data in all of the last proven backups must not be empty."""
    max_ratio_rise: Share = 0.2
    """How much stored bytes / plain bytes may rise for existing data; 1 allows any rise."""
    max_changed: Share = 0.9
    """Share of a tree's files that may change or be deleted at once; 1 allows all."""
    ignore: list[str] = []
    """Patterns of names to ignore, such as `rows of table app.public.sessions`."""

    def with_own(self, own: Trend | None) -> Trend:
        """Return this policy, overridden by the values that a service sets itself."""
        if own is None:
            return self
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class BackupPolicy(SchemaModel):
    """Tiers, and how backups are made."""

    tiers: dict[Name, Tier]
    compression_level: Annotated[int, Number(1, 19)] = 3
    compression_threads: Annotated[int, Number(0, 64)] = 2
    """zstd worker threads; 0 compresses in the reading thread."""
    encryption: Literal["when-keyed", "required", "none"] = "when-keyed"
    """Encrypt with age for `BACKUP_AGE_RECIPIENTS`; `required` fails without recipients."""
    rate_limit: Annotated[int, Bytes("10KB", "1TB")] | None = None
    """Bytes per second that a backup or copy may write; None: no limit."""
    max_age: Period = 26 * 3600.0
    """Age at which the newest backup of a service is too old."""
    models_max_age: Period = 8 * 86400.0
    proven_within: Period = 8 * 86400.0
    """Maximum age of a series' last proven restore."""
    models_cron: str = "0 4 * * 0"
    drill_cron: str = "0 5 * * 0"
    drills: Annotated[int, Number(1, MOST_DRILLS)] = 4
    """Number of series that each scheduled drill proves, in turn; longest waiting first."""
    verify_cron: str = "0 6 * * *"
    verify_share: Share = 0.1
    """Share of all copies that each scheduled verification reads, least recently verified first."""
    check_cron: str = "20 * * * *"
    """When ages, proofs and quotas are checked; the check changes nothing."""
    sweep_cron: str = "30 6 * * 0"
    """When leftovers of killed writes and files that no backup refers to are deleted."""
    copy_retry: Annotated[float, Seconds("1m", "30d")] = 1800.0
    """How long after a failed copy the same copy is requested again."""
    bucket_growth: Annotated[int, Bytes("1KB", LARGEST)] = 10 * 10**9
    """Growth of a bucket since its last backup that requests a backup ahead of schedule."""
    max_share_deleted: Share = 0.9
    """If retention would delete more than this share of a series, it deletes nothing."""
    quota_warning: Share = 0.9
    """Share of a tier's quota above which a warning is issued."""
    trend: Trend = Trend()
    """The comparison of a drill with the last proven backups of the series."""


class RetentionPolicy(SchemaModel):
    """Rules for deleting live data that apply to every environment."""

    backup_before_cleanup: bool = True
    """Data is backed up, and that backup verified, before any of it is deleted."""
    max_share_deleted: Share = 0.9
    """If a rule would delete more than this share of its data, it deletes nothing."""
    archive: str = ""
    """Folder for rows that are archived before they are deleted; `${NAME}` is taken from the
    environment file. Empty: the environment's state folder."""
    runs: Age = 30 * 86400.0
    """How long Dagster keeps finished runs; the newest run of an asset is always kept."""
    run_containers: Age = 86400.0
    """How long a finished one-off container of mmstack-ops is kept for inspection."""


class GeneratedSecret(SchemaModel):
    """A secret that is generated once for each environment and kept."""

    description: str
    kind: Literal["password", "hex", "urlsafe", "key"] = "password"
    bytes: Annotated[int, Number(16, 128)] = 24
    """Bytes of randomness; 16 bytes are 128 bits."""
    prefix: str = ""
    """Constant text at the start, such as `sk-`."""
    rotate: bool = True
    """False for encryption keys: a new value makes old data unreadable."""


class SecurityPolicy(SchemaModel):
    """Secrets, and how old they may become."""

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
