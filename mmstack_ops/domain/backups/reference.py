"""How a backup is named, and where its files stand on every tier.

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
    """One backup. Orders by environment, service, type, then time.

    Args:
        id: ``<UTC second>-<8 hexadecimal digits>``: ids sort by time, and two backups of
            one second differ.
    """

    environment: str
    service: str
    type: str
    id: str

    @property
    def series(self) -> str:
        """Where all backups of this service and type stand."""
        return f"{self.environment}/{self.service}/{self.type}"

    @property
    def prefix(self) -> str:
        """Where this backup's own files stand, with a slash at the end."""
        return f"{self.series}/{self.id}/"

    @property
    def manifest_key(self) -> str:
        """The key of the manifest."""
        return self.prefix + MANIFEST

    @property
    def records_prefix(self) -> str:
        """Where this backup's records stand, with a slash at the end."""
        return f"{self.series}/{self.id}{RECORDS_SUFFIX}/"

    @property
    def created(self) -> datetime:
        """When the backup was begun, in UTC."""
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
    """Return the id of a backup that begins ``now``; ``randomness`` gives at least 4 bytes."""
    return f"{second_of(now)}-{randomness[:4].hex()}"


def second_of(moment: datetime) -> str:
    """Return what the ids of backups that begin at ``moment`` begin with."""
    # Not strftime: it writes the year 831 as three digits.
    text = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()
    return f"{text.replace('-', '').replace(':', '')}Z"


def moment_of(backup_id: str) -> datetime:
    """Return when the backup of this id was begun, in UTC.

    Raises:
        ValueError: it isn't the id of a backup.
    """
    second = backup_id[:16]
    if _SECOND.fullmatch(second) is None or backup_id[16:17] not in ("", "-"):
        raise ValueError(f"{backup_id!r} isn't the id of a backup")
    return datetime.fromisoformat(second)


def parse_ref(text: str) -> BackupRef:
    """Read ``environment/service/type/id``.

    Raises:
        InputError: when ``text`` isn't of that form.
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
    """Return whether a folder's name is the id of a backup: one of a moment that exists."""
    if _ID.fullmatch(text) is None:
        return False
    try:
        moment_of(text)
    except ValueError:
        return False
    return True
