"""What a test does with a running container of the lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

LAB = Path(__file__).resolve().parents[2] / "lab"
LABEL = "io.mmstack.test"


@dataclass
class Running:
    """A running container of the lab."""

    container: Any

    def sh(self, script: str, *, check: bool = True, **options: Any) -> str:
        """Run a script in the container; its output."""
        code, output = self.container.exec_run(["bash", "-c", script], **options)
        text: str = output.decode()
        assert code == 0 or not check, f"{script!r} ended with {code}: {text}\n{self.logs()}"
        return text

    def exit_code(self, *command: str) -> int:
        """How a command ends, such as a health check's."""
        code: int = self.container.exec_run(list(command)).exit_code
        return code

    def logs(self) -> str:
        text: str = self.container.logs().decode()
        return text

    @property
    def address(self) -> str:
        """Of the container on the default network; clients there have to give their password."""
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        address: str = networks["bridge"]["IPAddress"]
        return address

    def url(self, port: int) -> str:
        """The address on this machine of a port that the test published."""
        self.container.reload()
        bound = self.container.attrs["NetworkSettings"]["Ports"][f"{port}/tcp"][0]
        return f"http://127.0.0.1:{bound['HostPort']}"

    def wait_until(self, what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Until it is ready; a container that ended, or a deadline, fails the test with its log."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.container.reload()
            assert self.container.status == "running", f"ended before {what}:\n{self.logs()}"
            assert time.monotonic() < deadline, f"not {what} after {seconds} s:\n{self.logs()}"
            time.sleep(0.1)


class Run(Protocol):
    """The fixture `run`: start a container of a lab image by the image's short name."""

    def __call__(self, image: str, command: list[str] | None = None, **options: Any) -> Running: ...
