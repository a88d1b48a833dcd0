"""A process that applies a pickled plan, to be killed by a test.

Arguments: the file with (world's owner, subnet, engine's address, plan), and the file that
every phase is written to as it begins.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from mmstack_ops.domain.stacks.events import Progress
from tests.integration.world import World


def main(plan_file: str, phases_file: str) -> None:
    owner, subnet, base_url, plan = pickle.loads(Path(plan_file).read_bytes())
    world = World(owner, subnet, base_url)
    with open(phases_file, "a", buffering=1) as phases:

        def write(event: object) -> None:
            if isinstance(event, Progress):
                phases.write(event.phase + "\n")

        world.apply(plan, on_event=write)


if __name__ == "__main__":
    main(*sys.argv[1:])
