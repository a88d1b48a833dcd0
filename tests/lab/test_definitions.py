"""The lab's own files agree with each other and with the schema; needs no engine."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.lab.containers import LAB

SCHEMA = LAB.parent / "schemas" / "compose-schema.yaml"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the lab, whose files are scripts and no package."""
    before = set(sys.modules)

    def imported(name: str, folder: str = "") -> ModuleType:
        monkeypatch.syspath_prepend(str(LAB / folder))
        return importlib.import_module(name)

    yield imported
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(LAB)):
            del sys.modules[name]


def override() -> dict[str, str]:
    images: dict[str, str] = yaml.safe_load((LAB / "images.yaml").read_text())["images"]
    return images


def test_every_service_of_the_schema_has_an_image_with_a_tag() -> None:
    services = yaml.safe_load(SCHEMA.read_text())["services"]
    assert override().keys() == services.keys()
    assert all(re.fullmatch(r"mmstack-lab/[a-z0-9-]+:lab", image) for image in override().values())


def test_every_image_of_the_override_is_built(load: Any) -> None:
    built = {image.reference for image in load("definitions").wanted_images()}
    assert set(override().values()) <= built


def test_stand_ins_listen_on_the_ports_of_the_schema(load: Any) -> None:
    services = yaml.safe_load(SCHEMA.read_text())["services"]
    for image in load("definitions").wanted_images():
        if image.kind == "stand-in":
            declared = {port["container"] for port in services[image.name].get("ports", [])}
            assert declared <= set(image.ports), image.name


def test_an_image_is_rebuilt_when_it_or_what_is_below_it_changes(load: Any, tmp_path: Path) -> None:
    definitions = load("definitions")
    copy = tmp_path / "lab"
    shutil.copytree(LAB, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def hashes() -> dict[str, str]:
        return {
            image.name: image.inputs for image in definitions.wanted_images(copy / "images.toml")
        }

    first = hashes()
    assert first == {image.name: image.inputs for image in definitions.wanted_images()}
    with (copy / "stand-in" / "stand_in.py").open("a") as file:
        file.write("# changed\n")
    second = hashes()
    changed = {name for name in first if first[name] != second[name]}
    assert {"stand-in", "vllm", "jmeter"} <= changed
    assert not changed & {"base", "python", "postgres", "qdrant", "minio"}
    with (copy / "pip" / "Dockerfile").open("a") as file:
        file.write("# changed\n")
    third = hashes()
    assert {name for name in second if second[name] != third[name]} == {"pip", "qdrant", "minio"}


def test_pip_settings_of_this_machine_reach_the_build_without_its_paths(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostcontext = load("hostcontext")
    bundle = tmp_path / "corporate.pem"
    bundle.write_text("a certificate\n")
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://index.example/simple\nfind-links = /opt/here\n"
        f"cert = {bundle}\n"
    )
    for name in hostcontext.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", str(bundle))
    monkeypatch.setenv("PIP_RETRIES", "9")
    hostcontext.write(tmp_path / "host")
    assert (tmp_path / "host" / "ca.crt").read_text() == "a certificate\n"
    written = (tmp_path / "host" / "pip.conf").read_text()
    assert "index-url = https://index.example/simple" in written
    assert "retries = 9" in written
    assert "cert = /build/host/ca.crt" in written
    assert str(tmp_path) not in written
    assert "find-links" not in written


def test_nothing_of_the_lab_uses_latest_or_a_host_of_its_builder() -> None:
    allowed = {"deb.debian.org", "docs.docker.com", "127.0.0.1", "localhost"}
    for path in LAB.rglob("*"):
        generated = any(part == "__pycache__" or part[0] == "." for part in path.parts[1:])
        if path.is_file() and not generated:
            text = path.read_text()
            assert ":latest" not in text, path
            assert set(re.findall(r"https?://([a-z0-9.-]+\.[a-z0-9]+)", text)) <= allowed, path


# -- signatures -----------------------------------------------------------------------

NOW = datetime.now(UTC)
TARGET = "/bucket/dir%20a/%C3%BC%2B%26.txt?prefix=a%2Fb&versions="


def signed(kind: type, data: bytes | None = b"content", **options: Any) -> AWSRequest:
    request = AWSRequest(
        "PUT",
        f"http://minio:9000{TARGET}",
        headers={"x-amz-meta-some_name": "a  b", "Content-Type": "text/plain"},
        data=data,
    )
    kind(Credentials("key", "secret"), "s3", "us-east-1", **options).add_auth(request)
    return request


def headers_of(request: AWSRequest) -> Message:
    message = Message()
    message["Host"] = "minio:9000"
    for name, value in request.headers.items():
        message[name] = value
    return message


@pytest.fixture
def signatures(load: Any) -> Any:
    return load("front.signatures", "minio")


def test_a_signed_request_passes_and_a_changed_one_does_not(signatures: Any) -> None:
    headers = headers_of(signed(S3SigV4Auth))
    signatures.check("PUT", TARGET, headers, "key", "secret")
    for method, target, key, secret, code in (
        ("GET", TARGET, "key", "secret", "SignatureDoesNotMatch"),
        ("PUT", TARGET + "&x=y", "key", "secret", "SignatureDoesNotMatch"),
        ("PUT", TARGET, "key", "other", "SignatureDoesNotMatch"),
        ("PUT", TARGET, "other", "secret", "InvalidAccessKeyId"),
    ):
        with pytest.raises(signatures.Refused) as caught:
            signatures.check(method, target, headers, key, secret)
        assert caught.value.code == code


def test_a_request_of_another_time_is_refused(signatures: Any) -> None:
    later = NOW + timedelta(minutes=30)
    with pytest.raises(signatures.Refused, match="time"):
        signatures.check("PUT", TARGET, headers_of(signed(S3SigV4Auth)), "key", "secret", later)


def test_a_signed_url_passes_until_it_expires(signatures: Any) -> None:
    request = signed(S3SigV4QueryAuth, data=None, expires=600)
    target = request.url.removeprefix("http://minio:9000")
    headers = headers_of(request)
    signatures.check("PUT", target, headers, "key", "secret")
    # From the moment of signing, which is now and not when this module was read.
    later = datetime.now(UTC) + timedelta(minutes=11)
    with pytest.raises(signatures.Refused, match="expired"):
        signatures.check("PUT", target, headers, "key", "secret", later)


def test_an_unsigned_request_is_refused(signatures: Any) -> None:
    with pytest.raises(signatures.Refused, match="Access Denied"):
        signatures.check("GET", "/bucket", Message(), "key", "secret")
