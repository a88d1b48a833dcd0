"""Collections put back: each is loaded beside the live one and compared before it replaces it.

Qdrant can't rename a collection. So what was loaded and compared beside is loaded once more, over
the live one: the server replaces it when the snapshot was read whole. Where it can't (the settings
differ, or the points come from an export), the live collection is deleted first. If the new one
can't be loaded then, the copy beside it stays, and the error names it; a restore that succeeds
deletes it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.instance_records import leftovers, record_key
from mmstack_ops.adapters.stores.qdrant.facts import (
    FirstForm,
    alias_name,
    collection_name,
    look_at,
    part_of,
    settings_of,
)
from mmstack_ops.adapters.stores.qdrant.points import load_points
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.adapters.stores.volumes.free_space import free_bytes
from mmstack_ops.domain.backups.facts import compare, is_below
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    MmstackError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)
from mmstack_ops.domain.units import format_bytes

COLLECTION = "collection"
"""Attribute of a payload: the collection that it holds."""
FORM = "form"
"""Attribute of a payload: absent for a snapshot, else ``POINTS``."""
POINTS = "points"
SETTINGS = "settings.json"
"""The payload with what the server said of each collection; format 1 doesn't have it."""

_JOURNAL = "qdrant-copy"
_DELETED = "qdrant-deleted"
_STORAGE = "/qdrant/storage"
# An upload stands as a file, then unpacked, before it is a collection.
_TIMES = 2


