"""Build one image: the base from Debian's packages, everything else from a Dockerfile."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import hostcontext
from console import docker, fail
from definitions import HERE, Image, stand_in_dockerfile, wanted_images

LABEL = "io.mmstack.lab"
LABEL_INPUTS = "io.mmstack.lab.inputs"
# On the intermediate stages of a build, which the classic builder leaves behind as untagged images.
LABEL_STAGE = "io.mmstack.lab.stage"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://deb.debian.org/debian-security"


def build(image: Image, state: Path, log: Path) -> None:
    with scratch(state) as work, log.open("wb") as output:
        if image.name == "base":
            code = build_base(image, work, output)
        else:
            code = build_derived(image, work, output)
    if code != 0:
        sys.stderr.write("".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:]))
        fail(
            f"building {image.reference} failed with code {code}: its last lines are above,"
            f" all of them in {log}",
            "where a package could not be fetched, make its source reachable"
            " (MMSTACK_LAB_MIRROR names another Debian mirror); then run this again",
        )


def labels(image: Image) -> dict[str, str]:
    values = {LABEL: image.name, LABEL_INPUTS: image.inputs}
    if image.is_stand_in:
        values["io.mmstack.lab.stand-in"] = "true"
    return values


def build_base(image: Image, work: Path, output: IO[bytes]) -> int:
    if os.geteuid() != 0:
        fail(
            "the base image is made by debootstrap, which needs root",
            "run once as root: bash lab/lab.sh up",
        )
    if shutil.which("debootstrap") is None:
        fail("debootstrap is not installed", "apt-get install debootstrap debian-archive-keyring")
    suite = tomllib.loads((HERE / "images.toml").read_text())["suite"]
    mirror = os.environ.get("MMSTACK_LAB_MIRROR", DEFAULT_MIRROR)
    security = os.environ.get("MMSTACK_LAB_SECURITY_MIRROR", DEFAULT_SECURITY_MIRROR)
    changes = [
        part
        for key, value in labels(image).items()
        for part in ("--change", f"LABEL {key}={value}")
    ]
    changes += [
        "--change",
        'CMD ["bash"]',
        "--change",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    make = subprocess.Popen(
        ["bash", str(HERE / "base/rootfs.sh"), suite, mirror, security, str(work)],
        stdout=subprocess.PIPE,
        stderr=output,
    )
    load = subprocess.Popen(
        ["docker", "import", *changes, "-", image.reference + ".part"],
        stdin=make.stdout,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    assert make.stdout is not None
    make.stdout.close()
    loaded, made = load.wait(), make.wait()
    # `docker import` takes a tar that was cut short for a whole one: both have to succeed.
    if made != 0:
        if loaded == 0:
            docker("image", "rm", image.reference + ".part")
        return made
    if loaded == 0:
        docker("image", "tag", image.reference + ".part", image.reference)
        docker("image", "rm", image.reference + ".part")
    return loaded


def build_derived(image: Image, work: Path, output: IO[bytes]) -> int:
    context = work / "context"
    if image.folder is None:
        context.mkdir()
        below = next(other for other in wanted_images() if other.name == image.parent)
        (context / "Dockerfile").write_text(
            stand_in_dockerfile(below.reference, image.name, image.ports)
        )
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
    return subprocess.run(
        [*command, str(context)], stdout=output, stderr=subprocess.STDOUT
    ).returncode


@contextlib.contextmanager
def scratch(state: Path) -> Iterator[Path]:
    """A folder under the lab's state, removed again whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=state))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
