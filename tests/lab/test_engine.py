"""lab.sh starts, reuses, heals and stops an engine, and leaves one alone that it did not start.

On a private engine in a network namespace of its own: a second dockerd beside the machine's would
change the machine's bridges and packet filter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.containers import LAB

# Starting a second engine takes root, dockerd and unshare; without them these tests fail.
pytestmark = pytest.mark.integration


@dataclass
class Private:
    """A place for an engine that nobody else uses."""

    home: Path

    @property
    def pid_file(self) -> Path:
        return self.home / "d.pid"

    def lab(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name != "DOCKER_HOST" and not name.startswith("MMSTACK_LAB_")
        }
        return subprocess.run(
            ["unshare", "--net", "bash", str(LAB / "lab.sh"), *arguments],
            env={
                **kept,
                "MMSTACK_LAB_IMAGES": "upstream",
                "MMSTACK_LAB_STATE": str(self.home / "state"),
                "MMSTACK_LAB_SOCKET": str(self.home / "d.sock"),
                "MMSTACK_LAB_DOCKERD_ARGS": (
                    f"--data-root={self.home}/data --exec-root={self.home}/exec"
                    f" --pidfile={self.pid_file} --iptables=false --ip-masq=false"
                ),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    def up(self) -> str:
        result = self.lab("up")
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture
def private() -> Iterator[Private]:
    # A short path: the name of a socket may have 107 characters.
    home = Path(tempfile.mkdtemp(prefix="mmlab-", dir="/tmp"))
    here = Private(home)
    yield here
    if here.pid_file.exists():
        pid = int(here.pid_file.read_text())
        if running(pid):
            os.kill(pid, signal.SIGTERM)
            until(lambda: not running(pid))
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        if (mount := line.split()[1]).startswith(f"{home}/"):
            subprocess.run(["umount", mount], check=True)
    shutil.rmtree(home)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_starts_reuses_and_stops_its_own_engine(private: Private) -> None:
    assert "started by the lab" in private.up()
    pid = int(private.pid_file.read_text())

    assert "already there" in private.up()
    assert private.pid_file.read_text() == str(pid)

    assert f"started by the lab ({pid})" in private.lab("status").stdout
    down = private.lab("down")
    assert (down.returncode, f"stopping dockerd (process {pid})" in down.stdout) == (0, True)
    assert not running(pid)
    assert not (private.home / "state").exists()
    assert "left as it is" in private.lab("down").stdout


def test_heals_after_the_engine_was_killed(private: Private) -> None:
    private.up()
    pid = int(private.pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running(pid))
    assert private.pid_file.exists()
    output = private.up()
    assert "is gone; forgetting it" in output
    assert "started by the lab" in output
    assert int(private.pid_file.read_text()) != pid
    assert private.lab("down").returncode == 0


def test_a_pid_file_that_names_another_process_does_not_stop_it(private: Private) -> None:
    private.pid_file.write_text(str(os.getpid()))
    output = private.up()
    assert f"names process {os.getpid()}, which is no dockerd" in output
    assert private.lab("down").returncode == 0


def test_an_engine_that_it_did_not_start_is_left_alone(private: Private) -> None:
    private.up()
    pid = int(private.pid_file.read_text())
    other = str(private.home / "other")
    assert "already there" in private.lab("up", MMSTACK_LAB_STATE=other).stdout
    assert "left as it is" in private.lab("down", MMSTACK_LAB_STATE=other).stdout
    assert running(pid)


def test_an_engine_that_does_not_start_is_a_failure_with_its_log(private: Private) -> None:
    result = private.lab("up", MMSTACK_LAB_DOCKERD_ARGS=f"--pidfile={private.pid_file} --nonsense")
    assert result.returncode == 1
    assert "unknown flag: --nonsense" in result.stderr
    assert "dockerd ended while it started" in result.stderr


def test_a_docker_host_where_nothing_answers_is_a_failure(private: Private) -> None:
    result = private.lab("up", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert result.returncode == 1
    assert "DOCKER_HOST is unix:///nowhere/docker.sock and nothing answers" in result.stderr
    assert "do: start that engine, or unset DOCKER_HOST" in result.stderr


@pytest.mark.parametrize("arguments", [("up", "now"), ("down", "--all"), ("sideways",), ()])
def test_wrong_arguments_are_refused(private: Private, arguments: tuple[str, ...]) -> None:
    assert private.lab(*arguments).returncode != 0
