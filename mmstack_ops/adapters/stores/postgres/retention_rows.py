"""Delete old rows of PostgreSQL tables in small transactions; archive them first if required."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from mmstack_ops.adapters.files import sync_directory
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, counted
from mmstack_ops.artifacts.encryption import encrypt_stream
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import RowsRule
from mmstack_ops.domain.units import format_bytes

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

# A transaction locks this many rows, for some hundredths of a second.
_BATCH = 5_000
# Each batch becomes a file.
_ARCHIVE_BATCH = 50_000
_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")


@dataclass(frozen=True)
class _Table:
    """A table of a rule, as the server describes it.

    Args:
        leaves: the tables that hold its rows: itself, or its partitions.
        column: the name of the rule's column.
        kind: the column's type.
    """

    name: str
    leaves: tuple[tuple[str, str], ...]
    column: str
    kind: str
    size: int

    def expired(self, before: datetime) -> Composed:
        """Return the SQL condition for rows from before a moment.

        A date is before a moment if its whole day is: today's date isn't. Rows with an infinite
        time don't match.
        """
        from psycopg import sql

        limit: Any = before.astimezone(UTC).date() if self.kind == "date" else before
        return sql.SQL("(isfinite({column}) AND {column} < {limit})").format(
            column=sql.Identifier(self.column), limit=sql.Literal(limit)
        )


class PostgresRows:
    """Deletion of rows whose time is before the moment, then VACUUM (ANALYZE)."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: RowsRule) -> Found:
        """Count rows; see ``Strategy.look``."""
        from psycopg import sql

        with _connected(site, rule) as connection:
            table = _table(connection, site, rule)
            row = connection.execute(
                sql.SQL(
                    # PostgreSQL has years that Python's calendar doesn't have.
                    "SELECT count(*), count(*) FILTER (WHERE {expired}),"
                    " (min(greatest({column}, '0001-01-02')) FILTER (WHERE {dated}))::timestamptz,"
                    " (max(least({column}, '9999-12-30')) FILTER (WHERE {dated}))::timestamptz,"
                    " clock_timestamp(), count(*) FILTER (WHERE ({dated}) IS NOT TRUE)"
                    " FROM {table}"
                ).format(
                    column=sql.Identifier(table.column),
                    dated=sql.SQL("isfinite({})").format(sql.Identifier(table.column)),
                    expired=table.expired(site.before),
                    table=sql.Identifier(*_parts(rule)),
                )
            ).fetchone()
        assert row is not None  # An aggregate without GROUP BY returns one row.
        total, expired, oldest, newest, clock, undated = row
        return Found(
            things="rows",
            total=total,
            expired=expired,
            freed_bytes=_share(table.size, expired, total),
            oldest=oldest,
            newest=newest,
            clock=clock,
            notes=(f"{undated} rows without {rule.column}, or an infinite one, stay",)
            if undated
            else (),
        )

    def clean(self, site: Site, rule: RowsRule) -> Gone:
        """Delete batch by batch, then vacuum; see ``Strategy.clean``."""
        with counted(site, "rows") as tally, _connected(site, rule) as connection:
            table = _table(connection, site, rule)
            before = _count(connection, rule)
            notes: list[str] = []
            archive = _Archive(site, rule) if rule.archive else None
            for leaf in table.leaves:
                for gone in _batches(connection, site, table, leaf, archive):
                    tally.count += gone
                    site.tell(f"{tally.count} rows deleted")
            if archive is not None and archive.files:
                notes.append(f"archived in {archive.folder}: {', '.join(archive.files)}")
            # Also if nothing was deleted: a killed clean-up may not have vacuumed.
            from psycopg import sql

            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(*_parts(rule))))
            after = _table(connection, site, rule).size
        notes.append(
            f"vacuumed: {format_bytes(after)} on disk, {format_bytes(table.size)} before;"
            " PostgreSQL uses the room in it again"
        )
        return Gone(tally.count, _share(table.size, tally.count, before), tuple(notes))


class _Archive:
    """Files of rows to be deleted: CSV with a header, zstd, age if there are recipients."""

    def __init__(self, site: Site, rule: RowsRule) -> None:
        self.folder: Path = site.archive(".".join(_parts(rule)))
        self.files: list[str] = []
        self._recipients = site.recipients()
        self._begun = datetime.now(UTC)
        # Incomplete files of a killed clean-up, perhaps not encrypted; their rows still exist.
        # The service's lock is held, so no other process writes here.
        for left in self.folder.glob(".*.part"):
            left.unlink()

    def add(self, connection: Connection[Any], copy: Composed) -> None:
        """Write the output of a COPY to a new file."""
        with self._file() as target, connection.cursor() as cursor, cursor.copy(copy) as stream:
            for block in stream:
                target.write(block)

    @contextmanager
    def _file(self) -> Iterator[BinaryIO]:
        """Write one file; after the block it is on disk under its name. Delete it if that fails."""
        import zstandard

        ending = ".csv.zst.age" if self._recipients else ".csv.zst"
        name = f"{self._begun:%Y%m%dT%H%M%S.%fZ}-{len(self.files) + 1:06}{ending}"
        plain = self.folder / f".{name}.part"
        try:
            with _new(plain) as target:
                with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as packed:
                    yield packed
                target.flush()
                os.fsync(target.fileno())
            if self._recipients:
                sealed = self.folder / f".{name}.age.part"
                with plain.open("rb") as source, _new(sealed) as target:
                    encrypt_stream(source, target, self._recipients)
                    target.flush()
                    os.fsync(target.fileno())
                sealed.replace(plain)
            plain.rename(self.folder / name)
            sync_directory(self.folder)
            self.files.append(name)
        except OSError as error:
            raise RetentionError(
                f"rows couldn't be archived in {self.folder}",
                why=error.strerror or str(error),
                remedy="make room there, or name another folder in `retention.archive`; the rows"
                " of this batch are where they were",
            ) from None
        finally:
            plain.unlink(missing_ok=True)
            (self.folder / f".{name}.age.part").unlink(missing_ok=True)


