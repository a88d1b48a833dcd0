"""Restore indices: each is restored next to the live one and compared before it replaces it."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.elasticsearch.facts import FirstForm, look_at
from mmstack_ops.adapters.stores.elasticsearch.server import ElasticsearchServer, Source
from mmstack_ops.adapters.stores.instance_records import leftovers, record_key
from mmstack_ops.domain.backups.facts import Facts, compare, is_below
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    MmstackError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)
from mmstack_ops.domain.units import format_bytes

REPOSITORY = "/_snapshot/mmstack"
_JOURNAL = "elasticsearch-copy"
_DEADLINE = 6 * 3600.0
_NOT_HERE = "/aliases"
"""What a copy doesn't have: requests for an alias must not find the copy."""


class IndicesRestore:
    """One restore of a server's indices and data streams from a snapshot."""

    def __init__(
        self,
        bench: Workbench,
        instance: Instance,
        server: ElasticsearchServer,
        artifact: OpenArtifact,
        snapshot: str,
    ) -> None:
        self._bench = bench
        self._instance = instance
        self._server = server
        self._snapshot = f"{REPOSITORY}/{quote(snapshot, safe='')}"
        self._facts = artifact.facts()
        self._bytes = sum(file.size for file in artifact.files())
        self._refused: dict[str, str] = {}
        self._touched = False

    def run(self) -> None:
        """Run the restore.

        Raises:
            PartialRestoreError: the server refused some indices; their old content stays.
            UntouchedError: it failed before anything live was touched, for example because an
                index differs from what was recorded.
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
        held = self._held()
        live = {one.place: one for one in self._server.sources()}
        copies: dict[str, Source] = {}
        failure: BaseException | None = None
        with ExitStack() as records:
            try:
                if self._has_room(held, live):
                    self._load_beside(held, live, copies, records)
                self._replace(held, live)
            except BaseException as error:
                # After any error, no copy stays next to the live data.
                failure = error
            try:
                for copy in copies.values():
                    self._server.delete(copy)
            except BackupError as error:
                # Raised while the records are open: they stay, and the next run deletes the copy.
                raise failure or error from None
        if failure is not None:
            raise failure
        if self._refused:
            raise PartialRestoreError(
                f"{self._instance.service} doesn't take some indices back",
                refused=self._refused,
                remedy=f"look at its log: `mmstack logs {self._instance.service}`",
            )

    def _held(self) -> list[Source]:
        """Return what the snapshot holds completely."""
        (found,) = self._server.ask("GET", self._snapshot)["snapshots"]
        streams = [str(one) for one in found.get("data_streams") or ()]
        sources = [Source("stream", name) for name in streams]
        for name in map(str, found["indices"]):
            # Indices behind a data stream are restored with it.
            if not name.startswith("."):
                sources.append(Source("index", name))
        left_out = self._facts.left_out
        return [one for one in sources if not is_below(one.place, left_out)]

    def _has_room(self, held: list[Source], live: dict[str, Source]) -> bool:
        if not any(one.place in live for one in held):
            return False
        free = self._server.free_bytes()
        if free is None or free > self._bytes:
            return True
        self._bench.tell(
            f"there is no room to restore the indices beside the live ones ({format_bytes(free)}"
            f" free, {format_bytes(self._bytes)} needed): they are replaced without having been"
            " restored and compared before"
        )
        return False

    def _load_beside(
        self,
        held: list[Source],
        live: dict[str, Source],
        copies: dict[str, Source],
        records: ExitStack,
    ) -> None:
        for one in held:
            if one.place not in live:
                continue
            if one.kind == "stream":
                self._bench.tell(f"{one.name} is a data stream: it is replaced in its place")
                continue
            self._check()
            self._bench.tell(f"restoring index {one.name} beside the live one")
            copy = Source("index", f"mmstack-restore-{secrets.token_hex(8)}")
            # Recorded before the copy exists: a kill never leaves a copy without a record.
            record = {"index": copy.name}
            records.enter_context(self._bench.journal(record_key(_JOURNAL, self._instance), record))
            copies[one.place] = copy
            try:
                self._load(one, copy)
            except BackupError as error:
                self._refuse(one, error)
                continue
            self._compare(one, copy)

    def _replace(self, held: list[Source], live: dict[str, Source]) -> None:
        for one in held:
            if one.place in self._refused:
                continue
            self._check()
            self._bench.tell(f"restoring {one.kind} {one.name}")
            self._touched = True
            if one.place in live:
                self._server.delete(one)
            try:
                self._load(one)
            except BackupError as error:
                if one.place in live:
                    raise
                self._refuse(one, error)
        if held and all(one.place in self._refused for one in held):
            raise RestoreError(
                f"{self._instance.service} takes none of the indices back",
                why=next(iter(self._refused.values())),
                remedy=f"look at its log: `mmstack logs {self._instance.service}`",
            )
        # Last: old data is deleted once the new data is in.
        kept = {one.place for one in held}
        for place, one in live.items():
            if not (one.own or place in kept or is_below(place, self._facts.left_out)):
                self._touched = True
                self._bench.tell(f"deleting {one.kind} {one.name}, which the backup doesn't hold")
                self._server.delete(one)

    def _load(self, source: Source, copy: Source | None = None) -> None:
        """Restore from the snapshot, under another name if ``copy`` is given.

        Raises:
            BackupError: the server refused it, or didn't restore all of it.
        """
        wanted: dict[str, Any] = {"indices": source.name, "include_global_state": False}
        if copy is not None:
            wanted |= {
                "rename_pattern": "^.*$",
                "rename_replacement": copy.name,
                "include_aliases": False,
            }
        answer = self._server.ask(
            "POST",
            f"{self._snapshot}/_restore?wait_for_completion=true",
            wanted,
            within=_DEADLINE,
        )
        failed = answer.get("snapshot", {}).get("shards", {}).get("failed", 0)
        if failed:
            raise BackupError(
                f"{failed} shards of {source.name} weren't restored",
                remedy="look at the server's log",
            )

    def _compare(self, source: Source, copy: Source) -> None:
        if FirstForm.is_of(self._facts):
            # Its facts cover the whole server: it is compared afterwards.
            return
        recorded = _part_of(self._facts, source)
        found = look_at(self._server, copy, check=self._check, known_as=source)
        comparison = compare(recorded, _without_aliases(found))
        if comparison.equal:
            return
        first = "; ".join(comparison.differences[:3])
        if self._bench.accept_differences:
            # The caller compares everything and reports the differences.
            self._bench.tell(f"index {source.name} differs from what was recorded: {first}")
            return
        raise RestoreError(
            f"index {source.name} differs from what was recorded at backup time, in"
            f" {comparison.total_differences} places; nothing was replaced",
            why=first,
            remedy="choose another backup (`mmstack backup list`), restore this one beside the"
            " live data (`mmstack restore --into-scratch`), or with --accept-differences",
        )

    def _refuse(self, source: Source, error: BackupError) -> None:
        why = "; ".join(filter(None, (error.what, error.why)))
        self._bench.tell(f"{source.kind} {source.name} isn't taken back: {why}")
        self._refused[source.place] = why

    def _check(self) -> None:
        if self._bench.cancel.is_set():
            raise CancelledError("the work on Elasticsearch was cancelled")


def delete_copies(bench: Workbench, instance: Instance, server: ElasticsearchServer) -> None:
    """Delete the copies that killed restores left next to live indices, each by its name."""
    for record in leftovers(bench, _JOURNAL, instance):
        server.delete(Source("index", record["index"]))
        bench.tell(f"deleted {record['index']}, a copy that a killed restore left")


def _part_of(facts: Facts, source: Source) -> Facts:
    """Return the facts of one index, without what a copy of it doesn't have."""
    below = f"{source.place}/"
    return _without_aliases(
        replace(
            facts,
            figures={n: c for n, c in facts.figures.items() if n.startswith(below)},
            items={n: d for n, d in facts.items.items() if n.startswith(below)},
            bounds={n: b for n, b in facts.bounds.items() if n.startswith(below)},
            not_covered={},
            excluded={},
        )
    )


def _without_aliases(facts: Facts) -> Facts:
    items = {name: one for name, one in facts.items.items() if not name.endswith(_NOT_HERE)}
    return replace(facts, items=items)
