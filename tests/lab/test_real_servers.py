"""PostgreSQL, Redis, nginx and Prometheus of the lab do what their official images do."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.lab.containers import Run, Running

pytestmark = pytest.mark.integration


# -- PostgreSQL -----------------------------------------------------------------------


def postgres_is_ready(server: Running) -> None:
    check = ("pg_isready", "-q", "-h", "127.0.0.1")
    server.wait_until("ready", lambda: server.exit_code(*check) == 0)


def psql(server: Running, statement: str, password: str, *, check: bool = True) -> str:
    """As a client on the network: on the loopback the server trusts everybody, like upstream."""
    return server.sh(
        f'psql -h {server.address} -U app -d shop -XAtc "{statement}"',
        check=check,
        environment={"PGPASSWORD": password},
    ).strip()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A password's file as Compose mounts it: readable by root alone."""
    file = tmp_path / "password"
    file.write_text("correct horse $battery\n")
    file.chmod(0o600)
    return file


def start_postgres(run: Run, secret: Path, **options: Any) -> Running:
    mounts = [f"{secret}:/run/secrets/password:ro", *options.pop("volumes", [])]
    return run(
        "postgres",
        ["postgres", "-c", "max_connections=42"],
        volumes=mounts,
        environment={
            "POSTGRES_USER": "app",
            "POSTGRES_DB": "shop",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/password",
        },
        **options,
    )


def test_postgres_initialises_once_with_password_file_and_init_scripts(
    run: Run, secret: Path, volume: str, tmp_path: Path
) -> None:
    scripts = tmp_path / "init"
    scripts.mkdir()
    (scripts / "10-table.sql").write_text("CREATE TABLE goods (name text);\n")
    (scripts / "20-row.sh").write_text(
        'psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<\'SQL\'\n'
        "INSERT INTO goods VALUES ('soap');\nSQL\n"
    )
    mounts = [f"{scripts}:/docker-entrypoint-initdb.d:ro", f"{volume}:/var/lib/postgresql/data"]
    server = start_postgres(run, secret, volumes=mounts)
    postgres_is_ready(server)

    password = "correct horse $battery"
    assert psql(server, "SELECT name FROM goods", password) == "soap"
    assert psql(server, "SHOW max_connections", password) == "42"
    assert psql(server, "SHOW password_encryption", password) == "scram-sha-256"
    assert "authentication failed" in psql(server, "SELECT 1", "wrong", check=False)
    assert server.sh("stat -c %u:%g $PGDATA/PG_VERSION").strip() == "70:70"

    server.container.remove(force=True)
    again = start_postgres(run, secret, volumes=mounts)
    postgres_is_ready(again)
    assert psql(again, "SELECT count(*) FROM goods", password) == "1"
    assert "init process" not in again.logs()


def test_postgres_does_not_listen_before_its_init_scripts_are_done(
    run: Run, secret: Path, tmp_path: Path
) -> None:
    scripts = tmp_path / "init"
    scripts.mkdir()
    (scripts / "10-slow.sh").write_text("sleep 2; touch /tmp/init-done\n")
    server = start_postgres(run, secret, volumes=[f"{scripts}:/docker-entrypoint-initdb.d:ro"])
    postgres_is_ready(server)
    assert server.exit_code("test", "-e", "/tmp/init-done") == 0


def test_postgres_dump_restore_and_amcheck(run: Run, secret: Path) -> None:
    server = start_postgres(run, secret)
    postgres_is_ready(server)
    server.sh("psql -U app -d shop -XAtc 'CREATE TABLE t AS SELECT generate_series(1,1000) AS n'")
    server.sh(
        "set -o pipefail; createdb -U app copy;"
        " pg_dump -U app -Fc -Z0 shop | pg_restore -U app -d copy --exit-on-error"
    )
    assert server.sh("psql -U app -d copy -XAtc 'SELECT sum(n) FROM t'").strip() == "500500"
    server.sh("pg_amcheck -U app -d copy --install-missing")
    assert "CREATE ROLE app" in server.sh("pg_dumpall -U app --globals-only")


