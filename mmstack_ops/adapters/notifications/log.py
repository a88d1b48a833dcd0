"""Write notifications as lines of JSON to a file, which other tools can use."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Notification:
    """A message to a person. It never contains a secret."""

    time: float
    """Seconds since the epoch."""
    kind: str
    """What happened: ``run-failed``, …"""
    environment: str
    subject: str
    """The subject, in one sentence."""
    text: str
    run_id: str = ""
    job: str = ""


class Notifier(Protocol):
    """A channel that delivers notifications to people."""

    def notify(self, notification: Notification) -> None:
        """Deliver ``notification``."""


class NotificationLog:
    """A file to which each notification is appended as one line of JSON.

    Args:
        path: the file; it and its folder are created on the first write, for the owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def notify(self, notification: Notification) -> None:
        """Append ``notification``, in one write, so that writers don't mix their lines.

        Raises:
            OSError: the file can't be written.
        """
        line = json.dumps(vars(notification), sort_keys=True, ensure_ascii=False) + "\n"
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
