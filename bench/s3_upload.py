"""Upload to object storage: ours against boto3's bare ``upload_file``, to a stub that discards.

Each upload runs in a process of its own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Row, alternating

TITLE = "Upload to object storage"
_MEBIBYTES = int(os.environ.get("BENCH_S3_MEBIBYTES", "512"))
_ROUNDS = 3

_STUB = '''
import base64, re, socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    """Reads requests, keeps nothing, and says what boto3 and our tier want to hear."""
    rbufsize = 1 << 20
    disable_nagle_algorithm = True
    size, done = 0, False
    def handle(self):
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        while line := self.rfile.readline():
            method, path, _ = line.decode().split(" ", 2)
            headers = {}
            while (raw := self.rfile.readline()) not in (b"\\r\\n", b""):
                name, _, value = raw.decode().partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("expect"):
                self.wfile.write(b"HTTP/1.1 100 Continue\\r\\n\\r\\n")
            left = int(headers.get("content-length", 0))
            if method == "PUT":
                Handler.size += left
            while left:
                left -= self.rfile.readinto(view[: min(left, len(view))])
            status, more, body = "200 OK", "", b""
            if method == "HEAD":
                if Handler.done:
                    more = f"Content-Length: {Handler.size}\\r\\n"
                else:
                    status = "404 Not Found"
            elif "uploads" in path:
                body = b"<R><UploadId>u</UploadId></R>"
            elif method == "POST":
                Handler.done = True
                body = b'<R><ETag>"e-1"</ETag></R>'
            if method != "HEAD":
                more += f"Content-Length: {len(body)}\\r\\n"
            head = f'HTTP/1.1 {status}\\r\\nETag: "e"\\r\\n{more}\\r\\n'.encode()
            self.wfile.write(head + body)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
'''

_OURS = """
import sys, time
from bench.measure import peak_memory
from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier
from mmstack_ops.adapters.storage.s3.calls import Credentials
from mmstack_ops.adapters.storage.s3.location import S3Location
path, endpoint, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
tier = S3Tier("bench", S3Location(endpoint, "bucket", ""), Credentials("a", "b"))
tier.size("warm")
begun = time.perf_counter()
with open(path, "rb", buffering=0) as source, tier.create("k", expected_size=size) as target:
    while data := source.read(1 << 20):
        target.write(data)
taken = time.perf_counter() - begun
print(taken, peak_memory())
"""

_BOTO3 = """
import sys, time
from bench.measure import peak_memory
import boto3
path, endpoint = sys.argv[1], sys.argv[2]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                      aws_access_key_id="a", aws_secret_access_key="b")
try:
    client.head_object(Bucket="bucket", Key="warm")
except client.exceptions.ClientError:
    pass  # It isn't there; the connection is.
begun = time.perf_counter()
client.upload_file(path, "bucket", "k")
taken = time.perf_counter() - begun
print(taken, peak_memory())
"""


def run() -> list[Row]:
    """Return speed and peak memory of both, and their ratio."""
    peaks: dict[str, float] = {}
    size = _MEBIBYTES << 20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        with path.open("wb") as file:
            for _ in range(_MEBIBYTES):
                file.write(os.urandom(1 << 20))

        def upload(code: str, name: str) -> float:
            # A stub of its own for each: what it counted is this upload's.
            with _stub() as endpoint:
                done = subprocess.run(
                    [sys.executable, "-c", code, str(path), endpoint, str(size)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            if done.returncode:
                sys.exit(f"the upload by {name} failed:\n{done.stderr}")
            seconds, peak = done.stdout.split()
            peaks[name] = max(peaks.get(name, 0.0), float(peak))
            return float(seconds)

        ours, peer = alternating(
            lambda: upload(_OURS, "ours"), lambda: upload(_BOTO3, "boto3"), _ROUNDS
        )
    ratio = peer / ours
    return [
        Row(
            what=f"{_MEBIBYTES} MiB; peer: boto3 upload_file",
            figure=f"{_MEBIBYTES / ours:.0f} MiB/s",
            peer=f"{_MEBIBYTES / peer:.0f} MiB/s",
            ratio=ratio,
            target="≥ 0.8×",
            met=ratio >= 0.8,
        ),
        Row(
            what="peak memory of the process",
            figure=f"{peaks['ours']:.0f} MiB",
            peer=f"{peaks['boto3']:.0f} MiB",
            target="≤ 200 MiB",
            met=peaks["ours"] <= 200,
        ),
    ]


@contextmanager
def _stub() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", _STUB], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
