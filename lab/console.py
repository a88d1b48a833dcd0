"""What the lab's Python says, and the one way in which it runs the docker command."""

import subprocess
import sys
from typing import NoReturn


def say(message: str) -> None:
    print(f"lab: {message}", flush=True)


def fail(what: str, do: str) -> NoReturn:
    print(f"lab: error: {what}\nlab:   do: {do}", file=sys.stderr)
    raise SystemExit(1)


def docker(*arguments: str, text: str | None = None) -> str:
    result = subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        fail(
            f"docker {' '.join(arguments[:3])} failed: {result.stderr.strip()}",
            "see the message above",
        )
    return result.stdout
