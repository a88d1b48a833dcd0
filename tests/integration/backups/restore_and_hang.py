"""Restore in place, and hang half-way until killed: run as a program by a test."""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path

from mmstack_ops.operations.backups.restore import restore
from tests.integration.backups.restore_world import RestoreWorld
from tests.integration.backups.scratching import NoteType, note_artifact, write_note
from tests.integration.world import World


def main() -> None:
    owner, subnet, url, services, folder = pickle.loads(Path(sys.argv[1]).read_bytes())

    def hang(instance: object) -> None:
        write_note(here.bench(), instance, b"half")  # type: ignore[arg-type]
        Path(sys.argv[2]).touch()
        threading.Event().wait()

    kind = NoteType(during=hang)
    here = RestoreWorld(World(owner, subnet, url), folder, services, kind)
    plan = here.plan(here.add(note_artifact(folder, b"old")), stops=("app",))
    restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())


main()
