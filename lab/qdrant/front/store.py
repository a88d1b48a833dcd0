"""Collections, aliases and snapshots on disk.

    storage/collections/<name>/collection.json   what the client asked for
    storage/collections/<name>/0/                the engine's shard
    storage/aliases.json
    snapshots/<name>/<snapshot>                  a sparse tar of the collection's folder
    snapshots/<name>/<snapshot>.checksum         its SHA-256

Folders whose name begins with a dot are half-made or half-removed; opening the store removes them.
"""

import contextlib
import hashlib
import json
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from front.collection import Collection, Json, checked_name, configured, write_json
from front.errors import BadRequest, Conflict, NotFound

# As long as upstream's, which are random: names of snapshots hold it.
PEER = 5234325345345345


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    def __init__(self, storage: Path, snapshots: Path) -> None:
        self.collections_folder = storage / "collections"
        self.aliases_file = storage / "aliases.json"
        self.snapshots_folder = snapshots
        # Held to change which collections and aliases there are, not for work on points.
        self.lock = threading.RLock()
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def open(self) -> None:
        self.collections_folder.mkdir(parents=True, exist_ok=True)
        self.snapshots_folder.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self.collections_folder.iterdir()):
            if folder.name.startswith(".") or not (folder / "collection.json").exists():
                shutil.rmtree(folder)
            else:
                self.collections[folder.name] = Collection.load(folder)
        if self.aliases_file.exists():
            self.aliases = json.loads(self.aliases_file.read_text())

    def close(self) -> None:
        with self.lock:
            for collection in self.collections.values():
                collection.close()

    # -- collections --

    def resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    def get(self, name: str) -> Collection:
        with self.lock:
            collection = self.collections.get(self.resolve(name))
        if collection is None:
            raise NotFound(f"Collection `{name}` doesn't exist!")
        return collection

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[Collection]:
        """The collection, locked; one that was removed or replaced meanwhile is looked up again."""
        while True:
            collection = self.get(name)
            with collection.lock:
                if self.collections.get(collection.name) is collection:
                    yield collection
                    return

    def create(self, name: str, body: Json) -> None:
        checked_name(name)
        config = configured(body)
        with self.lock:
            if name in self.collections:
                raise Conflict(f"Collection `{name}` already exists!")
            if name in self.aliases:
                raise BadRequest(f"Wrong input: there is already an alias with the name `{name}`")
            self.collections[name] = Collection.create(self.collections_folder / name, config)

    def delete(self, name: str) -> bool:
        with self.lock:
            name = self.resolve(name)
            collection = self.collections.pop(name, None)
            if collection is None:
                return False
            with collection.lock:
                collection.shard.close()
                gone = self.collections_folder / f".removed-{uuid.uuid4()}"
                collection.folder.rename(gone)
                self.set_aliases(
                    {alias: target for alias, target in self.aliases.items() if target != name}
                )
        shutil.rmtree(gone)
        # Its snapshots stay, as upstream: they may be somebody's backup.
        return True

    # -- aliases --

    def set_aliases(self, aliases: dict[str, str]) -> None:
        write_json(self.aliases_file, aliases)
        self.aliases = aliases

    def change_aliases(self, actions: list[Json]) -> None:
        """All of the actions or none."""
        with self.lock:
            aliases = dict(self.aliases)
            for action in actions:
                ((kind, what),) = action.items()
                if kind == "create_alias":
                    if what["collection_name"] not in self.collections:
                        raise NotFound(f"Collection `{what['collection_name']}` doesn't exist!")
                    if what["alias_name"] in self.collections:
                        raise Conflict(f"Collection `{what['alias_name']}` already exists!")
                    aliases[checked_name(what["alias_name"])] = what["collection_name"]
                elif kind == "delete_alias":
                    aliases.pop(what["alias_name"], None)
                elif kind == "rename_alias":
                    if what["old_alias_name"] not in aliases:
                        raise NotFound(f"Alias {what['old_alias_name']} does not exists!")
                    aliases[checked_name(what["new_alias_name"])] = aliases.pop(
                        what["old_alias_name"]
                    )
                else:
                    raise BadRequest(f"unknown alias action {kind}")
            self.set_aliases(aliases)

    def list_aliases(self, collection: str | None = None) -> Json:
        with self.lock:
            pairs = sorted(self.aliases.items())
        return {
            "aliases": [
                {"alias_name": alias, "collection_name": target}
                for alias, target in pairs
                if collection in (None, target)
            ]
        }

    # -- snapshots --

    def create_snapshot(self, name: str) -> Json:
        with self.using(name) as collection:
            folder = self.snapshots_folder / collection.name
            folder.mkdir(exist_ok=True)
            while True:
                stamp = datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S")
                path = folder / f"{collection.name}-{PEER}-{stamp}.snapshot"
                if not path.exists():
                    break
                # Names carry whole seconds, as upstream's do.
                time.sleep(0.1)
            # Long names of collections make names of files that no file system takes, as upstream.
            part = path.with_name(f".{path.name}-{uuid.uuid4()}.part")
            collection.shard.flush()
            try:
                # The engine's files are preallocated: without --sparse this is 100 MB of zeros.
                run_tar(
                    "--create",
                    "--sparse",
                    "--file",
                    str(part),
                    "--directory",
                    str(collection.folder),
                    ".",
                )
                Path(f"{path}.checksum").write_text(sha256_of(part))
                part.rename(path)
            except BaseException:  # Whatever stopped it: half a snapshot must not stay.
                part.unlink(missing_ok=True)
                raise
        return describe_snapshot(path)

    def list_snapshots(self, name: str) -> list[Json]:
        folder = self.snapshots_folder / self.get(name).name
        return (
            [describe_snapshot(path) for path in sorted(folder.glob("*.snapshot"))]
            if folder.exists()
            else []
        )

    def snapshot_path(self, name: str, snapshot: str) -> Path:
        path = self.snapshots_folder / self.get(name).name / snapshot
        if (
            "/" in snapshot
            or snapshot.startswith(".")
            or not path.is_file()
            or path.suffix != ".snapshot"
        ):
            raise NotFound(f"Snapshot {snapshot} not found")
        return path

    def delete_snapshot(self, name: str, snapshot: str) -> None:
        path = self.snapshot_path(name, snapshot)
        path.unlink()
        Path(f"{path}.checksum").unlink(missing_ok=True)

    def recover(self, name: str, snapshot: Path, checksum: str | None) -> None:
        """Put the snapshot's content in the place of the collection, which need not exist."""
        checked_name(name)
        if checksum and sha256_of(snapshot) != checksum.lower():
            raise BadRequest(
                f"Snapshot checksum mismatch: expected {checksum}, got {sha256_of(snapshot)}"
            )
        fresh = self.collections_folder / f".recovering-{uuid.uuid4()}"
        fresh.mkdir()
        try:
            run_tar(
                "--extract", "--no-same-owner", "--file", str(snapshot), "--directory", str(fresh)
            )
            if not (fresh / "collection.json").exists():
                raise BadRequest("the file is no snapshot of a collection")
            # Opened once where it is, so that a broken snapshot leaves the collection as it was.
            Collection.load(fresh).close()
            with self.lock:
                name = self.resolve(name)
                self.swap(name, fresh)
        finally:
            if fresh.exists():
                shutil.rmtree(fresh)

    def swap(self, name: str, fresh: Path) -> None:
        folder = self.collections_folder / name
        old = self.collections.get(name)
        if old is None:
            fresh.rename(folder)
            self.collections[name] = Collection.load(folder)
            return
        with old.lock:
            config = json.loads((fresh / "collection.json").read_text())
            if any(
                old.config["params"].get(key) != config["params"].get(key)
                for key in ("vectors", "sparse_vectors")
            ):
                raise BadRequest(
                    "Snapshot is not compatible with existing collection: its vectors differ"
                )
            old.shard.close()
            gone = self.collections_folder / f".replaced-{uuid.uuid4()}"
            folder.rename(gone)
            fresh.rename(folder)
            self.collections[name] = Collection.load(folder)
        shutil.rmtree(gone)


def describe_snapshot(path: Path) -> Json:
    status = path.stat()
    return {
        "name": path.name,
        "creation_time": datetime.fromtimestamp(status.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "size": status.st_size,
        "checksum": Path(f"{path}.checksum").read_text(),
    }


def run_tar(*arguments: str) -> None:
    result = subprocess.run(["tar", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        message = f"tar: {result.stderr.strip()[:300]}"
        raise (
            BadRequest(f"the file is no snapshot of a collection ({message})")
            if "--extract" in arguments
            else OSError(message)
        )
