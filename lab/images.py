"""Build, list and remove the lab's images. Standard library only; the docker command does the work.

An image is known by its labels: LABEL says that it is the lab's, LABEL_INPUTS is a hash of everything it
was built from (its files, its arguments, the hash of the image below it). Same hash: reused. Other hash
or no image: built. Nothing without LABEL is ever touched.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import hostcontext

HERE = Path(__file__).resolve().parent
LABEL = "io.mmstack.lab"
LABEL_INPUTS = "io.mmstack.lab.inputs"
# On the intermediate stages of a build, which the classic builder leaves behind as untagged images.
LABEL_STAGE = "io.mmstack.lab.stage"
REPOSITORY = "mmstack-lab"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://deb.debian.org/debian-security"


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


def say(message: str) -> None:
    print(f"lab: {message}", flush=True)


def fail(what: str, do: str) -> NoReturn:
    print(f"lab: error: {what}\nlab:   do: {do}", file=sys.stderr)
    raise SystemExit(1)


# -- what there should be ---------------------------------------------------------------------------


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

    base = Image("base", reference("base"), hash_of(suite, folder_inputs(here / "base")), None, None)
    done = {"base": base}
    waiting = dict(content["images"])
    while waiting:
        ready = [name for name, entry in waiting.items() if set(parents(entry)) <= done.keys()]
        if not ready:
            fail(f"{definitions.name}: these are built from something that is not there: {', '.join(waiting)}", "correct `from`")
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
            inputs=hash_of(done["stand-in"].inputs, stand_in_dockerfile("stand-in", name, tuple(ports))),
            parent="stand-in",
            folder=None,
            kind="stand-in",
            ports=tuple(ports),
        )
    return list(done.values())


def parents(entry: dict[str, str | list[str]]) -> list[str]:
    """The images that an entry's Dockerfile builds on: the first is the one its result is made of."""
    value = entry["from"]
    return [value] if isinstance(value, str) else value


def stand_in_dockerfile(below: str, name: str, ports: Sequence[int]) -> str:
    lines = [
        f"FROM {below}",
        f"ENV STANDIN_SERVICE={name} STANDIN_PORTS={','.join(map(str, ports))}",
        *([f"EXPOSE {' '.join(map(str, ports))}"] if ports else []),
    ]
    return "\n".join(lines) + "\n"


# -- what there is ----------------------------------------------------------------------------------


def docker(*arguments: str, text: str | None = None) -> str:
    result = subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        fail(f"docker {' '.join(arguments[:3])} failed: {result.stderr.strip()}", "see the message above")
    return result.stdout


@dataclasses.dataclass(frozen=True)
class Found:
    id: str
    references: tuple[str, ...]
    inputs: str
    size: int


