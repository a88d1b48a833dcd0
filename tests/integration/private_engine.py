"""An engine of a test's own: it can be killed, restarted and filled up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.integration.world import wait_until


@dataclass
class PrivateEngine:
    """dockerd with its own socket, data and containerd; no network beyond its containers' own.

    Args:
        folder: short, since socket paths are at most 108 bytes long.
        data: where images and containers are kept.
    """

    folder: Path
    data: Path

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/d.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self.folder / "log", "a") as log:
            self._process = subprocess.Popen(
                [
                    # A network of its own: in the host's it would take away the real engine's
                    # default bridge.
                    *("unshare", "--net"),
                    "dockerd",
                    f"--host={self.url}",
                    f"--data-root={self.data}",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/d.pid",
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-masq=false",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, seconds=120)

    def kill(self) -> None:
        """kill -9, as the kernel does it when memory runs out."""
        self._process.kill()
        self._process.wait()
        (self.folder / "d.pid").unlink(missing_ok=True)
        # Its containerd dies with it. Where nobody reaps it, the next engine would take its
        # pid for a living one.
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """End it with all that it started, and its mounts."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for _ in range(20):
            left = self._descendants()
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            client = docker.DockerClient(base_url=self.url)
        except docker.errors.DockerException:
            return False
        client.close()
        return True

    def _descendants(self) -> list[int]:
        """Processes whose command line names our folder: containerd and its shims; and theirs."""
        mine: set[int] = set()
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            pid = int(entry.name)
            parents[pid] = int(stat.rpartition(")")[2].split()[1])
            if f"{self.folder}/".encode() in command:
                mine.add(pid)
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in mine} - mine
            mine |= more
            grown = bool(more)
        return sorted(mine - {os.getpid()})