def _batches(
    connection: Connection[Any],
    site: Site,
    table: _Table,
    leaf: tuple[str, str],
    archive: _Archive | None,
) -> Iterator[int]:
    """Delete the old rows of one table; yield how many rows each transaction deleted.

    Rows that another client has locked are skipped and deleted the next time.
    """
    from psycopg import sql

    where = {"leaf": sql.Identifier(*leaf)}
    chosen = sql.SQL(
        "SELECT ctid::text FROM {leaf} WHERE {expired} LIMIT {batch} FOR UPDATE SKIP LOCKED"
    ).format(
        **where,
        expired=table.expired(site.before),
        batch=sql.Literal(_ARCHIVE_BATCH if archive is not None else _BATCH),
    )
    delete = sql.SQL("DELETE FROM {leaf} WHERE ctid = ANY(%s::tid[])").format(**where)
    copy = sql.SQL(
        "COPY (SELECT * FROM {leaf} WHERE ctid = ANY({rows}::tid[])) TO STDOUT (FORMAT csv, HEADER)"
    )
    while True:
        site.check()
        with connection.transaction():
            rows = [row[0] for row in connection.execute(chosen).fetchall()]
            if not rows:
                return
            if archive is not None:
                # On disk before the deletion is committed. If the process is killed in between,
                # the rows are in both the archive and the table: twice, but never lost.
                archive.add(connection, copy.format(**where, rows=sql.Literal(rows)))
            gone = connection.execute(delete, (rows,)).rowcount
            if gone != len(rows):
                # The rows are locked, so this shouldn't happen: don't commit.
                raise RetentionError(
                    f"{len(rows)} rows of {table.name} were to go, {gone} would have",
                    why="the table changed by itself; nothing of this batch was deleted",
                    remedy="look for triggers and rules on the table that change deletions",
                )
        yield gone


@contextmanager
def _connected(site: Site, rule: RowsRule) -> Iterator[Connection[Any]]:
    server = Server.of(site.instance)
    own = site.instance.spec.environment.get("POSTGRES_DB") or server.user
    with server.connect(rule.database or own) as connection:
        yield connection


def _table(connection: Connection[Any], site: Site, rule: RowsRule) -> _Table:
    schema, name = _parts(rule)
    found = connection.execute(
        "SELECT c.oid, c.relkind::text, pg_total_relation_size(c.oid) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (schema, name),
    ).fetchone()
    if found is None:
        raise RetentionError(
            f"{site.instance.service} has no table {schema}.{name}",
            why="the schema declares a retention for it",
            remedy="correct the rule's table or database, or take the rule out of the schema",
        )
    oid, kind, size = found
    column = connection.execute(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = %s AND attname = %s AND attnum > 0 AND NOT attisdropped",
        (oid, rule.column),
    ).fetchone()
    if column is None or column[0] not in _TIMES:
        is_what = "isn't there" if column is None else f"is of type {column[0]}"
        raise RetentionError(
            f"the column {rule.column} of {schema}.{name} {is_what}",
            why="rows are judged by a timestamp or a date",
            remedy="correct the rule's column in the schema",
        )
    cascades = connection.execute(
        "SELECT conrelid::regclass::text FROM pg_constraint"
        " WHERE confrelid = %s AND contype = 'f' AND confdeltype = 'c'",
        (oid,),
    ).fetchall()
    if cascades:
        raise RetentionError(
            f"rows of {schema}.{name} would take others with them",
            why=f"foreign keys with ON DELETE CASCADE stand in {', '.join(r[0] for r in cascades)}",
            remedy="give those tables rules of their own and the keys another action: nothing"
            " goes that no plan names",
        )
    leaves: list[tuple[str, str]] = [(schema, name)]
    if kind == "p":
        # A ctid is unique within one table only: use each partition separately.
        leaves = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_partition_tree(%s) p"
            " JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE p.isleaf AND c.relkind = 'r' ORDER BY 1, 2",
            (oid,),
        ).fetchall()
        (size,) = connection.execute(
            "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint"
            " FROM pg_partition_tree(%s)",
            (oid,),
        ).fetchone() or (0,)
    return _Table(f"{schema}.{name}", tuple(leaves), rule.column, column[0], size)


def _count(connection: Connection[Any], rule: RowsRule) -> int:
    from psycopg import sql

    (count,) = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*_parts(rule)))
    ).fetchone() or (0,)
    return int(count)


def _parts(rule: RowsRule) -> tuple[str, str]:
    schema, _, name = rule.table.rpartition(".")
    return schema or "public", name


def _share(size: int, part: int, total: int) -> int:
    """Return about how many bytes ``part`` of ``total`` rows take, with their indexes."""
    return size * part // total if total else 0


def _new(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")