def found_images(state: Path) -> list[Found]:
    """The lab's images on this engine.

    Whatever somebody builds on a lab image inherits its labels, so a label alone proves nothing: it is
    the lab's by its name, or as an earlier stage of a build, or as one that the lab noted as replaced.
    """
    ids = sorted(set(docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={LABEL}").split()))
    if not ids:
        return []
    replaced = replaced_ids(state)
    found = []
    for entry in json.loads(docker("image", "inspect", *ids)):
        labels = entry["Config"]["Labels"] or {}
        references = tuple(name for name in entry["RepoTags"] or () if name.startswith(REPOSITORY + "/"))
        if references or (not entry["RepoTags"] and (LABEL_STAGE in labels or entry["Id"] in replaced)):
            found.append(Found(entry["Id"], references, labels.get(LABEL_INPUTS, ""), entry["Size"]))
    return found


def by_reference(found: Sequence[Found]) -> dict[str, Found]:
    return {reference: image for image in found for reference in image.references}


def replaced_ids(state: Path) -> set[str]:
    file = state / "replaced-images"
    return set(file.read_text().split()) if file.exists() else set()


# -- up ---------------------------------------------------------------------------------------------


def up(state: Path, only: Sequence[str]) -> None:
    wanted = wanted_images()
    unknown = set(only) - {image.name for image in wanted}
    if unknown:
        fail(f"no image is called {', '.join(sorted(unknown))}", "see lab/images.toml")
    if only:
        wanted = with_parents(wanted, only)
    present = by_reference(found_images(state))
    missing = [image for image in wanted if image.reference not in present or present[image.reference].inputs != image.inputs]
    if not missing:
        say(f"images: all {len(wanted)} are there and up to date")
        return
    started = time.monotonic()
    state.mkdir(parents=True, exist_ok=True)
    for image in missing:
        begun = time.monotonic()
        why = "its inputs changed" if image.reference in present else "it is missing"
        log = state / f"build-{image.name}.log"
        if image.reference in present:
            with (state / "replaced-images").open("a") as file:
                file.write(present[image.reference].id + "\n")
        build(image, state, log)
        say(f"images: built {image.reference} ({why}) in {time.monotonic() - begun:.1f} s")
        log.unlink()
    remove_leftovers(state)
    say(f"images: {len(missing)} built, {len(wanted) - len(missing)} reused, {time.monotonic() - started:.0f} s")


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
            waiting += parents(entries[name]) if name in entries else [image.parent] if image.parent else []
    return [image for image in wanted if image.name in needed]


def build(image: Image, state: Path, log: Path) -> None:
    with scratch(state) as work, log.open("wb") as output:
        if image.name == "base":
            code = build_base(image, work, output)
        else:
            code = build_derived(image, work, output)
    if code != 0:
        sys.stderr.write("".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:]))
        fail(
            f"building {image.reference} failed with code {code}; its last lines are above, all of them in {log}",
            "make the package sources reachable (MMSTACK_LAB_MIRROR names another Debian mirror), then run this again",
        )


def labels(image: Image) -> dict[str, str]:
    values = {LABEL: image.name, LABEL_INPUTS: image.inputs}
    if image.is_stand_in:
        values["io.mmstack.lab.stand-in"] = "true"
    return values


def build_base(image: Image, work: Path, output: object) -> int:
    if os.geteuid() != 0:
        fail("the base image is made by debootstrap, which needs root", "run once as root: bash lab/lab.sh up")
    if shutil.which("debootstrap") is None:
        fail("debootstrap is not installed", "apt-get install debootstrap debian-archive-keyring")
    suite = tomllib.loads((HERE / "images.toml").read_text())["suite"]
    mirror = os.environ.get("MMSTACK_LAB_MIRROR", DEFAULT_MIRROR)
    security = os.environ.get("MMSTACK_LAB_SECURITY_MIRROR", DEFAULT_SECURITY_MIRROR)
    changes = [part for key, value in labels(image).items() for part in ("--change", f"LABEL {key}={value}")]
    changes += ["--change", 'CMD ["bash"]', "--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    make = subprocess.Popen(
        ["bash", str(HERE / "base/rootfs.sh"), suite, mirror, security, str(work)],
        stdout=subprocess.PIPE,
        stderr=output,  # type: ignore[call-overload]
    )
    load = subprocess.Popen(
        ["docker", "import", *changes, "-", image.reference + ".part"],
        stdin=make.stdout,
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
    )
    assert make.stdout is not None
    make.stdout.close()
    loaded, made = load.wait(), make.wait()
    # `docker import` takes a tar that was cut short for a whole one: only both successes make the image.
    if made != 0:
        if loaded == 0:
            docker("image", "rm", image.reference + ".part")
        return made
    if loaded == 0:
        docker("image", "tag", image.reference + ".part", image.reference)
        docker("image", "rm", image.reference + ".part")
    return loaded


