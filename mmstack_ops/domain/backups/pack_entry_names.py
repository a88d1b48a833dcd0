"""Names inside packs: the path wherever that can be unpacked, a stand-in elsewhere."""

from __future__ import annotations

from hashlib import sha256

from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.tree import ODD_NAMES, is_path


class MemberNames:
    """Chooses names inside packs while a tree goes by.

    A bucket may hold ``a`` and ``a/b``, ``../x`` or ``folder/``. The first of a pair that
    can't stand beside each other keeps its name; what can't be a path gets a stand-in.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def choose(self, file: TreeFile) -> str:
        """Return the stand-in for ``file``; empty when its path can be its name."""
        path = file.path
        if not is_path(path):
            return _stand_in(path)
        if file.kind != "object":
            return ""  # It comes from a file system: there it stands beside all others.
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if path in self._folders or any(folder in self._files for folder in above):
            return _stand_in(path)
        self._files.add(path)
        self._folders.update(above)
        return ""


def _stand_in(path: str) -> str:
    return f"{ODD_NAMES}/{sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()}"
