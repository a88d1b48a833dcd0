"""Check the clock. Schedules, retention and the age of backups depend on it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

_SYSTEMD = Path("/run/systemd/system")
_WARN_SECONDS = 2.0
_FAIL_SECONDS = 60.0


def check_clock(around: Surroundings) -> Iterator[Finding]:
    """Compare this machine's clock with the engine's, and check that it is synchronised."""
    yield _against_engine(around)
    yield _synchronised()


def _against_engine(around: Surroundings) -> Finding:
    name = "clock: engine"
    if around.engine_error is not None:
        return Finding(name, "not checked", "the engine doesn't answer")
    asked = time.time()
    # Queried again: the shared answer may be seconds old.
    theirs = _seconds(around.reader.info()["SystemTime"])
    answered = time.time()
    # The engine read its clock in between: only a time outside this span is a difference.
    apart = max(asked - theirs, theirs - answered, 0.0)
    if apart > _WARN_SECONDS:
        return Finding(
            name,
            "fail" if apart > _FAIL_SECONDS else "warn",
            f"the engine's clock is {apart:.1f} s away from ours",
            "synchronise both (chrony or systemd-timesyncd)",
        )
    return Finding(name, "ok", f"within {max(apart, answered - asked):.1f} s of ours")


def _seconds(text: str) -> float:
    # The engine writes nanoseconds; Python reads microseconds.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def _synchronised() -> Finding:
    name = "clock: synchronised"
    program = shutil.which("timedatectl")
    if program is None or not _SYSTEMD.exists():
        return Finding(name, "not checked", "this machine has no systemd to ask")
    answer = subprocess.run(
        [program, "show", "--property=NTPSynchronized", "--value"],
        capture_output=True,
        text=True,
        timeout=5,
        check=False,
    )
    if answer.returncode != 0:
        return Finding(name, "not checked", f"timedatectl: {answer.stderr.strip()}")
    if answer.stdout.strip() == "yes":
        return Finding(name, "ok", "the system says so")
    return Finding(name, "warn", "no time server keeps it", "`timedatectl set-ntp true`")
