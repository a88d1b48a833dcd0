"""A site of retention over folders and stores of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.retention_strategy import Site
from mmstack_ops.domain.schema.service import Port

DAY = 86400.0


@dataclass
class Folders:
    """What strategies use of a workbench: volumes as folders."""

    volumes: dict[str, Path] = field(default_factory=dict)
    cancel: threading.Event = field(default_factory=threading.Event)

    def volume_path(self, volume: str) -> Path | None:
        return self.volumes.get(volume)


def site(
    instance: Instance,
    *,
    days: float,
    folders: Folders | None = None,
    archive: Path | None = None,
    recipients: tuple[str, ...] = (),
    told: list[str] | None = None,
) -> Site:
    """A site whose moment is so many days ago."""

    def make(name: str) -> Path:
        assert archive is not None
        folder = archive / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return Site(
        bench=cast(Workbench, folders or Folders()),
        instance=instance,
        before=datetime.now(UTC) - timedelta(days=days),
        age=days * DAY,
        tell=(told if told is not None else []).append,
        archive=make,
        recipients=lambda: recipients,
    )


def with_volume(folder: Path, *, at: str = "/data") -> tuple[Instance, Folders]:
    """An instance with one volume, which is ``folder``."""
    instance = replace(tool_instance("lab/any:1", "testing", "worker"), volumes={at: "volume"})
    return instance, Folders({"volume": folder})


@contextmanager
def scripted(service: str, answer: Callable[[str, str], tuple[int, bytes]]) -> Iterator[Instance]:
    """An instance whose HTTP server is this process: method and path → status and body."""

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            status, content = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _reply  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    made = tool_instance("lab/any:1", "testing", service)
    ports = [Port(name="http", container=listening.server_port)]
    definition = made.definition.model_copy(update={"ports": ports})
    try:
        yield replace(made, definition=definition, address="127.0.0.1", running=True)
    finally:
        listening.shutdown()
        listening.server_close()