def test_postgres_without_a_password_says_what_is_missing(run: Run) -> None:
    server = run("postgres")
    assert server.container.wait(timeout=120)["StatusCode"] == 1
    assert "POSTGRES_PASSWORD_FILE" in server.logs()


# -- Redis ----------------------------------------------------------------------------


def test_redis_serves_the_network_and_keeps_an_aof(run: Run, volume: str) -> None:
    command = ["redis-server", "--appendonly", "yes", "--requirepass", "s3cret"]
    # Otherwise a dump by `redis-cli --rdb` begins after 5 s: the server waits for more replicas.
    command += ["--repl-diskless-sync-delay", "0"]
    auth = {"environment": {"REDISCLI_AUTH": "s3cret"}}
    server = run("redis", command, volumes=[f"{volume}:/data"])

    def ping() -> bool:
        return "PONG" in server.sh(f"redis-cli -h {server.address} ping", check=False, **auth)

    server.wait_until("answering", ping)
    server.sh("redis-cli set greeting hello", **auth)
    assert "NOAUTH" in server.sh("redis-cli get greeting")
    assert server.sh("redis-cli info server | grep ^redis_version:", **auth)[14:].startswith("7.")
    server.sh("redis-cli --rdb /tmp/dump.rdb && redis-check-rdb /tmp/dump.rdb", **auth)
    server.sh("redis-check-aof /data/appendonlydir/appendonly.aof.manifest")
    assert server.sh("stat -c %u:%g /data/appendonlydir").strip() == "999:1000"

    server.container.restart(timeout=120)
    server.wait_until("answering", ping)
    assert server.sh("redis-cli get greeting", **auth).strip() == "hello"


def test_redis_without_settings_is_reachable_from_other_containers(run: Run) -> None:
    server, other = run("redis"), run("redis", ["sleep", "60"])
    ask = f"redis-cli -h {server.address} ping"
    server.wait_until("answering", lambda: "PONG" in other.sh(ask, check=False))


# -- nginx ----------------------------------------------------------------------------


def test_nginx_serves_files_and_takes_server_blocks(run: Run, tmp_path: Path) -> None:
    (tmp_path / "extra.conf").write_text(
        "server { listen 8081; location /nginx-health { return 200 'fine'; } }\n"
    )
    server = run(
        "nginx",
        volumes=[f"{tmp_path / 'extra.conf'}:/etc/nginx/conf.d/extra.conf:ro"],
        publish=[80],
    )
    server.wait_until("serving", lambda: server.exit_code("curl", "-fsS", "http://127.0.0.1/") == 0)
    assert server.sh("curl -fsS http://127.0.0.1:8081/nginx-health") == "fine"
    with urllib.request.urlopen(server.url(80) + "/index.html", timeout=120) as answer:
        assert b"nginx of the lab" in answer.read()
    server.wait_until("logging", lambda: '"GET /index.html HTTP/1.1" 200' in server.logs())
    server.container.stop(timeout=120)
    server.container.reload()
    assert server.container.attrs["State"]["ExitCode"] == 0


# -- Prometheus -----------------------------------------------------------------------


def test_prometheus_takes_and_deletes_a_snapshot(run: Run) -> None:
    server = run(
        "prometheus",
        [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--web.enable-admin-api",
        ],
        publish=[9090],
    )
    healthy = ("wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/healthy")
    server.wait_until("healthy", lambda: server.exit_code(*healthy) == 0)
    request = urllib.request.Request(
        server.url(9090) + "/api/v1/admin/tsdb/snapshot", method="POST"
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        name = json.load(answer)["data"]["name"]
    assert server.exit_code("test", "-d", f"/prometheus/snapshots/{name}") == 0
    assert server.sh("id -u").strip() == "65534"
    server.sh(f"rm -r /prometheus/snapshots/{name}")
    server.sh("promtool check config /etc/prometheus/prometheus.yml")
