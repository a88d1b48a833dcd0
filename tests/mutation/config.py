"""The configuration of a service: faults in what was written back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from mmstack_ops.adapters.stores.backup_type import Workbench
from mmstack_ops.adapters.stores.configuration.config import Config
from tests.adapters.stores.test_config import FolderBench, service
from tests.mutation.subject import Counts, Fault, Subject

_CONF = "files/etc/app/app.conf"
FAULTS: dict[str, Callable[[Path], object]] = {
    "a mounted file gone": lambda d: (d / _CONF).unlink(),
    "a mounted file changed": lambda d: (d / _CONF).write_text("listen 81\n"),
    "a mounted file emptied": lambda d: (d / _CONF).write_text(""),
    "a file more": lambda d: (d / "files/etc/app/planted.conf").write_text("x"),
    "everything gone": lambda d: [one.unlink() for one in d.rglob("*") if one.is_file()],
    "one byte of each file": lambda d: [
        one.write_bytes(b"#" + one.read_bytes()[1:]) for one in d.rglob("*") if one.is_file()
    ],
}


class Configuration(Subject):
    """What a restore writes into a folder."""

    name = "config"

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, _in_folder(plant)) for name, plant in FAULTS.items()]

    def change(self, step: int) -> None:
        (self.folder.parent / "mounted" / "app.conf").write_text(f"listen {8000 + step}\n")

    def restore(self) -> None:
        # It writes a folder named after the backup, beside what may be there.
        shutil.rmtree(self.folder.parent / "state", ignore_errors=True)
        self.copy = self.kind.restore(self.bench, self.source, self.artifact)

    def counts(self) -> Counts:
        sizes = [p.stat().st_size for p in Path(self.copy.name).rglob("*") if p.is_file()]
        return {"files": len(sizes), "bytes": sum(sizes)}


def subject(folder: Path) -> Configuration:
    """Make a service with a mounted file, and take the first backup of it."""
    instance = service(folder / "mounted")
    bench = cast(Workbench, FolderBench(root=folder / "state"))
    found = Configuration(folder / "tier", Config(), instance, instance, bench)
    found.back_up()
    return found


def _in_folder(plant: Callable[[Path], object]) -> Callable[[Subject], None]:
    return lambda subject: cast(None, plant(Path(subject.copy.name)))
