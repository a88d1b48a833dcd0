"""An S3 endpoint that fails as it is told: a queue of faults for each operation."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_Answer = tuple[int, dict[str, str], bytes]
_ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass(frozen=True)
class Fault:
    """What happens instead of the answer.

    Args:
        status: of the answer; with ``code`` in its body.
        cut_after: bytes of the answer's body after which the connection is cut.
        slow: seconds before the answer.
        works: the operation is carried out all the same.
        silent: the connection is cut without an answer.
        checksum: answered in place of the right one.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    cut_after: int | None = None
    slow: float = 0.0
    works: bool = False
    silent: bool = False
    checksum: str | None = None


@dataclass
class _Object:
    content: bytes
    headers: dict[str, str]
    etag: str


@dataclass
class Endpoint:
    """The server's state, and what was asked of it."""

    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    objects: dict[str, _Object] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    seen_headers: list[dict[str, str]] = field(default_factory=list)
    conditional: bool = True
    bucket: bool = True
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, operation: str, *faults: Fault) -> None:
        self.faults[operation].extend(faults)


@contextmanager
def scripted() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(_Handler):
        state = endpoint

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Endpoint
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        parsed = urlsplit(self.path)
        query = {
            name: values[0]
            for name, values in parse_qs(parsed.query, keep_blank_values=True).items()
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = unquote(parsed.path).lstrip("/").partition("/")[2]
        operation = _operation(self.command, key, query)
        state = self.state
        with state.lock:
            state.asked[operation] += 1
            state.seen_headers.append({"": operation, **dict(self.headers)})
            fault = state.faults[operation].popleft() if state.faults[operation] else Fault()
        time.sleep(fault.slow)
        refused = fault.silent or fault.status
        answer: _Answer = (200, {}, b"")
        if fault.works or not refused:
            with state.lock:
                answer = getattr(self, f"_{operation}")(key, query, body)
        if fault.silent:
            self.close_connection = True
            return
        if fault.status:
            text = _ERROR.format(fault.code, fault.message).encode()
            answer = (fault.status, {"Content-Type": "application/xml"}, text)
        self._answer(*answer, fault=fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, fault: Fault) -> None:
        length = headers.pop("X-Length", str(len(body)))
        if fault.checksum is not None:
            headers["x-amz-checksum-crc32"] = fault.checksum
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.cut_after is not None:
            self.wfile.write(body[: fault.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def _checks(self, body: bytes) -> dict[str, str]:
        return {
            "ETag": f'"{hashlib.md5(body).hexdigest()}"',
            "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode(),
        }

    def _taken(self, key: str) -> bool:
        wants = self.headers.get("If-None-Match") == "*"
        return wants and self.state.conditional and key in self.state.objects

    def _kept(self) -> dict[str, str]:
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-amz-meta-")
        }

    def _put(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        if self.headers.get("If-None-Match") and not self.state.conditional:
            return 501, {}, _ERROR.format("NotImplemented", "no conditions here").encode()
        if self._taken(key):
            return 412, {}, _ERROR.format("PreconditionFailed", "taken").encode()
        checks = self._checks(body)
        self.state.objects[key] = _Object(body, self._kept(), checks["ETag"])
        return 200, checks, b""

    def _begin(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        upload = f"upload-{len(self.state.begun)}"
        self.state.uploads[upload] = {}
        self.state.begun[upload] = self._kept()
        tag = "InitiateMultipartUploadResult"
        text = f"<{tag}><UploadId>{upload}</UploadId></{tag}>"
        return 200, {}, text.encode()

    def _part(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        if query["uploadId"] not in self.state.uploads:
            return 404, {}, _ERROR.format("NoSuchUpload", "gone").encode()
        self.state.uploads[query["uploadId"]][int(query["partNumber"])] = body
        return 200, self._checks(body), b""

    def _complete(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        upload = query["uploadId"]
        if self.headers.get("If-None-Match") and not self.state.conditional:
            return 501, {}, _ERROR.format("NotImplemented", "no conditions here").encode()
        if upload not in self.state.uploads:
            return 404, {}, _ERROR.format("NoSuchUpload", "gone").encode()
        if self._taken(key):
            return 412, {}, _ERROR.format("PreconditionFailed", "taken").encode()
        parts = self.state.uploads.pop(upload)
        content = b"".join(parts[number] for number in sorted(parts))
        self.state.objects[key] = _Object(content, self.state.begun[upload], '"many-2"')
        text = (
            '<CompleteMultipartUploadResult><ETag>"many-2"</ETag></CompleteMultipartUploadResult>'
        )
        return 200, {}, text.encode()

    def _abort(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        self.state.uploads.pop(query["uploadId"], None)
        return 204, {}, b""

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        self.state.objects.pop(key, None)
        return 204, {}, b""

    def _head(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        found = self.state.objects.get(key)
        if found is None:
            return 404, {}, b""
        return 200, {"ETag": found.etag, "X-Length": str(len(found.content)), **found.headers}, b""

    def _head_bucket(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        return (200 if self.state.bucket else 404), {}, b""

    def _get(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        found = self.state.objects.get(key)
        if found is None:
            return 404, {}, _ERROR.format("NoSuchKey", "none").encode()
        wanted = self.headers.get("Range")
        headers = {"ETag": found.etag}
        if wanted is None:
            return 200, headers, found.content
        begin = int(wanted.removeprefix("bytes=").rstrip("-"))
        size = len(found.content)
        headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
        return 206, headers, found.content[begin:]

    def _list(self, key: str, query: dict[str, str], body: bytes) -> _Answer:
        if not self.state.bucket:
            return 404, {}, _ERROR.format("NoSuchBucket", "none").encode()
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(found.content)}</Size></Contents>"
            for key, found in sorted(self.state.objects.items())
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return 200, {}, text.encode()


def _operation(method: str, key: str, query: dict[str, str]) -> str:
    if not key:
        return "head_bucket" if method == "HEAD" else "list"
    if "uploads" in query:
        return "begin"
    if "uploadId" in query:
        return {"PUT": "part", "POST": "complete", "DELETE": "abort"}[method]
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}[method]
