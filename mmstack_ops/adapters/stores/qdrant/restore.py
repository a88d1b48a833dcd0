"""Restore collections: each is loaded next to the live one and compared before it replaces it.

Qdrant can't rename a collection. So what was loaded as a copy and compared is loaded again, over
the live collection: the server replaces it once the whole snapshot is read. If it can't (the
settings differ, or the points come from an export), the live collection is deleted first. If the
new one can't be loaded then, the copy stays, and the error names it; a restore that succeeds
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
"""Attribute of a payload: absent for a snapshot, otherwise ``POINTS``."""
POINTS = "points"
SETTINGS = "settings.json"
"""The payload with the server's report on each collection; format 1 doesn't have it."""

_JOURNAL = "qdrant-copy"
_DELETED = "qdrant-deleted"
_STORAGE = "/qdrant/storage"
# The server stores an upload as a file, then unpacks it, before it is a collection.
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
        """Run the restore.

        Raises:
            PartialRestoreError: the server refused some collections; their old content stays.
            UntouchedError: it failed before anything live was touched, for example because a
                collection differs from what was recorded.
            BackupError: the server refused something later.
        """
        try:
            self._run()
        except CancelledError:
            raise
        except MmstackError as error:
            # A drill distinguishes a backup that fails from one that it couldn't try.
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
                # After any error, no copy stays next to the live data.
                failure = error
            needed = _needed_copies(self._bench, self._instance)
            try:
                for copy in copies.values():
                    if copy not in needed:
                        self._server.delete_collection(copy)
            except BackupError as error:
                # Raised while the records are open: they stay, and the next run deletes the copy.
                raise failure or error from None
            if failure is not None and not needed.keys().isdisjoint(copies.values()):
                # The same for a copy that stays, until a restore succeeds.
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
        """Load what would replace a live collection under another name, and compare it.

        A copy is deleted once it is compared, unless it is needed: ``copies`` names those.
        """
        for collection, payload in held.items():
            if collection not in live or not self._has_room(collection, payload):
                continue
            self._check()
            self._bench.tell(f"loading collection {collection} beside the live one")
            copy = f"mmstack-restore-{secrets.token_hex(8)}"
            # Recorded before the copy exists: a kill never leaves a copy without a record.
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
                # Only now: if the deletion fails, it is tried again, or the record stays.
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
            # Otherwise the snapshot would be loaded into the collection behind the alias.
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

        # Last: old data is deleted once the new data is in.
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
        """Delete a live collection and load it again; its copy stays if that fails."""
        with ExitStack() as records:
            if copy is not None:
                # The record stays if loading fails, and after a kill.
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
        """Forget collections that are loaded again; return the copies of those that aren't."""
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
        """Set what a server may not take from a snapshot: payload indexes and strict mode."""
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
            # Its facts name points by the name of their collection: it is compared afterwards.
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
            # The caller compares everything and reports the differences.
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
        """Return whether the copy shows that loading can't replace the live collection."""
        if payload.attributes.get(FORM) == POINTS:
            return True
        return self._settings(collection) != self._settings(copy)

    def _cannot_be_loaded_over(self, collection: str, payload: Payload) -> bool:
        """Return whether loading can't replace a live collection, without a copy to compare."""
        if payload.attributes.get(FORM) == POINTS:
            return True
        place = collection_name(collection)
        recorded = {
            name: text
            for name, text in self._facts.items.items()
            if name.startswith((f"{place}/config/", f"{place}/index/"))
        }
        # Backups of format 1 don't record them: then the server decides whether they fit.
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
    """Delete the copies that killed restores left next to live collections, each by its name.

    No copy is deleted while one of them is all that the server has of a collection.
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
    """Return copies whose live collection was deleted and not loaded again: copy → collection."""
    found = bench.abandoned(_deleted_key(instance, ""))
    return {record["copy"]: record["collection"] for record in found}
