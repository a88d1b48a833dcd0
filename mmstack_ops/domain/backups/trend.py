"""Compare the content of a backup with the last proven backups of its series.

A restored copy that equals its backup says nothing about what was backed up: an emptied table,
or files encrypted by ransomware, are restored as faithfully as good data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import Manifest, Payload
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.schema.policies import Trend
from mmstack_ops.domain.units import format_bytes

LOOKED_BACK = 5
"""Number of proven backups that are read to determine what was never empty."""

# The value of a counted item starts with the count and its unit: "1200 rows, all 5f3a…".
# (Redis keys are counted in small groups for comparison, because keys come and go.)
_COUNTED = re.compile(r"^(\d+) (rows|documents)\b")
_OBJECT, _BUCKET = "object ", "bucket "
_KEYS = "keys in "
# Figures of a place of data; a backup doesn't have them if the place was deleted.
_PLACES = re.compile(r"^(?:(rows|documents|points|keys|objects) (?:of|in) |.*/(documents|points)$)")
_TOTALS = frozenset(
    {"rows", "documents", "points", "objects", "files", "bytes", "keys_without_expiry"}
    | {"tables", "databases", "collections", "buckets", "indices"}
)
# Figures about how a tree was stored and how much was compared, not about the data.
_WORK = re.compile(r"^tree_| compared\b")
# The compression ratio of smaller payloads is a matter of chance.
_JUDGED_BYTES = 16 << 10
_CONTENT = frozenset({"dump", "data", "files", "pack"})


@dataclass(frozen=True)
class Content:
    """The content of one backup, in numbers.

    Args:
        counts: name → count.
        sizes: payload → plain bytes and stored bytes; the packs of a tree count as one.
    """

    ref: BackupRef
    counts: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Unchanged:
    """How many files of the last proven backup are in this one with the same content."""

    files: int
    unchanged: int


def proven_before(rows: Iterable[BackupRow], ref: BackupRef) -> tuple[BackupRef, ...]:
    """Return the last proven backups of the series of ``ref`` that are older, newest first.

    A backup that a drill found suspicious isn't proven: others are never compared with it, unless
    an operator accepts it.
    """
    found = [
        row.ref
        for row in rows
        if row.proven
        and not row.safety
        and (row.ref.service, row.ref.type) == (ref.service, ref.type)
        and row.ref.id < ref.id
    ]
    return tuple(sorted(found, key=lambda one: one.id, reverse=True)[:LOOKED_BACK])


def content_of(manifest: Manifest, facts: Facts) -> Content:
    """Return the content of a backup, from what was recorded when it was taken."""
    counts = {
        name: count
        for name, count in {**manifest.figures, **facts.figures}.items()
        if not _WORK.search(name)
    }
    # If the source changed, a count has bounds: there was at least the lower number.
    counts |= {name: low for name, (low, _) in facts.bounds.items()}
    for name, value in facts.items.items():
        if found := _COUNTED.match(value):
            counts[f"{found[2]} of {name}"] = int(found[1])
        elif name.startswith(_BUCKET) and "/" not in name:
            counts.setdefault(f"objects in {name.removeprefix(_BUCKET)}", 0)
        elif name.startswith(_OBJECT):
            place = f"objects in {name.removeprefix(_OBJECT).partition('/')[0]}"
            counts[place] = counts.get(place, 0) + 1
    sizes: dict[str, tuple[int, int]] = {}
    for payload in manifest.payloads:
        if payload.role in _CONTENT and payload.compression != "none":
            name = _title(payload)
            plain, stored = sizes.get(name, (0, 0))
            sizes[name] = (plain + payload.plain_bytes, stored + payload.stored_bytes)
    return Content(manifest.ref, counts, sizes)


def findings(
    now: Content, before: Sequence[Content], policy: Trend, unchanged: Unchanged | None = None
) -> tuple[str, ...]:
    """Return what is suspicious about a backup, as text; empty if nothing is.

    Args:
        before: the last proven backups of the series, newest first; without one, nothing can be
            found.
        unchanged: for a tree, compared with the newest of ``before``.
    """
    if not before or not policy.check:
        return ()
    found = [
        *_falls(now, before[0], policy),
        *(_emptied(now, before, policy) if policy.never_empty else ()),
        *_ratios(now, before[0], policy),
    ]
    share = 0.0
    if unchanged is not None and unchanged.files >= policy.min_count:
        share = 1 - unchanged.unchanged / unchanged.files
    if unchanged is not None and share > policy.max_changed:
        found.append(
            f"{unchanged.files - unchanged.unchanged} of {unchanged.files} files changed or were"
            f" deleted at once ({_percent(share)}; {_percent(policy.max_changed)} are allowed)"
        )
    return tuple(found)


def _falls(now: Content, base: Content, policy: Trend) -> list[str]:
    found: list[str] = []
    for name, count in sorted(base.counts.items()):
        least = _JUDGED_BYTES if name.rpartition("_")[2] == "bytes" else policy.min_count
        if count < least or _ignored(name, policy):
            continue
        left = _count(now, name)
        if left is None:
            if _unit(name) and not _moved(now, base, name, policy):
                found.append(f"{name}: {count} before, gone now")
            continue
        # A drop to zero is reported once, as empty, if that is checked.
        emptied = left == 0 and policy.never_empty and _holds(name)
        share = 1 - left / count
        if share > policy.max_drop and not emptied:
            found.append(
                f"{name} fell from {_amount(name, count)} to {_amount(name, left)}"
                f" ({_percent(share)}; {_percent(policy.max_drop)} are allowed)"
            )
    return found


def _emptied(now: Content, before: Sequence[Content], policy: Trend) -> list[str]:
    return [
        f"{name}: {_amount(name, count)} before, 0 now"
        for name, count in sorted(before[0].counts.items())
        if count > 0
        and _holds(name)
        and not _ignored(name, policy)
        and _count(now, name) == 0
        and all(_count(one, name) != 0 for one in before)
    ]


def _ratios(now: Content, base: Content, policy: Trend) -> list[str]:
    found: list[str] = []
    for name, (plain, stored) in sorted(now.sizes.items()):
        plain_before, stored_before = base.sizes.get(name, (0, 0))
        if min(plain, plain_before) < _JUDGED_BYTES or _ignored(name, policy):
            continue
        before = stored_before / plain_before
        # New data may be incompressible; it explains the bytes that it adds itself.
        explained = (stored_before + max(0, plain - plain_before)) / plain
        ratio = stored / plain
        if ratio - max(before, explained) > policy.max_ratio_rise:
            found.append(
                f"{name} compresses to {_percent(ratio)} of its size, {_percent(before)} before:"
                f" what was there has been encrypted or replaced"
            )
    return found


def _moved(now: Content, base: Content, name: str, policy: Trend) -> bool:
    """Return whether a new place has about as much data as a deleted one: it was renamed."""
    return any(
        other not in base.counts
        and _unit(other) == _unit(name)
        and count >= base.counts[name] * (1 - policy.max_drop)
        for other, count in now.counts.items()
    )


def _unit(name: str) -> str | None:
    found = _PLACES.match(name)
    return (found[1] or found[2]) if found else None


def _count(content: Content, name: str) -> int | None:
    # Redis doesn't list a database without keys.
    return content.counts.get(name, 0 if name.startswith(_KEYS) else None)


def _holds(name: str) -> bool:
    return name in _TOTALS or _unit(name) is not None


def _ignored(name: str, policy: Trend) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in policy.ignore)


def _title(payload: Payload) -> str:
    if payload.role == "pack":
        return "the tree"
    return payload.name.removesuffix(".age").removesuffix(".zst")


def _amount(name: str, count: int) -> str:
    return format_bytes(count) if name.rpartition("_")[2] == "bytes" else str(count)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