class CollectionsRestore:
    """One restore of a server's collections.

    Args:
        is_wanted: whether the schema includes a collection.
        aliases: alias → collection, as the backup holds them.
    """

    def __init__(
        self,
        bench: Workbench,
        instance: Instance,
        server: QdrantServer,
        artifact: OpenArtifact,
        is_wanted: Callable[[str], bool],
        aliases: Mapping[str, str],
    ) -> None:
        self._bench = bench
        self._instance = instance
        self._server = server
        self._artifact = artifact
        self._is_wanted = is_wanted
        self._aliases = aliases
        self._facts = artifact.facts()
        self._refused: dict[str, str] = {}
        self._touched = False

    def run(self) -> None:
        """Do it.

        Raises:
            PartialRestoreError: some collections weren't taken; what was there of them stays.
            UntouchedError: what failed before anything live was touched, such as a collection
                that differs from what was recorded.
            BackupError: the server refused something later.
        """
        try:
            self._run()
        except CancelledError:
            raise
        except MmstackError as error:
            # A drill tells a backup that fails from one that it couldn't try.
            if self._touched or self._instance.scratch:
                raise
            raise UntouchedError.of(error) from None

    def _run(self) -> None:
        delete_copies(self._bench, self._instance, self._server)
        left_out = self._facts.left_out
        held = {
            payload.attributes[COLLECTION]: payload
            for payload in self._artifact.manifest.with_role("dump")
            if not is_below(collection_name(payload.attributes[COLLECTION]), left_out)
        }
        live = self._server.collections()
        copies: dict[str, str] = {}
        failure: BaseException | None = None
        with ExitStack() as records:
            try:
                self._load_beside(held, live, copies, records)
                self._replace(held, live, copies)
            except BaseException as error:
                # Whatever ended it, no copy stays beside what is live.
                failure = error
            needed = _needed_copies(self._bench, self._instance)
            try:
                for copy in copies.values():
                    if copy not in needed:
                        self._server.delete_collection(copy)
            except BackupError as error:
                # Raised while the records are open: they stay, and the next run deletes it.
                raise failure or error from None
            if failure is not None and not needed.keys().isdisjoint(copies.values()):
                # The same, for a copy that stays: the restore that succeeds forgets it.
                raise failure
        if failure is not None:
            raise failure
        if self._refused:
            raise PartialRestoreError(
                f"{self._instance.service} doesn't take some collections back",
                refused=self._refused,
                remedy=f"look at its log: `mmstack logs {self._instance.service}`",
            )

    def _load_beside(
        self,
        held: Mapping[str, Payload],
        live: list[str],
        copies: dict[str, str],
        records: ExitStack,
    ) -> None:
        """Load what would replace a live collection under another name, and compare it there.

        A copy is deleted when it was compared, unless it is needed: ``copies`` names those.
        """
        for collection, payload in held.items():
            if collection not in live or not self._has_room(collection, payload):
                continue
            self._check()
            self._bench.tell(f"loading collection {collection} beside the live one")
            copy = f"mmstack-restore-{secrets.token_hex(8)}"
            # Before there is anything to delete: a kill leaves a name, never a copy without one.
            record = {"collection": copy}
            records.enter_context(self._bench.journal(record_key(_JOURNAL, self._instance), record))
            copies[collection] = copy
            try:
                self._load(copy, payload)
            except BackupError as error:
                self._refuse(collection, error)
                continue
            self._compare(collection, copy)
            if not self._must_be_deleted(collection, payload, copy):
                self._server.delete_collection(copy)
                # Only now: what couldn't be deleted is tried again, or its record stays.
                del copies[collection]

    def _replace(
        self, held: Mapping[str, Payload], live: list[str], copies: Mapping[str, str]
    ) -> None:
        aliases = self._server.aliases()
        in_the_way = [
            name for name in aliases if name in held and collection_name(name) not in self._refused
        ]
        if in_the_way:
            self._touched = True
            # Else the snapshot would be loaded into the collection that the alias leads to.
            self._server.delete_aliases(in_the_way)
        for collection, payload in held.items():
            if collection_name(collection) in self._refused:
                continue
            self._check()
            self._bench.tell(f"recovering collection {collection}")
            must_go = collection in live and (
                collection in copies or self._cannot_be_loaded_over(collection, payload)
            )
            self._touched = True
            try:
                if must_go:
                    self._replace_deleted(collection, payload, copies.get(collection))
                else:
                    self._load(collection, payload)
            except BackupError as error:
                if collection in live:
                    raise
                self._refuse(collection, error)
        if held and all(collection_name(one) in self._refused for one in held):
            raise RestoreError(
                f"{self._instance.service} takes none of the collections back",
                why=next(iter(self._refused.values())),
                remedy=f"look at its log: `mmstack logs {self._instance.service}`",
            )
        left_out = self._facts.left_out
        needed = self._still_needed()

        def stays(collection: str) -> bool:
            name = collection_name(collection)
            return (
                not self._is_wanted(collection)
                or is_below(name, left_out)
                or name in self._refused
                or collection in needed
            )

        # Last: old data is deleted when the new is in.
        for extra in live:
            if extra not in held and not stays(extra):
                self._touched = True
                self._bench.tell(f"deleting collection {extra}, which the backup doesn't hold")
                self._server.delete_collection(extra)
        there = self._server.collections()
        kept = {
            name: collection
            for name, collection in self._server.aliases().items()
            if stays(collection) or is_below(alias_name(name), left_out)
        }
        for name, collection in self._aliases.items():
            if collection not in there:
                self._refused[alias_name(name)] = f"its collection {collection} isn't there"
        wanted = {name: one for name, one in self._aliases.items() if one in there}
        self._touched = True
        self._server.replace_aliases({**kept, **wanted})

    def _replace_deleted(self, collection: str, payload: Payload, copy: str | None) -> None:
        """Delete a live collection and load it; the copy beside it stays if that fails."""
        with ExitStack() as records:
            if copy is not None:
                # It outlives the block when loading fails, and a kill.
                record = {"collection": collection, "copy": copy}
                records.enter_context(
                    self._bench.journal(_deleted_key(self._instance, collection), record)
                )
            self._server.delete_collection(collection)
            try:
                self._load(collection, payload)
            except MmstackError as error:
                if copy is None or isinstance(error, CancelledError):
                    raise
                raise RestoreError(
                    f"collection {collection} was deleted and couldn't be loaded again:"
                    f" {error.what}",
                    why=error.why,
                    remedy=f"restore it again; until that succeeds, what the backup holds of it"
                    f" stands in collection {copy} of {self._instance.service}",
                ) from None

    def _still_needed(self) -> set[str]:
        """Forget what is whole again; return the copies of what this restore didn't load either."""
        found = _needed_copies(self._bench, self._instance)
        for collection in found.values():
            if collection_name(collection) not in self._refused:
                for _ in self._bench.leftovers(_deleted_key(self._instance, collection)):
                    pass
        return {c for c, one in found.items() if collection_name(one) in self._refused}

    def _load(self, collection: str, payload: Payload) -> None:
        with self._artifact.read(payload) as source:
            if payload.attributes.get(FORM) == POINTS:
                load_points(self._server, collection, source, check=self._check)
            else:
                checksum = payload.attributes.get("checksum", "")
                self._server.recover(collection, source, payload.plain_bytes, checksum)
                self._complete_settings(collection, payload.attributes[COLLECTION])

    def _complete_settings(self, collection: str, recorded_as: str) -> None:
        """Set what a server may not take from a snapshot: indexes of payloads, strict mode."""
        recorded = self._settings_file.get(recorded_as)
        if recorded is None:
            return
        info = self._server.info(collection)
        there = info.get("payload_schema") or {}
        for field, index in (recorded.get("payload_schema") or {}).items():
            if field not in there:
                schema = index.get("params") or index["data_type"]
                self._server.create_index(collection, field, schema)
        strict = recorded["config"].get("strict_mode_config")
        if strict and strict != info["config"].get("strict_mode_config"):
            self._server.update_collection(collection, {"strict_mode_config": strict})

    def _compare(self, collection: str, copy: str) -> None:
        if FirstForm.is_of(self._facts):
            # Its facts name points by the name of their collection; it is compared afterwards.
            return
        recorded = part_of(self._facts, collection)
        found = look_at(
            self._server, copy, check=self._check, known_as=collection, like=self._facts
        )
        comparison = compare(recorded, found)
        if comparison.equal:
            return
        first = "; ".join(comparison.differences[:3])
        if self._bench.accept_differences:
            # The caller compares all of it, and says so.
            self._bench.tell(f"collection {collection} differs from what was recorded: {first}")
            return
        raise RestoreError(
            f"collection {collection} differs from what was recorded at backup time, in"
            f" {comparison.total_differences} places; nothing was replaced",
            why=first,
            remedy="choose another backup (`mmstack backup list`), restore this one beside the"
            " live data (`mmstack restore --into-scratch`), or with --accept-differences",
        )

    def _must_be_deleted(self, collection: str, payload: Payload, copy: str) -> bool:
        """Return whether the copy shows that the live collection can't be loaded over."""
        if payload.attributes.get(FORM) == POINTS:
            return True
        return self._settings(collection) != self._settings(copy)

    def _cannot_be_loaded_over(self, collection: str, payload: Payload) -> bool:
        """Return whether a live collection can't be loaded over, without a copy to look at."""
        if payload.attributes.get(FORM) == POINTS:
            return True
        place = collection_name(collection)
        recorded = {
            name: text
            for name, text in self._facts.items.items()
            if name.startswith((f"{place}/config/", f"{place}/index/"))
        }
        # Backups of format 1 don't say it: then the server tells whether they fit.
        return bool(recorded) and recorded != settings_of(place, self._server.info(collection))

    def _settings(self, collection: str) -> tuple[dict[str, Any], dict[str, Any]]:
        info = self._server.info(collection)
        indexes = {
            field: {name: value for name, value in index.items() if name != "points"}
            for field, index in (info.get("payload_schema") or {}).items()
        }
        return info["config"], indexes

    def _has_room(self, collection: str, payload: Payload) -> bool:
        free = self._free
        needed = _TIMES * payload.plain_bytes
        if free is None or free > needed:
            return True
        self._bench.tell(
            f"there is no room to load collection {collection} beside the live one"
            f" ({format_bytes(free)} free, {format_bytes(needed)} needed): it is replaced without"
            " having been loaded and compared before"
        )
        return False

    @cached_property
    def _settings_file(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for payload in self._artifact.manifest.with_role("globals"):
            with self._artifact.read(payload) as source:
                found |= json.loads(source.read())
        return found

    @cached_property
    def _free(self) -> int | None:
        return free_bytes(self._bench, self._instance, _STORAGE)

    def _refuse(self, collection: str, error: BackupError) -> None:
        why = "; ".join(filter(None, (error.what, error.why)))
        self._bench.tell(f"collection {collection} isn't taken back: {why}")
        self._refused[collection_name(collection)] = why

    def _check(self) -> None:
        if self._bench.cancel.is_set():
            raise CancelledError("the work on Qdrant's collections was cancelled")


def delete_copies(bench: Workbench, instance: Instance, server: QdrantServer) -> None:
    """Delete the copies that killed restores left beside live collections, each by its name.

    None is deleted while one of them is all that the server has of a collection.
    """
    if needed := _needed_copies(bench, instance):
        for copy, collection in needed.items():
            bench.tell(
                f"{copy} stays: a restore deleted collection {collection} and couldn't load it"
                " again; restore it, and the copy goes"
            )
        return
    for record in leftovers(bench, _JOURNAL, instance):
        if server.delete_collection(record["collection"]):
            bench.tell(f"deleted {record['collection']}, a copy that a killed restore left")


def _deleted_key(instance: Instance, collection: str) -> str:
    return f"{record_key(_DELETED, instance)}/{collection}"


def _needed_copies(bench: Workbench, instance: Instance) -> dict[str, str]:
    """Return the copies whose live collection was deleted and isn't there again: copy → which."""
    found = bench.abandoned(_deleted_key(instance, ""))
    return {record["copy"]: record["collection"] for record in found}
