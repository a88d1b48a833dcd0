"""Facts of buckets: objects with their attributes and content, and settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from mmstack_ops.adapters.stores.s3.attributes import (
    IN_ONE_PART,
    described,
    described_first,
    is_md5,
    lock_end,
    plain_md5,
)
from mmstack_ops.adapters.stores.s3.inventory import (
    Inventory,
    bucket_item,
    is_first_format,
    object_item,
    version_item,
)
from mmstack_ops.adapters.stores.s3.objects import Listed, Objects, in_order
from mmstack_ops.adapters.stores.s3.settings import FIRST_FORMAT, settings_digest
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile

# Number of objects without an MD5 of the store whose content is hashed for the comparison.
_SAMPLED = 32
_SAMPLE_BYTES = 1 << 20
DESCRIBED = 50_000
"""Number of objects that are described individually; the others are compared in groups. A list
of a million objects in the facts of every backup would be larger than most backups."""
_GROUPS = 1024
_GROUP = "objects of group "
_PART = re.compile(r" (lock|checksum|md5|sha256)=(\S+)")
_LOCK_END = re.compile(r" lock=[^/ ]+/(\S+)")


def stable_facts(
    objects: Objects,
    seen: Mapping[str, TreeFile],
    before: list[Listed],
    after: list[Listed],
    inventory: Inventory,
    histories: list[list[Listed]],
) -> Facts:
    """Return the facts of objects that didn't change while they were read."""
    later = {one.path: one for one in after}
    same = [one for one in before if later.get(one.path) == one]
    bad = objects.unread.keys() | objects.gone
    readable = sorted(
        (one for one in same if one.path in seen and one.path not in bad), key=lambda one: one.path
    )
    files = {one.path: seen[one.path] for one in readable[:DESCRIBED]}
    whole = len(same) == len(before) == len(after)
    found = found_facts(
        files, readable, inventory, histories, content_marks(objects, files, None, {})
    )
    # A group with a changed object differs from that of the copy.
    rest = _groups(one for one in after if one.path not in files)
    items = {
        name: text
        for name, text in found.items.items()
        if not name.startswith(_GROUP) or rest.get(name) == text
    }
    # Listed before and after, but not read and not reported as unreadable.
    unread = {
        one.path: objects.unread.get(one.path, "it was listed, and couldn't be found")
        for one in same
        if one.path not in seen or one.path in bad
    }
    # Buckets that couldn't be listed.
    unread |= {name: objects.unread[name] for name in objects.buckets if name in objects.unread}
    return Facts(
        figures=found.figures if whole and not unread else {},
        items=items,
        complete=whole and len(same) <= DESCRIBED,
        not_covered={**inventory.not_covered(), **unread},
        excluded=inventory.excluded(),
    )


def found_facts(
    files: Mapping[str, TreeFile],
    listed: list[Listed],
    inventory: Inventory,
    histories: list[list[Listed]],
    content: Mapping[str, str],
) -> Facts:
    """Return the facts of a store, as far as it was inspected."""
    names = item_names(files, histories)
    items = {names[path]: described(file) + content.get(path, "") for path, file in files.items()}
    items |= _groups(one for one in listed if one.path not in files)
    not_covered: dict[str, str] = {}
    for bucket, found in inventory.settings.items():
        if inventory.first_format:
            first = {name: v for name, v in found.values.items() if name in FIRST_FORMAT}
            items[bucket_item(bucket)] = settings_digest(first)
            continue
        items[bucket_item(bucket)] = "its settings follow"
        for name, value in found.values.items():
            items[f"{bucket_item(bucket)}/{name}"] = settings_digest({name: value})
        for name, why in found.refused.items():
            not_covered[f"{bucket_item(bucket)}/{name}"] = why
    figures = {
        "buckets": len(inventory.settings),
        "objects": sum(not one.version and not one.marker for one in listed),
        "bytes": sum(one.size for one in listed if not one.version),
    }
    return Facts(figures=figures, items=items, not_covered=not_covered)


def item_names(paths: Iterable[str], histories: list[list[Listed]]) -> dict[str, str]:
    """Return path → name of its item; versions are numbered from the oldest."""
    names = {path: object_item(path) for path in paths}
    for versions in histories:
        for number, one in enumerate(versions, start=1):
            names[one.path] = version_item(one.path, number)
    return names


