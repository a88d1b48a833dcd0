"""A registry of one image on the loopback address: enough of the Registry API v2 for a pull."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_CHUNK = 128 << 10
# exit(0), as machine code: an image that runs needs no more.
_EXITS = {
    "amd64": (62, b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"),
    "arm64": (183, struct.pack("<III", 0xD2800BA8, 0xD2800000, 0xD4000001)),
}


def _program(architecture: str) -> bytes:
    """A static ELF file that ends with 0 at once."""
    machine, code = _EXITS[architecture]
    base, offset = 0x400000, 64 + 56
    size = offset + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, base + offset, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code


def _layer(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        file = tarfile.TarInfo(name)
        file.size, file.mode = len(content), 0o755
        tar.addfile(file, io.BytesIO(content))
    return archive.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Registry:
    """One image, ``name:1``, with a program and a layer of ``size`` bytes that don't compress."""

    architecture: str
    name: str
    size: int = 3 << 20
    seconds: float = 1.0
    """How long the large layer takes."""
    port: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""
    large: str = ""
    """Digest of the large layer."""

    def __post_init__(self) -> None:
        # The name makes the layers new to the engine, which keeps those it has.
        noise = random.Random(self.name).randbytes(self.size)
        tars = [_layer("program", _program(self.architecture)), _layer("noise", noise)]
        config = {
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/program"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar) for tar in tars]},
        }
        packed = [gzip.compress(tar, 1, mtime=0) for tar in tars]
        raw = json.dumps(config).encode()
        self.blobs = {_digest(blob): blob for blob in (raw, *packed)}
        self.large = _digest(packed[-1])
        document = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(_CONFIG, raw),
            "layers": [_described(_LAYER, blob) for blob in packed],
        }
        self.manifest = json.dumps(document).encode()

    @property
    def reference(self) -> str:
        return f"127.0.0.1:{self.port}/{self.name}:1"

    def corrupt(self) -> None:
        """Serve other bytes, as many, as the large layer."""
        whole = self.blobs[self.large]
        self.blobs[self.large] = whole[:-100] + bytes(100)

    @contextmanager
    def serving(self) -> Iterator[Registry]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


def _described(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            if self.path == "/v2/":
                self._answer("application/json", b"{}")
            elif self.path == f"/v2/{registry.name}/manifests/{last}":
                self._answer(_MANIFEST, registry.manifest)
            elif last in registry.blobs:
                pause = registry.seconds if last == registry.large else 0.0
                self._answer("application/octet-stream", registry.blobs[last], pause)
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815  # the name http.server calls

        def _answer(self, kind: str, content: bytes, seconds: float = 0.0) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", _digest(content))
            self.end_headers()
            if self.command == "HEAD":
                return
            starts = range(0, len(content), _CHUNK)
            for start in starts:
                self.wfile.write(content[start : start + _CHUNK])
                time.sleep(seconds / len(starts))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            """Quiet: the engine's errors say what was wrong."""

    return Handler
