"""Run the probes that the schema declares on the restored copy of a drill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.postgres.n8n_credentials import decrypts
from mmstack_ops.adapters.stores.sqlite.probe import sqlite_value
from mmstack_ops.artifacts.inconclusive import INCONCLUSIVE_ERRORS
from mmstack_ops.domain.backups.events import DrillCheck
from mmstack_ops.domain.errors import BackupError, MmstackError
from mmstack_ops.domain.schema.probes import (
    TYPES,
    HttpProbe,
    N8nCredentialsProbe,
    ObjectProbe,
    Probe,
    RedisProbe,
    SqliteProbe,
    SqlProbe,
    VectorsProbe,
    value_at,
)

if TYPE_CHECKING:
    import psycopg

    from mmstack_ops.adapters.stores.postgres.server import Connection

_SECONDS = 30
_HTTP_BYTES = 1 << 20
_OBJECT_BYTES = 16 << 20
_BLOCK = 1 << 20
# Classes of PostgreSQL errors whose messages are about the query (transaction state, access
# and syntax, intervention): the messages of other classes repeat values.
_ABOUT_QUERY = ("25", "42", "57")


class _WrongError(Exception):
    """The probe ran and its answer isn't as expected; the text describes the difference."""


def run_probes(
    probes: Iterable[Probe],
    type_name: str,
    bench: Workbench,
    instance: Instance,
    *,
    start: Callable[[Instance], Instance],
) -> tuple[DrillCheck, ...]:
    """Run the probes of a service on a restored copy; return their results.

    Args:
        probes: the service's probes; probes for data that a backup of this type doesn't hold
            are skipped (``schema.probes.TYPES``).
        instance: the restored copy; it is running, or holds only files.
        start: starts an instance that isn't running, for HTTP requests. Called once, after all
            other probes.

    Raises:
        CancelledError, EngineUnavailableError, TierUnavailableError: the result is inconclusive.
    """
    wanted = [probe for probe in probes if type_name in TYPES[probe.kind]]
    # A service changes its files when it starts: check them first.
    wanted.sort(key=lambda probe: isinstance(probe, HttpProbe))
    checks: list[DrillCheck] = []
    unstarted: MmstackError | None = None
    for probe in wanted:
        name = f"probe {probe.name}"
        try:
            if isinstance(probe, HttpProbe) and not instance.running:
                if unstarted is not None:
                    raise unstarted
                try:
                    instance = start(instance)
                except MmstackError as error:
                    unstarted = error
                    raise
            checks.append(DrillCheck(name, True, _asked(probe, bench, instance)))
        except INCONCLUSIVE_ERRORS:
            raise
        except _WrongError as wrong:
            checks.append(DrillCheck(name, False, str(wrong)))
        except MmstackError as error:
            why = f" ({error.why})" if error.why else ""
            checks.append(DrillCheck(name, False, f"it couldn't be asked: {error.what}{why}"))
    return tuple(checks)


def _asked(probe: Probe, bench: Workbench, instance: Instance) -> str:
    match probe:
        case SqlProbe():
            return _sql(probe, instance)
        case N8nCredentialsProbe():
            return _n8n_credentials(probe, instance)
        case SqliteProbe():
            there, value = sqlite_value(bench, instance, probe)
            return _judged(probe, value) if there else _no_table(probe)
        case RedisProbe():
            return _redis(probe, instance)
        case VectorsProbe():
            return _vectors(probe, instance)
        case ObjectProbe():
            return _object(probe, instance)
        case HttpProbe():
            return _http(probe, instance)


def _judged(probe: SqlProbe | SqliteProbe | HttpProbe, value: object) -> str:
    if wrong := probe.wrong(value):
        raise _WrongError(wrong)
    return "as expected" if probe.equals is not None else f"{value}"


def _no_table(probe: SqlProbe | SqliteProbe) -> str:
    return f"not asked: the backup holds no table {probe.if_table}"


