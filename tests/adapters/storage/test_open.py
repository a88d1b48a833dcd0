"""Tiers opened as the schema declares them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.storage.mount import MountTier
from mmstack_ops.adapters.storage.open_tier import open_tier, unset_variable
from mmstack_ops.adapters.storage.s3.location import S3Location, parse_location
from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier
from mmstack_ops.domain.errors import InputError, RenderError
from mmstack_ops.domain.schema.policies import Tier as TierPolicy


def policy(kind: str, location: str = "${PLACE}", **more: Any) -> TierPolicy:
    return TierPolicy.model_validate(
        {"kind": kind, "location": location, "retention": "7d", **more}
    )


def opened(tmp_path: Path, found: TierPolicy, **values: str) -> object:
    return open_tier("t", found, values, root=tmp_path / "project", state=tmp_path / "state")


def test_a_relative_path_begins_at_the_project(tmp_path: Path) -> None:
    tier = opened(tmp_path, policy("directory", quota="1GB"), PLACE=".mmstack/backups")
    assert isinstance(tier, DirectoryTier)
    assert not isinstance(tier, MountTier)
    assert tier.root == tmp_path / "project/.mmstack/backups"
    assert not (tmp_path / "project").exists()


def test_a_mount(tmp_path: Path) -> None:
    tier = opened(tmp_path, policy("mount"), PLACE="/mnt/backups")
    assert isinstance(tier, MountTier)
    assert tier.root == Path("/mnt/backups")


@pytest.mark.parametrize("kind", ["directory", "mount", "s3", "tape"])
def test_an_empty_location_is_not_configured(tmp_path: Path, kind: str) -> None:
    assert opened(tmp_path, policy(kind), PLACE="") is None
    assert unset_variable(policy(kind)) == "PLACE"


def test_a_tape_drive_is_refused_and_the_way_to_use_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a device") as caught:
        opened(tmp_path, policy("tape"), PLACE="/dev/nst0")
    assert "LTFS" in caught.value.remedy


def test_an_unknown_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="PLACE"):
        opened(tmp_path, policy("directory"))


def test_object_storage(tmp_path: Path) -> None:
    tier = opened(tmp_path, policy("s3"), PLACE="https://s3.example.com:9000/backups/a/b/")
    assert isinstance(tier, S3Tier)


@pytest.mark.parametrize(
    ("text", "endpoint", "expected"),
    [
        ("https://h:9000/b/p/q", "", S3Location("https://h:9000", "b" * 3, "p/q/")),
        ("http://h/b", "", S3Location("http://h", "bbb", "")),
        ("s3://b/p", "", S3Location(None, "bbb", "p/")),
        ("s3://b", "https://h:1/", S3Location("https://h:1", "bbb", "")),
    ],
)
def test_locations(text: str, endpoint: str, expected: S3Location) -> None:
    text = text.replace("/b", "/bbb", 1) if "//b" not in text else text.replace("//b", "//bbb")
    assert parse_location(text, endpoint=endpoint) == expected


@pytest.mark.parametrize(
    "text",
    [
        *["backups", "/srv/x", "ftp://h/b", "https://h", "https:///b", "s3://", "s3://b!d/x"],
        *["https://h/bucket/../x", "https://h/bucket?x=y"],
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(InputError):
        parse_location(text)


def test_credentials_in_a_location_are_refused_and_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        parse_location("https://key:hunter2@h/bucket")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        parse_location("s3://bucket", endpoint="https://key:hunter2@h")
    assert "hunter2" not in str(caught.value)


def test_opening_loads_no_client() -> None:
    """Read verbs open all tiers and mustn't wait for a library they don't need."""
    code = (
        "import sys; from pathlib import Path\n"
        "from mmstack_ops.adapters.storage.open_tier import open_tier\n"
        "from mmstack_ops.domain.schema.policies import Tier\n"
        "for kind, place in (('s3', 's3://bucket'), ('mount', '/x'), ('directory', '/x')):\n"
        "    policy = Tier(kind=kind, location=place, retention='1d')\n"
        "    open_tier('t', policy, {}, root=Path('/x'), state=Path('/x'))\n"
        "heavy = {'boto3', 'botocore', 'tenacity'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "text",
    ["https://host:99999/bucket", "https://host:x/bucket", "https://[::1/bucket"],
)
def test_a_port_or_host_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the location of an S3 tier has a"):
        parse_location(text)
    endpoint = text.removesuffix("/bucket")
    with pytest.raises(InputError, match="BACKUP_CLOUD_ENDPOINT has a"):
        parse_location("s3://bucket", endpoint=endpoint)
