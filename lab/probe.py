"""Exit 0 when the engine at the unix socket given answers, 1 when it does not (with the reason).

The Docker client may be missing while the engine is there, so this asks the socket itself.
"""

import http.client
import socket
import sys


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def main() -> int:
    connection = UnixConnection(sys.argv[1])
    try:
        connection.request("GET", "/_ping")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    finally:
        connection.close()
    if response.status != 200 or body.strip() != b"OK":
        print(f"it answers, but not as a Docker engine does: {response.status} {body[:80]!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
