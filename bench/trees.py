"""Incremental trees against restic, copies against ``cp`` and ``sha256sum``, and the catalogue.

``MMSTACK_BENCH_TREE_MB`` sets the size; 2,000 files of a megabyte by default. Half of them
hold text, half what doesn't compress.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.measure import Row, alternating, command_seconds, peak_memory, timed

TITLE = "Backups of trees, copies, catalogue"
_MEGABYTES = int(os.environ.get("MMSTACK_BENCH_TREE_MB", "2000"))
_ROUNDS = 3
_RSS_LIMIT = 200.0
_NOW = datetime(2026, 1, 31, 1, 0, 0, tzinfo=UTC)


def run() -> list[Row]:
    """Measure everything in a temporary folder of the disk that tests use."""
    restic = shutil.which("restic")
    if restic is None:
        sys.exit("the benchmark of trees needs restic: `apt-get install restic`")
    with tempfile.TemporaryDirectory(prefix="mmstack-bench-") as name:
        folder = Path(name)
        _make_files(folder / "source")
        rounds = [_round(folder / f"round-{number}", restic) for number in range(_ROUNDS)]
        rows = [
            _speed_row(what, [found[what] for found in rounds], at_least)
            for what, at_least in (
                ("first backup", 1.0),
                ("unchanged backup", 2.0),
                ("backup with 1 % changed", 1.0),
                ("verify, every byte", 1.0),
                ("restore", 1.0),
            )
        ]
        rows.append(_copy_row(folder))
        rss = max(found["rss"][0] for found in rounds)
        rows.append(
            Row(
                "peak memory of all of these",
                f"{rss:.0f} MiB",
                target="≤ 200 MiB",
                met=rss <= _RSS_LIMIT,
            )
        )
    rows += _catalogue_rows()
    return rows


def _speed_row(what: str, pairs: list[tuple[float, float]], at_least: float) -> Row:
    ours = sorted(pair[0] for pair in pairs)[len(pairs) // 2]
    peer = sorted(pair[1] for pair in pairs)[len(pairs) // 2]
    speed = peer / ours
    return Row(
        f"{what}, {_MEGABYTES} files of 1 MB (speed, against restic)",
        f"{ours:.2f} s",
        f"{peer:.2f} s",
        speed,
        f"≥ {at_least}×",
        speed >= at_least,
    )


def _make_files(source: Path) -> None:
    chance = random.Random(1)
    words = [f"{chance.getrandbits(40):x}"[: chance.randint(2, 9)] for _ in range(4000)]
    source.mkdir()
    for number in range(_MEGABYTES):
        path = source / f"d{number % 20}" / f"file {number}"
        path.parent.mkdir(exist_ok=True)
        if number % 2:
            path.write_bytes(chance.randbytes(1_000_000))
        else:
            path.write_text(" ".join(chance.choices(words, k=160_000))[:1_000_000])
    os.sync()


def _round(folder: Path, restic: str) -> dict[str, tuple[float, float]]:
    """Run every step of ours and of restic's, in turn, once."""
    folder.mkdir()
    source = folder.parent / "source"
    ours = _Ours(folder / "tier", source)
    environment = {
        **os.environ,
        "RESTIC_REPOSITORY": str(folder / "restic"),
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": str(folder / "cache"),
    }

    def peer(*arguments: str) -> float:
        return command_seconds([restic, *arguments], env=environment)

    peer("init")
    found = {
        "first backup": (ours.back_up(0), peer("backup", str(source))),
        "unchanged backup": (ours.back_up(1), peer("backup", str(source))),
    }
    for number in range(0, _MEGABYTES, 100):
        (source / f"d{number % 20}" / f"file {number}").write_bytes(os.urandom(1_000_000))
    found["backup with 1 % changed"] = (ours.back_up(2), peer("backup", str(source)))
    found["verify, every byte"] = (ours.verify(), peer("check", "--read-data"))
    found["restore"] = (
        ours.restore(folder / "restored"),
        peer("restore", "latest", "--target", str(folder / "restored-restic")),
    )
    found["rss"] = (ours.rss, 0.0)
    shutil.rmtree(folder)
    return found


class _Ours:
    """Each step in a process of its own, as a run's would be; start-up isn't counted."""

    def __init__(self, tier: Path, source: Path) -> None:
        self._tier = tier
        self._source = source
        self.rss = 0.0

    def back_up(self, day: int) -> float:
        return self._measured(_back_up, self._tier, self._source, day)

    def verify(self) -> float:
        return self._measured(_verify, self._tier)

    def restore(self, target: Path) -> float:
        return self._measured(_restore, self._tier, target)

    def _measured(self, work: Callable[..., None], *arguments: Any) -> float:
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(sending, work, arguments))
        process.start()
        sending.close()
        seconds, rss = receiving.recv()
        process.join()
        self.rss = max(self.rss, rss)
        return cast("float", seconds)


