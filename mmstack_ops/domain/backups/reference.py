"""The names of backups, and the keys of their files on every tier.

Layout, the same on every tier::

    <environment>/<service>/<type>/<id>/manifest.json        the commit point, written last
    <environment>/<service>/<type>/<id>/<payload>            immutable
    <environment>/<service>/<type>/packs/<pack>              files of incremental trees
    <environment>/<service>/<type>/<id>.records/<record>     proofs, verifications, holds
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mmstack_ops.domain.errors import InputError

MANIFEST = "manifest.json"
PACKS = "packs"
RECORDS_SUFFIX = ".records"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SECOND = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, order=True, slots=True)
class BackupRef:
    """A reference to one backup. Sorts by environment, service, type, then time.

    Args:
        id: ``<UTC second>-<8 hexadecimal digits>``: ids sort by time, and two backups of
            the same second differ.
    """

    environment: str
    service: str
    type: str
    id: str

    @property
    def series(self) -> str:
        """The prefix of all backups of this service and type, without a trailing slash."""
        return f"{self.environment}/{self.service}/{self.type}"

    @property
    def prefix(self) -> str:
        """The prefix of this backup's own files, with a trailing slash."""
        return f"{self.series}/{self.id}/"

    @property
    def manifest_key(self) -> str:
        """The key of the manifest."""
        return self.prefix + MANIFEST

    @property
    def records_prefix(self) -> str:
        """The prefix of this backup's records, with a trailing slash."""
        return f"{self.series}/{self.id}{RECORDS_SUFFIX}/"

    @property
    def created(self) -> datetime:
        """When the backup was started, in UTC."""
        return moment_of(self.id)

    def key(self, payload: str) -> str:
        """Return the key of one of this backup's own files."""
        return self.prefix + payload

    def pack_key(self, pack: str) -> str:
        """Return the key of a pack of this backup's series."""
        return f"{self.series}/{PACKS}/{pack}"

    def __str__(self) -> str:
        return f"{self.series}/{self.id}"


def new_id(now: datetime, randomness: bytes) -> str:
    """Return the id of a backup that starts ``now``; ``randomness`` has at least 4 bytes."""
    return f"{second_of(now)}-{randomness[:4].hex()}"


def second_of(moment: datetime) -> str:
    """Return the prefix of the ids of backups that start at ``moment``."""
    # Not strftime: it writes the year 831 with three digits.
    text = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()
    return f"{text.replace('-', '').replace(':', '')}Z"


def moment_of(backup_id: str) -> datetime:
    """Return when the backup with this id was started, in UTC.

    Raises:
        ValueError: it isn't the id of a backup.
    """
    second = backup_id[:16]
    if _SECOND.fullmatch(second) is None or backup_id[16:17] not in ("", "-"):
        raise ValueError(f"{backup_id!r} isn't the id of a backup")
    return datetime.fromisoformat(second)


def parse_ref(text: str) -> BackupRef:
    """Parse ``environment/service/type/id``.

    Raises:
        InputError: ``text`` doesn't have that form.
    """
    parts = text.strip("/").split("/")
    if (
        len(parts) == 4
        and is_backup_id(parts[3])
        and all(_NAME.fullmatch(part) for part in parts[:3])
    ):
        return BackupRef(*parts)
    raise InputError(
        f"{text!r} doesn't name a backup",
        why="expected environment/service/type/id, such as"
        " production/postgres/full/20260131T010000Z-0a1b2c3d",
        remedy="`mmstack backup list` shows the names of all backups",
    )


def is_backup_id(text: str) -> bool:
    """Return whether a folder's name is the id of a backup, with a moment that exists."""
    if _ID.fullmatch(text) is None:
        return False
    try:
        moment_of(text)
    except ValueError:
        return False
    return True
