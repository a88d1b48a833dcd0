"""What images there should be: lab/images.toml with the hash of what each is built from."""

import dataclasses
import hashlib
import json
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path

from console import fail

HERE = Path(__file__).resolve().parent
REPOSITORY = "mmstack-lab"


@dataclasses.dataclass(frozen=True)
class Image:
    name: str
    reference: str
    inputs: str
    parent: str | None
    folder: Path | None
    kind: str = "part"
    needs_host: bool = False
    ports: tuple[int, ...] = ()

    @property
    def is_stand_in(self) -> bool:
        return self.kind == "stand-in"


def hash_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def folder_inputs(folder: Path) -> list[tuple[str, bool, str]]:
    """Path, executable bit and content hash of each file of a build folder, in a stable order."""
    return [
        (
            path.relative_to(folder).as_posix(),
            bool(path.stat().st_mode & stat.S_IXUSR),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def wanted_images(definitions: Path = HERE / "images.toml") -> list[Image]:
    """Every image of the definitions, each after the one it is built from."""
    content = tomllib.loads(definitions.read_text())
    suite, tag = content["suite"], content["tag"]
    here = definitions.parent

    def reference(name: str) -> str:
        return f"{REPOSITORY}/{name}:{tag}"

    base = Image(
        "base", reference("base"), hash_of(suite, folder_inputs(here / "base")), None, None
    )
    done = {"base": base}
    waiting = dict(content["images"])
    while waiting:
        ready = [name for name, entry in waiting.items() if set(parents(entry)) <= done.keys()]
        if not ready:
            fail(
                f"{definitions.name}: built from something that is not there: {', '.join(waiting)}",
                "correct `from`",
            )
        for name in ready:
            entry = waiting.pop(name)
            folder = here / name
            below = [done[parent].inputs for parent in parents(entry)]
            done[name] = Image(
                name=name,
                reference=reference(name),
                inputs=hash_of(below, folder_inputs(folder)),
                parent=parents(entry)[0],
                folder=folder,
                kind=entry.get("kind", "part"),
                needs_host=entry.get("host", False),
            )
    for name, ports in content["stand-ins"].items():
        done[name] = Image(
            name=name,
            reference=reference(name),
            inputs=hash_of(
                done["stand-in"].inputs, stand_in_dockerfile("stand-in", name, tuple(ports))
            ),
            parent="stand-in",
            folder=None,
            kind="stand-in",
            ports=tuple(ports),
        )
    return list(done.values())


def parents(entry: dict[str, str | list[str]]) -> list[str]:
    """The images that an entry's Dockerfile builds on; its result is made of the first."""
    value = entry["from"]
    return [value] if isinstance(value, str) else value


def stand_in_dockerfile(below: str, name: str, ports: Sequence[int]) -> str:
    lines = [
        f"FROM {below}",
        f"ENV STANDIN_SERVICE={name} STANDIN_PORTS={','.join(map(str, ports))}",
        *([f"EXPOSE {' '.join(map(str, ports))}"] if ports else []),
    ]
    return "\n".join(lines) + "\n"


def with_parents(wanted: Sequence[Image], names: Sequence[str]) -> list[Image]:
    """The named images and all they are built from, in the order of the definitions."""
    every = {image.name: image for image in wanted}
    entries = tomllib.loads((HERE / "images.toml").read_text())["images"]
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            image = every[name]
            waiting += (
                parents(entries[name])
                if name in entries
                else [image.parent]
                if image.parent
                else []
            )
    return [image for image in wanted if image.name in needed]
