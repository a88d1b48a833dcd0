"""Asking an engine over its socket: what it answers, and what doesn't."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.domain.errors import EngineError, EngineUnavailableError, ImageUnavailableError


class Engine:
    """Answers each connection with the same bytes."""

    def __init__(self, path: Path) -> None:
        self.answer = b""
        self.asked: list[bytes] = []
        self.url = f"unix://{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536).partition(b"\r\n")[0])
                connection.sendall(self.answer)

    def says(self, status: str, body: bytes) -> None:
        length = f"Content-Length: {len(body)}".encode()
        self.answer = b"HTTP/1.1 " + status.encode() + b"\r\n" + length + b"\r\n\r\n" + body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path / "engine.sock")
    yield made
    made.close()


def _get(engine: Engine) -> object:
    connection = EngineConnection(engine.url, read_only=True, timeout=60)
    return connection.get("/containers/json", {"all": 1}, doing="list containers")


def test_json_comes_back(engine: Engine) -> None:
    engine.says("200 OK", b'[{"Id": "1"}]')
    assert _get(engine) == [{"Id": "1"}]
    assert engine.asked == [b"GET /containers/json?all=1 HTTP/1.1"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("404 Not Found", b'{"message": "No such container: x"}', MissingObjectError),
        ("404 Not Found", b'{"message": "No such image: x"}', ImageUnavailableError),
        ("500 Internal Server Error", b'{"message": "disk on fire"}', EngineError),
        ("502 Bad Gateway", b"<html>proxy</html>", EngineError),
    ],
)
def test_a_refusal_is_told_in_the_engines_words(
    engine: Engine, status: str, body: bytes, kind: type[EngineError]
) -> None:
    engine.says(status, body)
    with pytest.raises(kind, match="list containers") as failure:
        _get(engine)
    assert type(failure.value) is kind
    assert failure.value.why in body.decode()


def test_an_engine_that_hangs_up_is_unavailable(engine: Engine) -> None:
    with pytest.raises(EngineUnavailableError, match=r"engine\.sock"):
        _get(engine)


def test_an_answer_that_is_cut_off_is_no_answer(engine: Engine) -> None:
    engine.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2"
    with pytest.raises(EngineUnavailableError):
        _get(engine)


def test_nobody_listens(tmp_path: Path) -> None:
    connection = EngineConnection(f"unix://{tmp_path}/none.sock", read_only=True)
    with pytest.raises(EngineUnavailableError, match="no Docker engine answers") as failure:
        connection.get("/info", doing="ask")
    assert "lab-up" in failure.value.remedy
