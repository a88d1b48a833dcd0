"""A storage tier on a mounted file system: NFS, LTFS, or a separate disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.domain.errors import TierUnavailableError

# A dead NFS server never answers.
_DEADLINE_SECONDS = 15.0
_MOUNTS = Path("/proc/self/mountinfo")


class MountTier(DirectoryTier):
    """A tier whose folder must be a mount point; otherwise it would fill the disk below it.

    This is checked before each operation, and again before a file is published. Bind mounts
    count as mount points.
    """

    def require_usable(self) -> None:
        """Raise if the folder isn't mounted, or doesn't answer in time.

        Raises:
            TierUnavailableError: the folder can't be used; contains a remedy.
        """
        found: list[bool | OSError] = []

        def look() -> None:
            try:
                mounted = is_mount_point(self.root)
                if mounted:
                    os.statvfs(self.root)
                found.append(mounted)
            except OSError as error:
                found.append(error)

        # In a separate thread: a hard NFS mount blocks the caller until the server is back.
        looker = threading.Thread(target=look, name=f"look at {self.name}", daemon=True)
        looker.start()
        looker.join(_DEADLINE_SECONDS)
        if not found:
            raise self._not_mounted(f"it didn't answer within {_DEADLINE_SECONDS:.0f} s")
        if isinstance(found[0], OSError):
            raise self._not_mounted(found[0].strerror or str(found[0]))
        if not found[0]:
            raise self._not_mounted("nothing is mounted there")

    def _not_mounted(self, why: str) -> TierUnavailableError:
        return TierUnavailableError(
            f"tier {self.name} can't be used: {self.root} is no mount point that answers",
            why=why,
            remedy=f"mount it (`mount {self.root}`, or `systemctl start` its mount unit) and check"
            " with `mountpoint`",
        )


def is_mount_point(path: Path) -> bool:
    """Return whether something is mounted at ``path``, bind mounts included.

    Raises:
        OSError: the path can't be resolved, for a reason other than that it doesn't exist.
    """
    try:
        real = str(path.resolve(strict=True))
    except FileNotFoundError:
        return False
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return os.path.ismount(real)
    # Spaces and similar characters are written in octal there.
    points = {line.split(" ")[4] for line in lines}
    return real.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011") in points
