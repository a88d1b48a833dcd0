"""``mmstack`` in a process of its own that need not import anything first.

Importing Dagster takes the processor two seconds, and the tests run ``mmstack`` hundreds of times.
A fork server imports it once; each command is a fork of it, with its own arguments, folder,
variables, output and signals. What a fork can't show (the program's own start, what its processes
are called) the tests with ``own_interpreter`` show.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

# What a command that changes something imports late. Dagster's storage has no public module.
_PRELOADED = (
    "mmstack_ops.cli.main",
    "mmstack_ops.cli.app",
    "mmstack_ops.cli.run_verb",
    "mmstack_ops.operations.stacks.stack_operations",
    "mmstack_ops.operations.backups.backup_operations",
    "mmstack_ops.operations.wipe.wipe_operations",
    "mmstack_ops.orchestration.build",
    "mmstack_ops.orchestration.run_requests",
    "mmstack_ops.orchestration.inline_run",
    "dagster._core.storage.legacy_storage",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.instance.factory",
    "alembic.context",
    "boto3",
    "docker",
    "psycopg",
)


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


_context = _server()


class Command:
    """One ``mmstack`` at work; the part of ``subprocess.Popen`` that the tests use."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mmtest-output-")
        self._said: tuple[str, str] | None = None
        self._process = _context.Process(
            target=_run, args=(tuple(arguments), cwd, dict(env), Path(self._folder.name))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code; minus the signal that killed it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send the signal, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless the command has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return what went to stdout and to stderr.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("mmstack", timeout or 0)
        if self._said is None:
            output = Path(self._folder.name)
            self._said = (output / "stdout").read_text(), (output / "stderr").read_text()
            self._folder.cleanup()
        return self._said


def _run(arguments: tuple[str, ...], cwd: Path, env: dict[str, str], output: Path) -> None:
    from mmstack_ops.cli.main import run

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["mmstack", *arguments]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(descriptor, mode, encoding="utf-8", closefd=False)
        for descriptor, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    run()