def _sql(probe: SqlProbe, instance: Instance) -> str:
    import psycopg

    environment = instance.spec.environment
    named = environment.get("POSTGRES_DB") or environment.get("POSTGRES_USER") or "postgres"
    database = probe.database or named
    with _reading(instance, database) as connection:
        if probe.if_table is not None and not _has_table(connection, probe.if_table):
            return _no_table(probe)
        try:
            # Prepared: the server then accepts a single statement only.
            cursor = connection.execute(probe.query.encode(), prepare=True)
        except psycopg.Error as error:
            about_query = (error.sqlstate or "")[:2] in _ABOUT_QUERY
            why = error.diag.message_primary if about_query else type(error).__name__
            raise BackupError("the query failed", why=why or "") from None
        return _judged(probe, _first_value(cursor))


def _first_value(cursor: psycopg.Cursor[tuple[Any, ...]]) -> object:
    """Return the first value of the first row; None if there is no row."""
    import psycopg

    try:
        row = cursor.fetchone()
    except psycopg.DataError:
        # Python has no such value (infinity::date, 24:00:00::time): use the text from the server.
        assert cursor.pgresult is not None
        return (cursor.pgresult.get_value(0, 0) or b"").decode(errors="replace")
    return row[0] if row else None


def _n8n_credentials(probe: N8nCredentialsProbe, instance: Instance) -> str:
    from mmstack_ops.adapters.stores.postgres.server import Server

    key = instance.values.secrets.get(probe.secret)
    if key is None:
        raise BackupError(f"the environment has no secret {probe.secret}")
    known = {str(name) for (name,) in Server.of(instance).query("SELECT datname FROM pg_database")}
    bad: list[str] = []
    count = 0
    if probe.database in known:
        with _reading(instance, probe.database) as connection:
            if _has_table(connection, probe.table):
                table = ".".join(f'"{part}"' for part in probe.table.split("."))
                query = f"SELECT id::text, data FROM {table}"  # noqa: S608 - of the schema, quoted
                for identity, data in connection.execute(query.encode()):
                    count += 1
                    if not decrypts(str(data), key.strip()):
                        bad.append(str(identity))
    if bad:
        raise _WrongError(
            f"{len(bad)} of {count} credentials don't decrypt with the key: {', '.join(bad[:3])}"
        )
    if count < probe.min:
        raise _WrongError(f"{count} credentials, at least {probe.min} are expected")
    return f"{count} credentials decrypt"


@contextmanager
def _reading(instance: Instance, database: str) -> Iterator[Connection]:
    """Connect in a read-only transaction, with the search path that applications use."""
    from mmstack_ops.adapters.stores.postgres.server import Server

    with Server.of(instance).connect(database, autocommit=False) as connection:
        connection.read_only = True
        connection.execute(f"SET LOCAL statement_timeout = {_SECONDS * 1000}".encode())
        connection.execute(b"""SET LOCAL search_path = "$user", public""")
        yield connection


