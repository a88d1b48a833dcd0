"""A store of one bucket, quick enough for many objects: `python -m … COUNT` writes its port.

Only what a backup and a restore of plain objects ask for; what moto's server, which the other
tests use, answers in milliseconds, this answers in a tenth of that.
"""

from __future__ import annotations

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "many"
_MODIFIED = "2026-01-01T00:00:00.000Z"
_SETTINGS = {
    *("policy", "lifecycle", "cors", "encryption", "object-lock", "versioning", "acl", "website"),
    *("ownershipControls", "publicAccessBlock", "notification", "logging", "requestPayment"),
    *("replication", "accelerate"),
}


class Store(BaseHTTPRequestHandler):
    """Path-style requests for ``BUCKET``; signatures aren't looked at."""

    protocol_version = "HTTP/1.1"
    # Headers and body in one segment: else each answer waits for the client's acknowledgement.
    wbufsize = -1
    objects: dict[str, bytes]

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        if "acl" in query:
            self._error(501, "NotImplemented")
        elif key:
            self._object(key, query)
        elif url.path == "/":
            self._xml(f"<ListAllMyBucketsResult><Buckets><Bucket><Name>{BUCKET}</Name></Bucket>"
                      "</Buckets></ListAllMyBucketsResult>")  # fmt: skip
        elif "tagging" in query:
            self._error(404, "NoSuchTagSet")
        elif _SETTINGS & query.keys():
            self._error(501, "NotImplemented")
        elif "versions" in query:
            self._xml("<ListVersionsResult></ListVersionsResult>")
        else:
            self._list(query)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        key = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[key] = body
        self._answer(200, b"", etag(body))

    def do_DELETE(self) -> None:
        self.objects.pop(unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/"), None)
        self._answer(204, b"")

    def _object(self, key: str, query: dict[str, list[str]]) -> None:
        content = self.objects.get(key)
        if content is None:
            self._error(404, "NoSuchKey")
        elif "tagging" in query:
            self._xml("<Tagging><TagSet></TagSet></Tagging>")
        else:
            self._answer(200, content, etag(content), "text/plain")

    def _list(self, query: dict[str, list[str]]) -> None:
        keys = sorted(self.objects)
        after = query.get("continuation-token", [""])[0]
        keys = [key for key in keys if key > after]
        page, more = keys[:1000], len(keys) > 1000
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>{etag(self.objects[key])}</ETag><LastModified>{_MODIFIED}</LastModified>"
            "</Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        self._xml(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        )

    def _xml(self, body: str) -> None:
        self._answer(200, f'<?xml version="1.0"?>{body}'.encode(), kind="application/xml")

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), kind="application/xml")

    def _answer(self, status: int, body: bytes, tag: str = "", kind: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if tag:
            self.send_header("ETag", tag)
        if kind:
            self.send_header("Content-Type", kind)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


if __name__ == "__main__":
    Store.objects = {f"{n % 7}/{n}.txt": f"object {n}".encode() for n in range(int(sys.argv[1]))}
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
