"""Memory stays the same however large a backup is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_PROGRAM = """
import sys, threading
from pathlib import Path
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.artifacts.payload_writer import Packing, storing
from mmstack_ops.artifacts.payload_reader import opened
from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
folder, recipient, megabytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
tier = DirectoryTier("local", folder)
packing = Packing(recipients=(recipient,))
throttle = Throttle(threading.Event())
with storing(tier, "a", packing, throttle) as target, open("/dev/urandom", "rb") as source:
    for _ in range(megabytes):
        target.write(source.read(1 << 20))
payload = target.describe("a", "dump", packing, {})
with opened(tier, "a", payload, Keys(folder.parent / "identity")) as reader:
    while reader.read(1 << 20):
        pass
# Not ru_maxrss: across fork and exec it keeps what the tests' own process once had.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.usefixtures("identity")
def test_memory_does_not_grow_with_the_backup(tmp_path: Path, recipient: str) -> None:
    """What doesn't compress is the worst case: the most bytes are under way."""
    peaks = []
    for megabytes in (100, 300):
        tier = tmp_path / f"tier-{megabytes}"
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(tier), recipient, str(megabytes)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert max(peaks) <= 150
    # Buffers fill up sooner or later, by how the threads are scheduled; 200 MB more were written.
    assert peaks[1] <= peaks[0] + 60
