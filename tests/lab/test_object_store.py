"""The lab's object store: what boto3 puts into it comes back, also after a restart."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.backups.lab import definition
from tests.lab.containers import Run, Running

pytestmark = pytest.mark.integration

USER, PASSWORD = "root-user", "a-long-password"
KEY = "dir with space/ü+&=%.txt"


@pytest.fixture
def store(run: Run, volume: str, tmp_path: Path) -> Running:
    for name, value in (("user", USER), ("password", PASSWORD)):
        (tmp_path / name).write_text(value + "\n")
        (tmp_path / name).chmod(0o600)
    server = run(
        "minio",
        ["server", "/data", "--console-address", ":9001"],
        volumes=[f"{volume}:/data", f"{tmp_path}:/run/secrets:ro"],
        environment={
            "MINIO_ROOT_USER_FILE": "/run/secrets/user",
            "MINIO_ROOT_PASSWORD_FILE": "password",
        },
        publish=[9000],
    )
    wait_for(server)
    return server


def wait_for(server: Running) -> None:
    server.wait_until("live", lambda: server.exit_code(*health_check()) == 0)


def health_check() -> list[str]:
    """The schema's own, as it runs inside the container."""
    check = definition("minio").healthcheck
    assert check is not None
    kind, *command = check.test
    assert kind == "CMD"
    return command


def client(server: Running, user: str = USER, password: str = PASSWORD) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url(9000),
        aws_access_key_id=user,
        aws_secret_access_key=password,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", retries={"max_attempts": 1}),
    )


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_round_trip_with_versions_metadata_tags_and_multipart(store: Running) -> None:
    s3 = client(store)
    s3.create_bucket(Bucket="models")
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    put = {"Bucket": "models", "Key": KEY, "Metadata": {"made_by": "Someone  else"}}
    s3.put_object(Body=b"one", **put)
    s3.put_object(Body=b"two", ContentType="text/x", Tagging="a=1&b=2", **put)
    s3.put_object(Bucket="models", Key="gone", Body=b"x")
    s3.delete_object(Bucket="models", Key="gone")
    large = bytes(range(256)) * 4096 * 12
    s3.upload_fileobj(io.BytesIO(large), "models", "large")

    # Twice: with what the server was told, and with what it kept over a restart.
    for _ in range(2):
        s3 = client(store)
        got = s3.get_object(Bucket="models", Key=KEY)
        assert got["Body"].read() == b"two"
        assert (got["Metadata"], got["ContentType"]) == ({"made_by": "Someone  else"}, "text/x")
        tags = s3.get_object_tagging(Bucket="models", Key=KEY)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "2"}
        assert len(s3.list_object_versions(Bucket="models", Prefix=KEY)["Versions"]) == 2
        marked = s3.list_object_versions(Bucket="models", Prefix="gone")["DeleteMarkers"]
        assert [entry["Key"] for entry in marked] == ["gone"]
        assert s3.get_object(Bucket="models", Key="large")["Body"].read() == large
        store.container.restart(timeout=15)
        wait_for(store)


def test_only_the_root_user_gets_in(store: Running) -> None:
    assert client(store).list_buckets()["Buckets"] == []
    other, wrong = client(store, user="somebody"), client(store, password="another-password")
    assert error_of(other.list_buckets) == "InvalidAccessKeyId"
    assert error_of(wrong.list_buckets) == "SignatureDoesNotMatch"
    status = store.sh("curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:9000/models/x")
    assert status == "403"


def test_probes_and_console_answer_without_credentials(store: Running) -> None:
    assert store.sh("curl -fsS http://127.0.0.1:9000/minio/health/ready") == ""
    assert "has no console" in store.sh("curl -fsS http://127.0.0.1:9001/")


def test_the_health_check_fails_for_an_error_and_for_a_server_that_is_gone(store: Running) -> None:
    *shell, script = health_check()
    assert store.exit_code(*shell, script) == 0
    refused = script.replace("/minio/health/live", "/no-such-bucket/x")
    assert store.exit_code(*shell, refused) != 0
    nobody = script.replace("/9000", "/9999")
    assert store.exit_code(*shell, nobody) != 0


def test_a_password_that_minio_would_refuse_is_refused(run: Run) -> None:
    environment = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "short"}
    server = run("minio", ["server", "/data"], environment=environment)
    assert server.container.wait(timeout=120)["StatusCode"] == 1
    assert "fewer than 8 characters" in server.logs()