def _has_table(connection: Connection, name: str) -> bool:
    # The name is spelled as in a query, without quotes.
    row = connection.execute(b"SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    return row is not None and bool(row[0])


def _redis(probe: RedisProbe, instance: Instance) -> str:
    from mmstack_ops.adapters.stores.redis.server import RedisServer, text

    with RedisServer.of(instance).connect(probe.database) as client:
        found: Any = client.type(probe.key)
        kind = text(found)
        if kind == "none":
            raise _WrongError("the key isn't there")
        if probe.type is not None and kind != probe.type:
            raise _WrongError(f"the key is a {kind}, not a {probe.type}")
        if probe.min is None and probe.max is None:
            return f"a {kind}"
        sizes: dict[str, Callable[[str], Any]] = {
            "string": client.strlen,
            "list": client.llen,
            "set": client.scard,
            "zset": client.zcard,
            "hash": client.hlen,
            "stream": client.xlen,
        }
        if kind not in sizes:
            raise BackupError(f"the size of a {kind} isn't known")
        size = int(sizes[kind](probe.key))
    _in_range(size, probe.min, probe.max, "long")
    return f"a {kind}, {size} long"


def _vectors(probe: VectorsProbe, instance: Instance) -> str:
    from mmstack_ops.adapters.stores.qdrant.server import QdrantServer

    found = QdrantServer.of(instance).search(
        probe.collection,
        probe.vector if probe.vector is not None else probe.point,
        using=probe.using,
        limit=probe.min_results,
    )
    if found < probe.min_results:
        raise _WrongError(f"{found} results, at least {probe.min_results} are expected")
    return f"{found} results"


def _object(probe: ObjectProbe, instance: Instance) -> str:
    import botocore.exceptions

    from mmstack_ops.adapters.stores.s3.client import s3_client

    client = s3_client(instance)
    try:
        found = client.get_object(Bucket=probe.bucket, Key=probe.key)
        size = int(found["ContentLength"])
        digest, beginning = hashlib.sha256(), bytearray()
        with found["Body"] as body:
            _in_range(size, probe.min_size, probe.max_size, "bytes")
            while probe.sha256 is not None or len(beginning) < _OBJECT_BYTES:
                block = body.read(_BLOCK)
                if not block:
                    break
                digest.update(block)
                if len(beginning) < _OBJECT_BYTES:
                    beginning += block
                if probe.sha256 is None and probe.contains is None:
                    break
    except botocore.exceptions.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise _WrongError(f"the store doesn't give the object: {code}") from None
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise BackupError("the object can't be read", why=type(error).__name__) from None
    if probe.sha256 is not None and digest.hexdigest() != probe.sha256:
        raise _WrongError(f"its SHA-256 is {digest.hexdigest()}")
    if probe.contains is not None and probe.contains.encode() not in beginning:
        raise _WrongError("it doesn't contain the text that is expected")
    return f"{size} bytes"


def _http(probe: HttpProbe, instance: Instance) -> str:
    import requests
    import urllib3

    port = next(p.container for p in instance.definition.ports if p.name == probe.port)
    session = requests.Session()
    # Never use a proxy, or credentials of ~/.netrc, for a container on this host.
    session.trust_env = False
    deadline = time.monotonic() + _SECONDS
    try:
        with session.get(
            f"http://{instance.address}:{port}{probe.path}",
            timeout=_SECONDS,
            stream=True,
            # A redirect leads out of the isolated network.
            allow_redirects=False,
        ) as response:
            if response.status_code != probe.status:
                raise _WrongError(f"status {response.status_code}, {probe.status} is expected")
            body = b""
            # read1: read() would wait until the block is full.
            while block := response.raw.read1(_HTTP_BYTES, decode_content=True):
                body += block
                if len(body) >= _HTTP_BYTES:
                    break
                if time.monotonic() > deadline:
                    raise BackupError(f"the answer isn't complete after {_SECONDS} s")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BackupError("the service doesn't answer", why=type(error).__name__) from None
    finally:
        session.close()
    if probe.contains is not None and probe.contains.encode() not in body:
        raise _WrongError("the answer doesn't contain the text that is expected")
    if probe.json_path is None:
        return f"status {probe.status}"
    try:
        value = value_at(json.loads(body), probe.json_path)
    except (ValueError, RecursionError):
        raise _WrongError("the answer is no JSON document, or larger than 1 MiB") from None
    except LookupError:
        raise _WrongError(f"the answer has nothing at {probe.json_path}") from None
    return f"status {probe.status}, {_judged(probe, value)}"


def _in_range(size: int, least: int | None, most: int | None, what: str) -> None:
    if least is not None and size < least:
        raise _WrongError(f"{size} {what}, at least {least} are expected")
    if most is not None and size > most:
        raise _WrongError(f"{size} {what}, at most {most} are expected")
