"""Stands in for a service that can't be had offline: listens on its ports and answers GET.

Settings (environment): STANDIN_SERVICE and STANDIN_PORTS are set by the image. While the file that
STANDIN_FAIL_FILE names exists, every answer is 503. STANDIN_START_DELAY is a number of seconds
before listening. Command-line arguments, meant for the program it stands in for, are ignored.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

SERVICE = os.environ["STANDIN_SERVICE"]
PORTS = [int(port) for port in os.environ["STANDIN_PORTS"].split(",") if port]
FAIL_FILE = os.environ.get("STANDIN_FAIL_FILE", "/tmp/stand-in-fail")
START_DELAY = float(os.environ.get("STANDIN_START_DELAY") or 0)

# Paths whose answer somebody reads, beyond its status.
ANSWERS: dict[tuple[str, str], dict[str, object]] = {
    ("elasticsearch", "/_cluster/health"): {
        "cluster_name": "stand-in",
        "status": "green",
        "timed_out": False,
    },
}


def log(message: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), SERVICE, message, flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mmstack-stand-in"
    sys_version = ""
    # A client that connects and says nothing gives its thread back.
    timeout = 60

    def do_GET(self) -> None:
        if Path(FAIL_FILE).exists():
            self.answer(503, {"service": SERVICE, "stand_in": True, "error": f"{FAIL_FILE} exists"})
            return
        path = self.path.partition("?")[0]
        extra = ANSWERS.get((SERVICE, path), {})
        self.answer(200, {"service": SERVICE, "stand_in": True, "path": path, **extra})

    do_HEAD = do_GET

    def refuse(self) -> None:
        self.close_connection = True
        self.answer(
            501,
            {"service": SERVICE, "stand_in": True, "error": "a stand-in only answers GET and HEAD"},
        )

    do_POST = do_PUT = do_DELETE = do_PATCH = refuse

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        log(f"{self.client_address[0]} {format % args}")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def stop(number: int, _frame: FrameType | None) -> None:
    log(f"stopping on {signal.Signals(number).name}")
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if START_DELAY:
        log(f"listening in {START_DELAY:g} s")
        time.sleep(START_DELAY)
    for port in PORTS:
        threading.Thread(target=Server(("", port), Handler).serve_forever, daemon=True).start()
    log("stand-in listening on " + (", ".join(map(str, PORTS)) or "no port"))
    while True:
        signal.pause()


main()
