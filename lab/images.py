"""Build, list and remove the lab's images. Standard library only; the docker command does the work.

An image is known by its labels: LABEL says that it is the lab's, LABEL_INPUTS is a hash of all that
it was built from (its files, its arguments, the hash of the image below it). Same hash: reused.
Other hash or no image: built. Nothing without LABEL is ever touched.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from build import LABEL, LABEL_INPUTS, LABEL_STAGE, build
from console import docker, fail, say
from definitions import REPOSITORY, Image, wanted_images, with_parents

# -- what there is ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Found:
    id: str
    references: tuple[str, ...]
    inputs: str
    size: int


def found_images(state: Path) -> list[Found]:
    """The lab's images on this engine.

    Whatever somebody builds on a lab image inherits its labels, so a label alone proves nothing: it
    is the lab's by its name, or as an earlier stage of a build, or when noted as replaced.
    """
    ids = sorted(
        set(docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={LABEL}").split())
    )
    if not ids:
        return []
    replaced = replaced_ids(state)
    found = []
    for entry in json.loads(docker("image", "inspect", *ids)):
        labels = entry["Config"]["Labels"] or {}
        references = tuple(
            name for name in entry["RepoTags"] or () if name.startswith(REPOSITORY + "/")
        )
        if references or (
            not entry["RepoTags"] and (LABEL_STAGE in labels or entry["Id"] in replaced)
        ):
            found.append(
                Found(entry["Id"], references, labels.get(LABEL_INPUTS, ""), entry["Size"])
            )
    return found


def by_reference(found: Sequence[Found]) -> dict[str, Found]:
    return {reference: image for image in found for reference in image.references}


def replaced_ids(state: Path) -> set[str]:
    file = state / "replaced-images"
    return set(file.read_text().split()) if file.exists() else set()


# -- up --------------------------------------------------------------------------


def up(state: Path, only: Sequence[str]) -> None:
    wanted = wanted_images()
    unknown = set(only) - {image.name for image in wanted}
    if unknown:
        fail(f"no image is called {', '.join(sorted(unknown))}", "see lab/images.toml")
    if only:
        wanted = with_parents(wanted, only)
    if missing_images(wanted, by_reference(found_images(state))):
        state.mkdir(parents=True, exist_ok=True)
        with alone(state):
            build_missing(wanted, state)
    else:
        say(f"images: all {len(wanted)} are there and up to date")


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Two builds at once would take each other's unfinished images away."""
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("images: another run is building; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_missing(wanted: Sequence[Image], state: Path) -> None:
    # Looked at again: another run may have built them while this one waited.
    present = by_reference(found_images(state))
    missing = missing_images(wanted, present)
    started = time.monotonic()
    for image in missing:
        begun = time.monotonic()
        why = "its inputs changed" if image.reference in present else "it is missing"
        log = state / f"build-{image.name}.log"
        if image.reference in present:
            with (state / "replaced-images").open("a") as file:
                file.write(present[image.reference].id + "\n")
        build(image, state, log)
        took = time.monotonic() - begun
        say(f"images: built {image.reference} ({why}) in {took:.1f} s")
        log.unlink()
    remove_leftovers(state)
    reused = len(wanted) - len(missing)
    say(f"images: {len(missing)} built, {reused} reused, {time.monotonic() - started:.0f} s")


def missing_images(wanted: Sequence[Image], present: dict[str, Found]) -> list[Image]:
    """Those that are not there, or were built from something else."""
    return [
        image
        for image in wanted
        if image.reference not in present or present[image.reference].inputs != image.inputs
    ]


def remove_leftovers(state: Path) -> None:
    """Remove builds' earlier stages and replaced images: by id, and none that a container uses."""
    untagged = [image for image in found_images(state) if not image.references]
    kept = {image.id for image in untagged if containers_of([image])}
    for image in untagged:
        if image.id not in kept:
            docker("image", "rm", image.id)
    file = state / "replaced-images"
    if kept:
        file.write_text("".join(f"{image_id}\n" for image_id in sorted(kept)))
    else:
        file.unlink(missing_ok=True)


# -- down and status -------------------------------------------------------------


def containers_of(found: Sequence[Found]) -> list[str]:
    """Containers, stopped ones included, made from these images or from what is built on them."""
    if not found:
        return []
    filters = [part for image in found for part in ("--filter", f"ancestor={image.id}")]
    # Listed, not inspected: on a busy engine a container can vanish between the two.
    lines = docker("container", "ls", "--all", *filters, "--format", "{{.Names}} ({{.State}})")
    return sorted(lines.splitlines())


def down(state: Path) -> None:
    found = found_images(state)
    if not found:
        say("images: none of the lab's is here")
        return
    using = containers_of(found)
    if using:
        fail(
            f"these containers still use the lab's images: {', '.join(using)}",
            "stop what should go (e.g. make stop-dev), remove what stays (docker rm -v NAME),"
            " then run 'bash lab/lab.sh down' again",
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
    current = [
        image
        for image in wanted
        if image.reference in present and present[image.reference].inputs == image.inputs
    ]
    say(f"images: {len(current)} of {len(wanted)} are there and up to date")
    for image in wanted:
        if image.reference not in present:
            condition = "missing"
        elif present[image.reference].inputs != image.inputs:
            condition = "out of date"
        else:
            condition = f"{present[image.reference].size / 1e6:.0f} MB"
        print(f"  {image.reference:<38} {image.kind:<9} {condition}")
    say(f"containers on the lab's images: {', '.join(containers_of(found)) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab/images.py", description="the lab's images")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder for logs and scratch files"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="build what is missing or changed").add_argument(
        "only", nargs="*", help="only these, and what they are built from"
    )
    verbs.add_parser("needs", help="whether up would build it: yes or no").add_argument("name")
    verbs.add_parser("down", help="remove the lab's images")
    verbs.add_parser("status", help="say what is there")
    arguments = parser.parse_args()
    match arguments.verb:
        case "up":
            up(arguments.state, arguments.only)
        case "needs":
            wanted = wanted_images()
            names = {
                image.name
                for image in missing_images(wanted, by_reference(found_images(arguments.state)))
            }
            print("yes" if arguments.name in names else "no")
        case "down":
            down(arguments.state)
        case "status":
            status(arguments.state)


if __name__ == "__main__":
    main()
