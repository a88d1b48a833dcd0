"""Reading request bodies: with a length or chunked, or one file out of multipart form data."""

import os
from collections.abc import Iterator
from email.message import Message
from typing import IO, Protocol

from front.errors import BadRequest

CHUNK = 1 << 20


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def stream(headers: Message, source: Reader) -> Iterator[bytes]:
    """The body in pieces; a connection that ends too early is an error, never a short body."""
    if "chunked" in (headers.get("Transfer-Encoding") or "").lower():
        yield from chunked(source)
        return
    left = int(headers.get("Content-Length") or 0)
    while left:
        yield (data := exactly(source, min(left, CHUNK)))
        left -= len(data)


def chunked(source: Reader) -> Iterator[bytes]:
    while True:
        size = int(source.readline().split(b";")[0], 16)
        left = size
        while left:
            yield (data := exactly(source, min(left, CHUNK)))
            left -= len(data)
        source.readline()
        if size == 0:
            return


def exactly(source: Reader, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise BadRequest("the request's body ended too early")
    return data


def save_form_file(headers: Message, body: Iterator[bytes], field: str, target: IO[bytes]) -> None:
    """Write the content of one field of multipart form data to `target`."""
    boundary = headers.get_param("boundary")
    if headers.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise BadRequest("multipart/form-data is expected")
    mark = b"\r\n--" + boundary.encode()
    # As if a line had gone before the first boundary, so that every boundary looks the same.
    buffer = b"\r\n"
    writing = found = False
    for piece in body:
        buffer += piece
        while True:
            if not writing:
                start = buffer.find(mark)
                end = buffer.find(b"\r\n\r\n", start + len(mark)) if start >= 0 else -1
                if end < 0:
                    break
                wanted = f'name="{field}"'.encode() in buffer[start:end]
                buffer = buffer[end + 4 :]
                writing, found = True, found or wanted
            stop = buffer.find(mark)
            content = buffer[:stop] if stop >= 0 else buffer[: -len(mark)]
            if wanted:
                target.write(content)
            buffer = buffer[len(content) :]
            if stop < 0:
                break
            writing = False
    if not found or writing:
        raise BadRequest(f"the form has no complete field {field!r}")
    target.flush()
    os.fsync(target.fileno())
