"""`minio server DIRECTORY [--address :9000] [--console-address :9001]`, as far as tests need it.

Settings (environment): MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, or MINIO_ROOT_USER_FILE and
MINIO_ROOT_PASSWORD_FILE (a path, or a name below /run/secrets).
"""

import argparse
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from front.signatures import Refused, check
from front.state import State

HEALTH = ("/minio/health/live", "/minio/health/ready", "/minio/health/cluster")


def root_credential(name: str, default: str, least: int) -> str:
    value = os.environ.get(name) or default
    given = os.environ.get(f"{name}_FILE")
    if given:
        path = next(
            (path for path in (Path(given), Path("/run/secrets") / given) if path.is_file()), None
        )
        if path is None:
            sys.exit(
                f"error: {name}_FILE is {given}: there is no such file, nor one below /run/secrets"
            )
        value = path.read_text().strip()
    if len(value) < least:
        sys.exit(f"error: {name} has fewer than {least} characters, which MinIO does not accept")
    return value


class Handler(MotoRequestHandler):
    """Gives the application the headers as they were sent: signatures are over those."""

    def version_string(self) -> str:
        return "MinIO"

    def make_environ(self) -> dict[str, Any]:
        return {**super().make_environ(), "lab.headers": self.headers, "lab.target": self.path}

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        self.log("info", '"%s" %s', self.requestline, str(code))

    def log(self, _kind: str, message: str, *args: Any) -> None:
        print(
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            self.address_string(),
            message % args,
            flush=True,
        )


class Application:
    """Probes, then the signature, then moto."""

    def __init__(self, user: str, password: str, state: State) -> None:
        self.user = user
        self.password = password
        self.state = state
        self.moto = create_backend_app("s3")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method in ("GET", "HEAD") and path in HEALTH:
            start_response("200 OK", [("Content-Length", "0")])
            return []
        try:
            check(method, environ["lab.target"], environ["lab.headers"], self.user, self.password)
        except Refused as refused:
            return self.refuse(refused, environ, start_response)
        if method in ("GET", "HEAD"):
            return self.moto(environ, start_response)
        with self.state.writing():
            # Done when the call returns: moto's answers to these are whole, not generated.
            return self.moto(environ, start_response)

    def refuse(self, refused: Refused, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        drain(environ)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{refused.code}</Code><Message>{escape(refused.message)}</Message>"
            f"<Resource>{escape(environ['PATH_INFO'])}</Resource></Error>"
        ).encode()
        start_response(
            "403 Forbidden",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def drain(environ: dict[str, Any]) -> None:
    """Read a refused request's body: on a kept connection it would be taken for the next one."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (data := environ["wsgi.input"].read(min(left, 1 << 20))):
        left -= len(data)


class Console(BaseHTTPRequestHandler):
    server_version = "mmstack-lab-minio"
    sys_version = ""

    def do_GET(self) -> None:
        body = (
            b"<!doctype html>\n<title>Object store of the lab</title>\n<p>It has no console.</p>\n"
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class ConsoleServer(ThreadingHTTPServer):
    daemon_threads = True


def address(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    return host or "0.0.0.0", int(port)


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["minio"]:
        words = words[1:]
    parser = argparse.ArgumentParser(prog="minio")
    parser.add_argument("command", choices=["server"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--address", type=address, default=("0.0.0.0", 9000))
    parser.add_argument("--console-address", type=address, default=("0.0.0.0", 9001))
    options = parser.parse_args(words)
    user = root_credential("MINIO_ROOT_USER", "minioadmin", 3)
    password = root_credential("MINIO_ROOT_PASSWORD", "minioadmin", 8)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    state = State(options.directory)
    buckets = state.load()
    host, port = options.address
    server = make_server(
        host, port, Application(user, password, state), threaded=True, request_handler=Handler
    )
    console = ConsoleServer(options.console_address, Console)
    for work in (server.serve_forever, console.serve_forever, state.save_when_quiet):
        threading.Thread(target=work, daemon=True).start()
    print(f"object store of the lab: S3 on {port}, {buckets} buckets", flush=True)
    try:
        while True:
            signal.pause()
    finally:
        state.save()


if __name__ == "__main__":
    main()
