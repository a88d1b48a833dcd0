"""Faults of the source: what is backed up faithfully, and yet isn't what it was.

The copy equals the backup. Only a look at the backups before can find that something is wrong.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.mutation import folders
from tests.mutation.subject import Fault, Verdict


@dataclass
class Source:
    """A subject whose source is a folder, after some healthy backups of it."""

    subject: folders.Folder
    places: dict[str, Callable[[Path], object]]
    name: str

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, cast(Any, plant)) for name, plant in self.places.items()]

    def judge(self, fault: Fault) -> Verdict:
        """Plant a fault into the source, back it up; return whether the trend finds it."""
        subject, data = self.subject, self.subject.data
        kept = data.with_name("kept")
        shutil.copytree(data, kept, symlinks=True)
        newest, earlier = subject.artifact, list(subject.earlier)
        counted = subject.counts()
        cast(Any, fault.plant)(data)
        subject.back_up()
        subject.restore()
        # The drill's comparison has nothing to say: the backup is what the source was.
        assert subject.compare().equal, fault.name
        check = subject.trend()
        verdict = Verdict(
            self.name, fault.name, "" if check.passed else check.words, subject.counts() != counted
        )
        shutil.rmtree(data)
        kept.rename(data)
        subject.artifact, subject.earlier = newest, earlier
        return verdict

    def restore(self) -> None:
        self.subject.restore()

    def change(self, step: int) -> None:
        self.subject.change(step)

    def alarm(self) -> str:
        return self.subject.alarm()


def _encrypt(folder: Path, *, share: int = 1) -> None:
    """Replace the content of each so many-th file by as much that can't be compressed."""
    files = [one for one in sorted(folder.rglob("*")) if one.is_file() and not one.is_symlink()]
    for path in files[::share]:
        path.write_bytes(os.urandom(max(path.stat().st_size, 100)))


def _renamed_and_encrypted(folder: Path) -> None:
    for path in [one for one in sorted(folder.rglob("*")) if one.is_file()]:
        path.write_bytes(os.urandom(path.stat().st_size))
        path.rename(path.with_name(f"{path.name}.locked"))


def _keep_every(folder: Path, count: int) -> None:
    files = [one for one in sorted(folder.rglob("*")) if one.is_file()]
    for number, path in enumerate(files):
        if number % count:
            path.unlink()


def _sql(*statements: str) -> Callable[[Path], object]:
    def plant(data: Path) -> None:
        with closing(sqlite3.connect(data / "app.db")) as database:
            for text in statements:
                database.execute(text)
            database.commit()

    return plant


FILES: dict[str, Callable[[Path], object]] = {
    "every file encrypted": _encrypt,
    "every second file encrypted": lambda d: _encrypt(d, share=2),
    "every file encrypted and renamed": _renamed_and_encrypted,
    "one large file encrypted": lambda d: (d / "large").write_bytes(os.urandom(3_200_000)),
    "all files gone": lambda d: shutil.rmtree(d / "many"),
    "one file of ten left": lambda d: _keep_every(d, 10),
    "all files emptied": lambda d: [
        os.truncate(one, 0) for one in d.rglob("*") if one.is_file() and not one.is_symlink()
    ],
}
ROWS: dict[str, Callable[[Path], object]] = {
    "a table emptied at the source": _sql("DELETE FROM users"),
    "a table dropped at the source": _sql("DROP TABLE users"),
    "nine of ten rows deleted": _sql("DELETE FROM users WHERE id % 10"),
    "an empty database in its place": lambda d: (
        (d / "app.db").unlink(),
        _sql("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, score INTEGER)")(d),
    ),
    "the database replaced by a new one": lambda d: (
        (d / "app.db").unlink(),
        _sql("CREATE TABLE fresh (id INTEGER)")(d),
    ),
}


def subject(folder: Path, kind: str) -> Source:
    """Make a volume, change it and back it up some times."""
    made = folders.subject(kind, folder)
    if kind == "volumes":
        for path in [one for one in made.data.iterdir() if one.name not in ("many", "large")]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for step in range(3):
        made.change(step)
        made.back_up()
    places = FILES if kind == "volumes" else ROWS
    return Source(made, places, f"{made.name}, the source")
