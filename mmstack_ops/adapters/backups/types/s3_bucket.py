"""Buckets of an object store: objects with all they carry, and the buckets' settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, ClassVar, Literal, TypeVar

from mmstack_ops.adapters.backups.types.base import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.s3_client import s3_client
from mmstack_ops.adapters.backups.types.s3_objects import (
    Listed,
    Objects,
    described,
    described_first,
    in_order,
    is_md5,
    lacks,
    lock_end,
    plain_md5,
)
from mmstack_ops.adapters.backups.types.s3_settings import (
    FIRST_FORMAT,
    NAMES,
    BucketSettings,
    create_bucket,
    old_versions,
    prepare_bucket,
    read_settings,
    settings_digest,
    write_settings,
)
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    PartialRestoreError,
    RestoreError,
)

_BUCKETS = "buckets.json"
_BLOCK = 1 << 20
# Objects without an MD5 of the store's own whose content is hashed for the comparison.
_SAMPLED = 32
_SAMPLE_BYTES = 1 << 20
# A list of a million objects in every backup's facts would be larger than most backups: those
# after these are compared in groups.
_DESCRIBED = 50_000
_GROUPS = 1024
_GROUP = "objects of group "
_IN_ONE_PART = 8 << 20
_FIRST_TEXT = re.compile(r"^\d+ bytes [0-9a-f]{16}( sha256=\w+)?$")
_PART = re.compile(r" (lock|checksum|md5|sha256)=(\S+)")
_LOCK_END = re.compile(r" lock=[^/ ]+/(\S+)")
One = TypeVar("One")


class S3Bucket:
    """All buckets of a store, or those the schema names, as one incremental tree."""

    method: ClassVar[str] = "s3"
    name: ClassVar[str] = "bucket"
    tree: ClassVar[bool] = True
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store objects and settings; see ``BackupType.capture``."""
        with _store_errors(instance, BackupError):
            client = s3_client(instance)
            inventory = _Inventory.of(client, instance)
            objects = Objects(client, inventory.wanted)
            before, histories = inventory.listed(objects)
            with capture.payload(_BUCKETS, "files") as sink:
                sink.write(json.dumps(inventory.document(histories), default=str).encode())
            bench.tell(f"{len(before)} objects in {len(objects.buckets)} buckets")
            seen: dict[str, TreeFile] = {}
            capture.tree(_noting(_cancellable(bench, objects.files(before)), seen), objects.open)
            after, _ = inventory.listed(objects)
            facts = _stable(objects, seen, before, after, inventory, histories)
        capture.note(
            method="every object's current version"
            + (", and all earlier ones," if inventory.all_versions else ",")
            + " read through the S3 API with its metadata",
            versions={},
            restore_by_hand=_BY_HAND,
            facts=facts,
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Read every object and the settings; see ``BackupType.check``."""
        problems: list[str] = []
        buckets = set(_document(artifact)["settings"])
        for file, content in artifact.contents():
            if file.path.partition("/")[0] not in buckets:
                problems.append(f"{file.path!r} is in a bucket that the backup doesn't name")
            while content is not None and content.read(_BLOCK):
                pass
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Make the buckets what they were; see ``BackupType.restore``.

        Objects that the backup doesn't hold are deleted, after all others were put; buckets that
        it doesn't name are left alone.
        """
        with _store_errors(instance, RestoreError):
            client = s3_client(instance)
            refused = _restore(bench, client, artifact)
        if refused:
            raise PartialRestoreError(
                f"{instance.service} was restored from {artifact.manifest.ref}, but for what its"
                " store refuses",
                refused=refused,
                remedy="what is named is in the backup: take it out by hand, or restore into"
                " another store",
            )
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Look at what a store holds; see ``BackupType.inspect``."""
        with _store_errors(instance, BackupError):
            client = s3_client(instance)
            inventory = _Inventory.of(client, instance, like)
            objects = Objects(client, inventory.wanted)
            listed, histories = inventory.listed(objects)
            if like is not None:
                listed = [one for one in listed if not _is_left_out(one.path, like)]
            names = _names((one.path for one in listed), histories)
            wanted = listed
            if like is not None and not like.complete:
                wanted = [one for one in listed if names[one.path] in like.items]
            wanted = sorted(wanted, key=lambda one: one.path)[:_DESCRIBED]
            files = {f.path: f for f in _cancellable(bench, objects.files(wanted))}
            content = _content(objects, files, like, names)
            found = _facts(files, listed, inventory, histories, content)
            unread = {names.get(path, _bucket(path)): why for path, why in objects.unread.items()}
        if like is None:
            return Facts(found.figures, found.items, not_covered={**found.not_covered, **unread})
        return Facts(
            found.figures,
            _as_recorded(found.items, like, files),
            not_covered={
                name: why
                for name, why in {**found.not_covered, **unread}.items()
                if name in like.items
            },
        )


_BY_HAND = (
    "# tree/ holds a folder for each bucket; objects whose names can't be paths, and old versions,",
    "# stand under stand-ins; index.jsonl has the true name (an old version's id after \\u0000),",
    "# metadata, tags, ACL and retention of each. buckets.json has the buckets' settings, and the",
    "# order of versions. With any S3 client, such as the AWS CLI:",
    'for b in tree/*/; do aws --endpoint-url "$URL" s3 sync "$b" "s3://$(basename "$b")"; done',
)


@dataclass(frozen=True)
class _Inventory:
    """Every bucket of a store with its settings, whatever the schema leaves out."""

    wanted: tuple[str, ...]
    left_out: tuple[str, ...]
    settings: Mapping[str, BucketSettings]
    """Of the wanted ones."""
    old: Mapping[str, tuple[int, int, int] | None]
    """Bucket → old versions, delete markers, keys behind one; None where that can't be told."""
    all_versions: bool
    first_format: bool = False

    @classmethod
    def of(cls, client: Any, instance: Instance, like: Facts | None = None) -> _Inventory:
        """Ask a store.

        Args:
            like: recorded facts: other buckets are left alone by a restore, and no difference.
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
            wanted = [name for name in names if _bucket(name) in like.items]
            versions = any(name.startswith("version ") for name in like.items)
        settings = {name: read_settings(client, name) for name in wanted}
        first = like is not None and _is_first_format(like)
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
        """Return what is to be read, and the histories of keys that have one."""
        if not self.all_versions:
            return list(objects.listed()), []
        found = list(objects.history())
        return (
            [one for versions in found for one in versions],
            [versions for versions in found if len(versions) > 1 or versions[-1].marker],
        )

    def document(self, histories: list[list[Listed]]) -> dict[str, Any]:
        """Return what a restore must know beside the objects."""
        document: dict[str, Any] = {
            "settings": {name: found.values for name, found in self.settings.items()},
            # What the server didn't tell is left as it is by a restore.
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
        """Return settings that the server didn't tell."""
        return {
            f"{_bucket(name)}/{setting}": why
            for name, found in self.settings.items()
            for setting, why in found.refused.items()
        }

    def excluded(self) -> dict[str, str]:
        """Return what is left out on purpose, or can't be there."""
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


def _restore(bench: Workbench, client: Any, artifact: OpenArtifact) -> dict[str, str]:
    """Put everything back; return what the store refused: name → why."""
    document = _document(artifact)
    settings: dict[str, dict[str, Any]] = document["settings"]
    facts = artifact.facts()
    all_versions = "versions" in document
    ranks = {
        path: rank
        for versions in document.get("versions", ())
        for rank, path in enumerate(versions)
    }
    held: set[str] = set()
    without: dict[str, set[str]] = {bucket: set() for bucket in settings}
    for file in artifact.files():
        held.add(file.path)
        if "recorded" in document:  # Backups of format 1 don't know.
            without.get(file.path.partition("/")[0], set()).update(lacks(file))
    several = {path.partition("/")[0] for path in ranks}
    there = {one["Name"] for one in client.list_buckets()["Buckets"]}
    for bucket, found in settings.items():
        if bucket not in there:
            create_bucket(client, bucket, found)
        prepare_bucket(client, bucket, found, versioned=bucket in several, without=without[bucket])
    objects = Objects(client, settings)
    if all_versions:
        extra = [
            replace(one, version=one.id).path for versions in objects.history() for one in versions
        ]
    else:
        extra = [one.path for one in objects.listed() if one.path not in held]
    extra = [path for path in extra if not _is_left_out(path, facts)]
    bench.tell(
        f"putting {len(held)} objects back, each over the one that is there: a store has no room"
        " for a second copy of its buckets"
    )
    count = 0
    refused: dict[str, str] = {}
    for round_ in range(max(ranks.values(), default=0) + 1):
        contents = artifact.contents(lambda file, now=round_: ranks.get(file.path, 0) == now)  # type: ignore[misc]
        put, bad = objects.put(_cancellable(bench, contents))
        count += put
        refused.update(bad)
    if refused and not count:
        raise RestoreError(
            f"the store refused every one of {len(refused)} objects",
            why=next(iter(refused.values())),
            remedy="nothing was replaced or deleted",
        )
    # Last: until here nothing is gone that the backup can't give.
    kept = {path.partition("\0")[0] for path in refused}
    extra = [path for path in extra if path.partition("\0")[0] not in kept]
    if extra:
        bench.tell(f"deleting {len(extra)} objects that the backup doesn't hold")
        refused |= objects.delete(_cancellable(bench, extra))
    for bucket, found in settings.items():
        recorded = document.get("recorded", {}).get(bucket, FIRST_FORMAT)
        for name, why in write_settings(client, bucket, found, recorded).items():
            refused[f"{_bucket(bucket)}/{name}"] = why
    bench.tell(f"{count} objects put back")
    # What is too much there couldn't be looked for.
    refused |= {_bucket(name): why for name, why in objects.unread.items()}
    return {_refused_name(name, ranks): why for name, why in refused.items()}


def _refused_name(name: str, ranks: Mapping[str, int]) -> str:
    """Return the name that the facts have for what was refused."""
    if name in ranks:
        return _version(name, ranks[name] + 1)
    return name if name.startswith("bucket ") else _object(name)


def _stable(
    objects: Objects,
    seen: Mapping[str, TreeFile],
    before: list[Listed],
    after: list[Listed],
    inventory: _Inventory,
    histories: list[list[Listed]],
) -> Facts:
    """Return facts of what didn't change while it was read."""
    later = {one.path: one for one in after}
    same = [one for one in before if later.get(one.path) == one]
    bad = objects.unread.keys() | objects.gone
    readable = sorted(
        (one for one in same if one.path in seen and one.path not in bad), key=lambda one: one.path
    )
    files = {one.path: seen[one.path] for one in readable[:_DESCRIBED]}
    whole = len(same) == len(before) == len(after)
    found = _facts(files, readable, inventory, histories, _content(objects, files, None, {}))
    # A group that something of changed isn't that of the copy.
    rest = _groups(one for one in after if one.path not in files)
    items = {
        name: text
        for name, text in found.items.items()
        if not name.startswith(_GROUP) or rest.get(name) == text
    }
    # Listed before and after, and neither read nor said to be unreadable.
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
        complete=whole and len(same) <= _DESCRIBED,
        not_covered={**inventory.not_covered(), **unread},
        excluded=inventory.excluded(),
    )


