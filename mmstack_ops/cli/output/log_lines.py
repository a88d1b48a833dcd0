"""Log lines with a coloured prefix for each service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from zlib import crc32

from mmstack_ops.cli.output.colour import painted
from mmstack_ops.domain.stacks.events import LogLine

_STYLES = (
    "cyan",
    "yellow",
    "green",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_yellow",
    "bright_green",
    "bright_magenta",
    "bright_blue",
)
_PREFIX_WIDTH = 20


def print_lines(lines: Iterable[LogLine], *, timestamps: bool, as_json: bool) -> None:
    """Write ``lines`` to stdout as they arrive; as JSON, one object on each line."""
    for line in lines:
        if as_json:
            sys.stdout.write(_as_json(line))
        else:
            sys.stdout.write(_as_text(line, timestamps=timestamps))
        # With --follow, a line must appear at once, also through a pipe.
        sys.stdout.flush()


def _as_text(line: LogLine, *, timestamps: bool) -> str:
    name = f"{line.service}-{line.number}"
    # The same service has the same colour in every command.
    style = _STYLES[crc32(line.service.encode()) % len(_STYLES)]
    prefix = painted(f"{name:<{_PREFIX_WIDTH}} |", style, sys.stdout)
    moment = f"{line.timestamp[:23]}Z " if timestamps else ""
    return f"{prefix} {moment}{line.text}\n"


def _as_json(line: LogLine) -> str:
    document = {
        "service": line.service,
        "number": line.number,
        "stream": line.stream,
        "timestamp": line.timestamp,
        "text": line.text,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"
