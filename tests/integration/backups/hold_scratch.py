"""Make a scratch server and keep it until killed: run as a program by a test."""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path

from tests.integration.backups.scratching import Scratching, recipe
from tests.integration.world import World


def main() -> None:
    owner, subnet, url, service, state = pickle.loads(Path(sys.argv[1]).read_bytes())
    scratching = Scratching(World(owner, subnet, url), state)
    marker = Path(sys.argv[2])
    marker.with_suffix(".begun").touch()
    with scratching.servers.server(recipe(service), started=True, cancel=threading.Event()):
        marker.touch()
        threading.Event().wait()


main()
