"""Run pg_dump and pg_restore in containers of a service's image."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Tools, Workbench
from mmstack_ops.adapters.stores.postgres.archive import HEAD_BYTES, parse_head
from mmstack_ops.adapters.stores.postgres.server import Server, complaint, warnings_in
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import ArtifactError

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 1 << 20


class DumpTools:
    """PostgreSQL's tools in a container that is re-created after a command has failed in it."""

    def __init__(self, bench: Workbench, instance: Instance, server: Server) -> None:
        self._bench = bench
        self._instance = instance
        self._server = server
        self._open = ExitStack()
        self._tools: Tools | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, failure, trace)

    def usable(self) -> Tools:
        """Return the tools; start their container if there is none."""
        if self._tools is None:
            server = self._server
            self._tools = self._open.enter_context(
                self._bench.tools(
                    self._instance, environment=server.environment, secrets=server.secrets
                )
            )
        return self._tools

    def renew(self) -> None:
        """Remove the container; the next command gets a new one."""
        self._tools = None
        self._open.close()


def judge(bench: Workbench) -> Callable[[str], bool]:
    """Return a function that judges a tool's stderr and reports its warnings."""

    def fails(text: str) -> bool:
        for warning in warnings_in(text):
            bench.tell(warning)
        return complaint(text)

    return fails


def check_archive(
    bench: Workbench, tools: Instance, artifact: OpenArtifact, payload: Payload
) -> None:
    """Read a whole archive with pg_restore.

    Raises:
        ArtifactError: the archive differs from what was dumped.
        BackupError: pg_restore can't read it.
    """
    # Read any bytes after the end of the archive too, so that the hash is checked.
    script = "pg_restore -f /dev/null && cat >/dev/null"
    with (
        artifact.read(payload) as source,
        bench.consume(
            tools, ["sh", "-c", f'{{ {script}; }} <"$IN"'], stderr_fails=judge(bench)
        ) as sink,
    ):
        first = source.read(HEAD_BYTES)
        entries = str(parse_head(first).entries)
        sink.write(first)
        shutil.copyfileobj(source, sink, _CHUNK)
    recorded = payload.attributes.get("entries", entries)
    if entries != recorded:
        raise ArtifactError(
            "its table of contents differs", why=f"{entries} entries, {recorded} at backup time"
        )
