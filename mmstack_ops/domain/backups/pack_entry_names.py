"""Choose names inside packs: the path if it can be unpacked, otherwise a stand-in."""

from __future__ import annotations

from hashlib import sha256

from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.tree import ODD_NAMES, is_path


class MemberNames:
    """The names inside packs, chosen while a tree is read.

    A bucket may contain ``a`` and ``a/b``, ``../x`` or ``folder/``. The first of two names that
    conflict is kept, the second gets a stand-in, and so does a name that can't be a path.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def choose(self, file: TreeFile) -> str:
        """Return the stand-in for ``file``; empty if its path can be its name."""
        path = file.path
        if not is_path(path):
            return _stand_in(path)
        if file.kind != "object":
            return ""  # Files of a file system don't conflict.
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if path in self._folders or any(folder in self._files for folder in above):
            return _stand_in(path)
        self._files.add(path)
        self._folders.update(above)
        return ""


def _stand_in(path: str) -> str:
    return f"{ODD_NAMES}/{sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()}"