def _facts(
    files: Mapping[str, TreeFile],
    listed: list[Listed],
    inventory: _Inventory,
    histories: list[list[Listed]],
    content: Mapping[str, str],
) -> Facts:
    names = _names(files, histories)
    items = {names[path]: described(file) + content.get(path, "") for path, file in files.items()}
    items |= _groups(one for one in listed if one.path not in files)
    not_covered: dict[str, str] = {}
    for bucket, found in inventory.settings.items():
        if inventory.first_format:
            first = {name: v for name, v in found.values.items() if name in FIRST_FORMAT}
            items[_bucket(bucket)] = settings_digest(first)
            continue
        items[_bucket(bucket)] = "its settings follow"
        for name, value in found.values.items():
            items[f"{_bucket(bucket)}/{name}"] = settings_digest({name: value})
        for name, why in found.refused.items():
            not_covered[f"{_bucket(bucket)}/{name}"] = why
    figures = {
        "buckets": len(inventory.settings),
        "objects": sum(not one.version and not one.marker for one in listed),
        "bytes": sum(one.size for one in listed if not one.version),
    }
    return Facts(figures=figures, items=items, not_covered=not_covered)


def _names(paths: Iterable[str], histories: list[list[Listed]]) -> dict[str, str]:
    """Return the items' names of objects: a version by its number, the oldest is the first."""
    names = {path: _object(path) for path in paths}
    for versions in histories:
        for number, one in enumerate(versions, start=1):
            names[one.path] = _version(one.path, number)
    return names