def build_derived(image: Image, work: Path, output: object) -> int:
    context = work / "context"
    if image.folder is None:
        context.mkdir()
        below = next(other for other in wanted_images() if other.name == image.parent)
        (context / "Dockerfile").write_text(stand_in_dockerfile(below.reference, image.name, image.ports))
    else:
        shutil.copytree(image.folder, context, ignore=shutil.ignore_patterns("__pycache__"))
    if image.needs_host:
        hostcontext.write(context / "host")
    command = ["docker", "build", "--tag", image.reference, "--force-rm"]
    for key, value in labels(image).items():
        command += ["--label", f"{key}={value}"]
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if name in os.environ or name.upper() in os.environ:
            # Predefined arguments: they reach the build and stay out of the image.
            command += ["--build-arg", name if name in os.environ else name.upper()]
    return subprocess.run([*command, str(context)], stdout=output, stderr=subprocess.STDOUT).returncode  # type: ignore[call-overload]


@contextlib.contextmanager
def scratch(state: Path) -> Iterator[Path]:
    """A folder under the lab's state, removed again whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=state))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def remove_leftovers(state: Path) -> None:
    """Earlier stages of builds, and images that a rebuild replaced: by id, and not while a container uses them."""
    untagged = [image for image in found_images(state) if not image.references]
    used = {container.image for container in containers_of(untagged)}
    for image in untagged:
        if image.id not in used:
            docker("image", "rm", image.id)
    kept = {image.id for image in untagged if image.id in used}
    file = state / "replaced-images"
    if kept:
        file.write_text("".join(f"{id}\n" for id in sorted(kept)))
    else:
        file.unlink(missing_ok=True)


# -- down and status --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Container:
    name: str
    image: str
    status: str

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"


def containers_of(found: Sequence[Found]) -> list[Container]:
    """The containers, stopped ones included, that were made from these images."""
    ids = docker("container", "ls", "--all", "--quiet", "--no-trunc").split()
    if not ids or not found:
        return []
    ours = {image.id for image in found}
    return [
        Container(entry["Name"].lstrip("/"), entry["Image"], entry["State"]["Status"])
        for entry in json.loads(docker("container", "inspect", *ids))
        if entry["Image"] in ours
    ]


def names_of(containers: Sequence[Container]) -> str:
    return ", ".join(sorted(map(str, containers)))


def down(state: Path) -> None:
    found = found_images(state)
    if not found:
        say("images: none of the lab's is here")
        return
    using = containers_of(found)
    if using:
        fail(
            f"these containers still use the lab's images: {names_of(using)}",
            "stop what should go (e.g. make stop-dev), remove what stays behind (docker rm -v NAME), then run 'bash lab/lab.sh down' again",
        )
    # Only the lab's own names: an image that somebody also tagged otherwise stays under that name.
    for image in found:
        docker("image", "rm", *(image.references or (image.id,)))
    (state / "replaced-images").unlink(missing_ok=True)
    say(f"images: removed the lab's {len(found)}")


def status(state: Path) -> None:
    wanted = wanted_images()
    found = found_images(state)
    present = by_reference(found)
    current = [image for image in wanted if image.reference in present and present[image.reference].inputs == image.inputs]
    say(f"images: {len(current)} of {len(wanted)} are there and up to date")
    for image in wanted:
        if image.reference not in present:
            condition = "missing"
        elif present[image.reference].inputs != image.inputs:
            condition = "out of date"
        else:
            condition = f"{present[image.reference].size / 1e6:.0f} MB"
        print(f"  {image.reference:<38} {image.kind:<9} {condition}")
    say(f"containers on the lab's images: {names_of(containers_of(found)) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab/images.py", description="the lab's images")
    parser.add_argument("--state", type=Path, required=True, help="folder for logs and scratch files")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="build what is missing or changed").add_argument("only", nargs="*", help="only these, and what they are built from")
    verbs.add_parser("down", help="remove the lab's images")
    verbs.add_parser("status", help="say what is there")
    arguments = parser.parse_args()
    match arguments.verb:
        case "up":
            up(arguments.state, arguments.only)
        case "down":
            down(arguments.state)
        case "status":
            status(arguments.state)


if __name__ == "__main__":
    main()