def _groups(listed: Iterable[Listed]) -> dict[str, str]:
    """Return digests of groups of objects; they don't depend on the order of the objects."""
    groups: dict[int, _Group] = {}
    for one in listed:
        number = int.from_bytes(sha256(one.path.encode()).digest()[:4]) % _GROUPS
        groups.setdefault(number, _Group()).add(one)
    return {f"{_GROUP}{number}": str(found) for number, found in groups.items()}


@dataclass
class _Group:
    count: int = 0
    names: int = 0
    contents: int = 0
    plain: bool = True

    def add(self, one: Listed) -> None:
        self.count += 1
        self.names ^= int.from_bytes(sha256(f"{one.size} {one.path}".encode()).digest()[:8])
        if one.size <= IN_ONE_PART:
            self.plain = self.plain and is_md5(one.etag)
            text = f"{one.etag} {one.path}"
            self.contents ^= int.from_bytes(sha256(text.encode()).digest()[:8])

    def __str__(self) -> str:
        text = f"{self.count} objects {self.names:016x}"
        return f"{text} md5={self.contents:016x}" if self.plain else text


def content_marks(
    objects: Objects,
    files: Mapping[str, TreeFile],
    like: Facts | None,
    names: Mapping[str, str],
) -> dict[str, str]:
    """Return path → mark that identifies the content: the store's MD5, or our own digest."""
    if like is None:
        found = {path: f" md5={md5}" for path, file in files.items() if (md5 := plain_md5(file))}
        hashed = {path: sha for path, sha in objects.digests.items() if path in files}
        rest = [file for path, file in files.items() if path not in found and path not in hashed]
        sampled = _sampled(rest)
        hashed |= dict(zip(sampled, in_order(objects.digest, sampled), strict=True))
        return found | {p: f" sha256={sha}" for p, sha in hashed.items() if p not in found}
    wanted: dict[str, str] = {}
    for path in files:
        kind = re.search(r" (md5|sha256)=", like.items.get(names[path], ""))
        if kind:
            wanted[path] = kind[1]
    found = {}
    read: list[str] = []
    for path, algorithm in wanted.items():
        if algorithm == "md5" and (md5 := plain_md5(files[path])):
            found[path] = f" md5={md5}"
        else:
            read.append(path)
    made = in_order(lambda path: objects.digest(path, wanted[path]), read)
    return found | {
        path: f" {wanted[path]}={digest}" for path, digest in zip(read, made, strict=True)
    }


def as_recorded(
    items: Mapping[str, str], like: Facts, files: Mapping[str, TreeFile]
) -> dict[str, str]:
    """Return found items without parts that weren't recorded and so can't be compared."""
    if is_first_format(like):
        texts = {
            object_item(path): described_first(file)
            + "".join(
                f" sha256={sha}" for sha in _parts(items[object_item(path)]).get("sha256", ())
            )
            for path, file in files.items()
            if object_item(path) in items
        }
        return {**items, **texts}
    now = datetime.now(UTC)
    found = {}
    for name, text in items.items():
        recorded = like.items.get(name, "")
        there = _parts(recorded)
        for part in ("checksum", "md5", "sha256"):
            if part not in there:
                text = re.sub(rf" {part}=\S+", "", text)
        here = _parts(text)
        if "checksum" in there and "checksum" not in here and ("md5" in here or "sha256" in here):
            # The store doesn't keep the client's checksum; the digest compares the content.
            text = re.sub(
                r"(?= (?:md5|sha256)=)", f" checksum={there['checksum'][0]}", text, count=1
            )
        end = lock_end(over[1]) if (over := _LOCK_END.search(recorded)) else None
        if end is not None and end <= now and " lock=" not in text:
            # An expired retention can't be set again, and has no effect.
            text = text.replace(_before_parts(text), _before_parts(text) + over[0], 1)  # type: ignore[index]
        found[name] = text
    return found


def _parts(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in _PART.finditer(text):
        found.setdefault(part[1], []).append(part[2])
    return found


def _before_parts(text: str) -> str:
    return text[: found.start()] if (found := _PART.search(text)) else text


def is_left_out(path: str, facts: Facts) -> bool:
    """Return whether the facts of a backup name an object, or its whole bucket, as left out."""
    bucket, _, _ = path.partition("/")
    return path in facts.left_out or bucket in facts.left_out


def _sampled(files: Iterable[TreeFile]) -> list[str]:
    """Return objects whose content is compared: always the same objects of the same store."""
    small = [file.path for file in files if file.size <= _SAMPLE_BYTES]
    return sorted(small, key=lambda path: sha256(path.encode()).digest())[:_SAMPLED]