def _groups(listed: Iterable[Listed]) -> dict[str, str]:
    """Return digests over groups of objects that don't depend on any order."""
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
        if one.size <= _IN_ONE_PART:
            self.plain = self.plain and is_md5(one.etag)
            text = f"{one.etag} {one.path}"
            self.contents ^= int.from_bytes(sha256(text.encode()).digest()[:8])

    def __str__(self) -> str:
        text = f"{self.count} objects {self.names:016x}"
        return f"{text} md5={self.contents:016x}" if self.plain else text


def _content(
    objects: Objects,
    files: Mapping[str, TreeFile],
    like: Facts | None,
    names: Mapping[str, str],
) -> dict[str, str]:
    """Return what shows that the content is the same: the store's MD5, or a digest of ours."""
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


def _as_recorded(
    items: Mapping[str, str], like: Facts, files: Mapping[str, TreeFile]
) -> dict[str, str]:
    """Leave out of what was found what wasn't recorded, and can't be compared therefore."""
    if _is_first_format(like):
        texts = {
            _object(path): described_first(file)
            + "".join(f" sha256={sha}" for sha in _parts(items[_object(path)]).get("sha256", ()))
            for path, file in files.items()
            if _object(path) in items
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
        end = lock_end(over[1]) if (over := _LOCK_END.search(recorded)) else None
        if end is not None and end <= now and " lock=" not in text:
            # A retention that is over can't be set again, and means nothing.
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


def _is_first_format(like: Facts) -> bool:
    """Return whether facts are those of a backup of format 1."""
    return any(
        name.startswith("bucket ") and re.fullmatch("[0-9a-f]{16}", text) and "/" not in name
        for name, text in like.items.items()
    )


def _is_left_out(path: str, facts: Facts) -> bool:
    bucket, _, _ = path.partition("/")
    return path in facts.left_out or bucket in facts.left_out


def _bucket(name: str) -> str:
    return f"bucket {name}"


def _object(path: str) -> str:
    return f"object {path}"


def _version(path: str, number: int) -> str:
    key, _, _ = path.partition("\0")
    return f"version {number} of {_object(key)}"


def _sampled(files: Iterable[TreeFile]) -> list[str]:
    """Choose objects whose content is compared: always the same ones of the same store."""
    small = [file.path for file in files if file.size <= _SAMPLE_BYTES]
    return sorted(small, key=lambda path: sha256(path.encode()).digest())[:_SAMPLED]


def _document(artifact: OpenArtifact) -> dict[str, Any]:
    (payload,) = [p for p in artifact.manifest.with_role("files") if p.name.startswith(_BUCKETS)]
    with artifact.read(payload) as source:
        found: dict[str, Any] = json.loads(source.read())
    return found


def _noting(files: Iterable[TreeFile], seen: dict[str, TreeFile]) -> Iterator[TreeFile]:
    for file in files:
        seen[file.path] = file
        yield file


def _cancellable(bench: Workbench, things: Iterable[One]) -> Iterator[One]:
    for thing in things:
        if bench.cancel.is_set():
            raise CancelledError("the work on the buckets was cancelled")
        yield thing


@contextmanager
def _store_errors(
    instance: Instance, kind: type[BackupError] | type[RestoreError]
) -> Iterator[None]:
    """Turn what the store refuses into our errors. Never its text: it may hold a signed URL."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise kind(
            f"{instance.service} refused {error.operation_name}",
            why=f"code {code}",
            remedy=f"look at its log: `mmstack logs {instance.service}`",
        ) from None
    except BotoCoreError as error:
        raise kind(
            f"{instance.service} can't be reached",
            why=type(error).__name__,
            remedy=f"look at its log: `mmstack logs {instance.service}`",
        ) from None
