"""Notifications as lines of JSON in a file: what everything else can be built on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Notification:
    """Something a person should know. Never holds a secret."""

    time: float
    """Seconds since the epoch."""
    kind: str
    """What happened: ``run-failed``, …"""
    environment: str
    subject: str
    """What it is about, in one sentence."""
    text: str
    run_id: str = ""
    job: str = ""


class Notifier(Protocol):
    """Takes notifications to people."""

    def notify(self, notification: Notification) -> None:
        """Hand ``notification`` over."""


class NotificationLog:
    """Appends each notification as one line of JSON.

    Args:
        path: the file; it and its folder are made, for the owner only, when first written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def notify(self, notification: Notification) -> None:
        """Append ``notification``. One write in append mode: writers don't mix their lines.

        Raises:
            OSError: when the file can't be written.
        """
        line = json.dumps(vars(notification), sort_keys=True, ensure_ascii=False) + "\n"
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
