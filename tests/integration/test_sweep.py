"""What test processes leave behind: of dead ones it goes, of living ones it stays."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from mmstack_ops.domain.stacks import labels
from tests.allocation import PREFIX
from tests.integration.world import World, remove_labelled, sweep

pytestmark = pytest.mark.integration


def test_what_dead_processes_left_goes_and_what_living_ones_have_stays(world: World) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    marks = {
        "dead": {"io.mmstack.test": f"{PREFIX}{ended.pid}-1"},
        "dead-product": {labels.OWNER: f"{PREFIX}{ended.pid}-2-other"},
        "living": {"io.mmstack.test": world.owner},
        # Another worker's.
        "parent": {labels.OWNER: f"{PREFIX}{os.getppid()}-sweep-test"},
        "somebody": {labels.OWNER: f"somebody-{ended.pid}-1"},
    }
    client = world.docker
    made = {
        name: client.volumes.create(f"{world.owner}-{name}", labels=of).name
        for name, of in marks.items()
    }
    try:
        # As workers do that begin together.
        workers = [threading.Thread(target=sweep, args=(client,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        left = {volume.name for volume in client.volumes.list()}
        assert {name for name, volume in made.items() if volume in left} == {
            *("living", "parent", "somebody")
        }
    finally:
        for of in marks.values():
            for label, owner in of.items():
                remove_labelled(client, f"{label}={owner}")