def _child(sending: Any, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    seconds = timed(lambda: work(*arguments))
    sending.send((seconds, peak_memory()))


def _back_up(folder: Path, source: Path, day: int) -> None:
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
    from mmstack_ops.artifacts.artifact_writer import newest_manifest, taking
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.artifacts.payload_writer import Packing
    from mmstack_ops.domain.backups.facts import Facts
    from mmstack_ops.domain.backups.files import TreeFile
    from mmstack_ops.domain.backups.reference import BackupRef, new_id

    tier = DirectoryTier("local", folder)
    moment = _NOW + timedelta(days=day)
    ref = BackupRef("bench", "minio", "bucket", new_id(moment, os.urandom(4)))

    def files() -> Any:
        for path in source.rglob("*"):
            state = path.stat()
            yield TreeFile(
                str(path.relative_to(source)),
                "dir" if path.is_dir() else "file",
                size=0 if path.is_dir() else state.st_size,
                mode=state.st_mode & 0o7777,
                mtime_ns=state.st_mtime_ns,
                version="" if path.is_dir() else f"{state.st_ino}-{state.st_ctime_ns}",
            )

    with taking(
        tier,
        ref,
        project="bench",
        image="",
        packing=Packing(),
        keys=Keys(None),
        cancel=threading.Event(),
        tell=lambda message: print(message, file=sys.stderr),
        previous=newest_manifest(tier, ref.series, now=moment, tell=print),
    ) as capture:
        capture.tree(
            files(), lambda file: cast("BinaryIO", (source / file.path).open("rb", buffering=0))
        )
        capture.note(method="", versions={}, restore_by_hand=[], facts=Facts())


def _newest(folder: Path) -> Any:
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
    from mmstack_ops.artifacts.artifact_writer import newest_manifest

    tier = DirectoryTier("local", folder)
    far = _NOW + timedelta(days=100)
    return tier, newest_manifest(tier, "bench/minio/bucket", now=far, tell=print)


def _verify(folder: Path) -> None:
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.artifacts.throttle import Throttle
    from mmstack_ops.operations.backups.verify import verify_copy

    tier, manifest = _newest(folder)
    result = verify_copy(tier, manifest.ref, keys=Keys(None), throttle=Throttle(threading.Event()))
    assert result.problems == ()
    assert result.whole


def _restore(folder: Path, target: Path) -> None:
    from mmstack_ops.artifacts.artifact_reader import Artifact
    from mmstack_ops.artifacts.encryption import Keys

    tier, manifest = _newest(folder)
    for file, source in Artifact(tier, manifest, Keys(None)).contents():
        path = target / file.path
        if source is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            with path.open("wb", buffering=0) as restored:
                shutil.copyfileobj(source, restored, 1 << 20)
            path.chmod(file.mode)
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))


def _copy_row(folder: Path) -> Row:
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
    from mmstack_ops.artifacts.throttle import Throttle
    from mmstack_ops.operations.backups.copy import copy_artifact

    _back_up(folder / "local", folder / "source", 0)
    local, manifest = _newest(folder / "local")

    def ours() -> float:
        shutil.rmtree(folder / "second", ignore_errors=True)
        second = DirectoryTier("second", folder / "second")
        return timed(
            lambda: copy_artifact(
                local,
                second,
                manifest.ref,
                throttle=Throttle(threading.Event()),
                progress=lambda _: None,
                tell=print,
            )
        )

    def peer() -> float:
        shutil.rmtree(folder / "plain", ignore_errors=True)
        # As durable as ours, and as sure of what landed.
        script = (
            'cp -r "$0" "$1" && sync "$1" $(find "$1" -type f | tr "\\n" " ")'
            ' && find "$1" -type f -exec sha256sum {} + >/dev/null'
        )
        return command_seconds(["sh", "-c", script, str(folder / "local"), str(folder / "plain")])

    mine, others = alternating(ours, peer, _ROUNDS)
    speed = others / mine
    return Row(
        "copy from tier to tier, verified (speed, against cp, sync, sha256sum)",
        f"{mine:.2f} s",
        f"{others:.2f} s",
        speed,
        "≥ 0.7×",
        speed >= 0.7,
    )


def _catalogue_rows() -> list[Row]:
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
    from mmstack_ops.artifacts.backup_index import list_backups

    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mmstack-bench-", dir=base) as name:
        root = Path(name)
        for number in range(100_000):
            moment = (_NOW + timedelta(minutes=number)).strftime("%Y%m%dT%H%M%SZ")
            backup = root / f"production/s{number % 25}/full/{moment}-{number:08x}"
            backup.mkdir(parents=True)
            for payload in ("app.dump.zst", "facts.json.zst", "manifest.json"):
                (backup / payload).touch()
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(_ROUNDS):
            for sizes, seconds in taken.items():
                begun = time.perf_counter()
                rows = list_backups([DirectoryTier("local", root)], sizes=sizes).rows
                seconds.append(time.perf_counter() - begun)
                assert len(rows) == 100_000
    bare, measured = (sorted(seconds)[_ROUNDS // 2] for seconds in taken.values())
    return [
        Row("list 100,000 backups of a local tier", f"{bare:.2f} s", target="≤ 2 s", met=bare <= 2),
        Row("the same with the size of each", f"{measured:.2f} s"),
    ]
