"""The inventory of all buckets of a store: settings, listings and versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3.objects import Listed, Objects
from mmstack_ops.adapters.stores.s3.settings import (
    NAMES,
    BucketSettings,
    old_versions,
    read_settings,
)
from mmstack_ops.domain.backups.facts import Facts


@dataclass(frozen=True)
class Inventory:
    """All buckets of a store with their settings, including those that the schema leaves out."""

    wanted: tuple[str, ...]
    left_out: tuple[str, ...]
    settings: Mapping[str, BucketSettings]
    """Settings of the wanted buckets."""
    old: Mapping[str, tuple[int, int, int] | None]
    """Bucket → numbers of old versions, of delete markers, of deleted keys; None if unknown."""
    all_versions: bool
    first_format: bool = False

    @classmethod
    def of(cls, client: Any, instance: Instance, like: Facts | None = None) -> Inventory:
        """Return the inventory of a store.

        Args:
            like: recorded facts. A restore doesn't change other buckets. They aren't a
                difference, unless they were added to a scratch store.
        """
        backup = instance.definition.backup
        names = [one["Name"] for one in client.list_buckets()["Buckets"]]
        wanted = [
            name
            for name in names
            if (not backup.include or any(fnmatchcase(name, p) for p in backup.include))
            and not any(fnmatchcase(name, p) for p in backup.exclude)
        ]
        versions = backup.versions == "all"
        if like is not None:
            wanted = [
                name
                for name in names
                if bucket_item(name) in like.items
                or (instance.scratch and bucket_item(name) not in instance.own)
            ]
            versions = any(name.startswith("version ") for name in like.items)
        settings = {name: read_settings(client, name) for name in wanted}
        first = like is not None and is_first_format(like)
        old = {name: old_versions(client, name) for name in wanted} if like is None else {}
        return cls(
            wanted=tuple(wanted),
            left_out=tuple(name for name in names if name not in wanted),
            settings=settings,
            old=old,
            all_versions=versions,
            first_format=first,
        )

    def listed(self, objects: Objects) -> tuple[list[Listed], list[list[Listed]]]:
        """Return the objects to read, and the version histories of keys that have one."""
        if not self.all_versions:
            return list(objects.listed()), []
        found = list(objects.history())
        return (
            [one for versions in found for one in versions],
            [versions for versions in found if len(versions) > 1 or versions[-1].marker],
        )

    def document(self, histories: list[list[Listed]]) -> dict[str, Any]:
        """Return what a restore needs in addition to the objects."""
        document: dict[str, Any] = {
            "settings": {name: found.values for name, found in self.settings.items()},
            # A restore doesn't change settings that the server didn't return.
            "recorded": {
                name: [n for n in NAMES if n not in found.refused and n not in found.unknown]
                for name, found in self.settings.items()
            },
            "deleted": {name: found[2] for name, found in self.old.items() if found},
        }
        if self.all_versions:
            document["versions"] = [[one.path for one in versions] for versions in histories]
        return document

    def not_covered(self) -> dict[str, str]:
        """Return the settings that the server refused to return: name → why."""
        return {
            f"{bucket_item(name)}/{setting}": why
            for name, found in self.settings.items()
            for setting, why in found.refused.items()
        }

    def excluded(self) -> dict[str, str]:
        """Return what the backup leaves out on purpose, or the server does not have: name → why."""
        excluded = dict.fromkeys(self.left_out, "the schema's include and exclude")
        if not self.all_versions:
            for name, found in self.old.items():
                if found is None:
                    counted = "the server doesn't list them"
                elif found[0] or found[1]:
                    counted = f"{found[0]} old versions and {found[1]} delete markers"
                else:
                    continue
                excluded[f"versions of {name}"] = f"{counted}: backup.versions is current"
        unknown = {name for settings in self.settings.values() for name in settings.unknown}
        for setting in sorted(unknown):
            excluded[f"setting {setting}"] = "the server doesn't implement it"
        return excluded


def is_first_format(like: Facts) -> bool:
    """Return whether facts are from a backup of format 1."""
    return any(
        name.startswith("bucket ") and re.fullmatch("[0-9a-f]{16}", text) and "/" not in name
        for name, text in like.items.items()
    )


def bucket_item(name: str) -> str:
    """Return the name of a bucket in the facts; its settings are below it."""
    return f"bucket {name}"


def object_item(path: str) -> str:
    """Return the name of an object in the facts."""
    return f"object {path}"


def version_item(path: str, number: int) -> str:
    """Return the name of a version in the facts; the oldest is number 1."""
    key, _, _ = path.partition("\0")
    return f"version {number} of {object_item(key)}"
