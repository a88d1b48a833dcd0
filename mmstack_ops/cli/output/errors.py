"""Print errors to the terminal, without rich, so that they appear at once."""

from __future__ import annotations

import json
import sys

from mmstack_ops.cli.output.colour import painted
from mmstack_ops.domain.errors import MmstackError, UnexpectedError


def show_error(error: MmstackError, *, as_json: bool) -> None:
    """Write ``error`` to stderr, as text or as one JSON object under ``error``."""
    if as_json:
        details: dict[str, object] = {
            "what": error.what,
            "why": error.why,
            "remedy": error.remedy,
        }
        if isinstance(error, UnexpectedError):
            details["places"] = list(error.places)
        document = {"error": {**details, "exit_code": error.exit_code}}
        sys.stderr.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"{painted('error:', 'bold red', sys.stderr)} {error}\n")
