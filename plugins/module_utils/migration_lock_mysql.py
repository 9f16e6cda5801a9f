# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One migration at a time for each database of MySQL or MariaDB, from wherever it is started: a lock by name in the server itself."""

from __future__ import annotations

import contextlib
import hashlib
import time
import typing

from ansible_collections.baton.release.plugins.module_utils._pymysql import (
    Connection,
    DatabaseError,
    connect,
    fileno,
    in_words,
    rows,
)
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession

__all__ = ["is_read_only", "lock_name", "mysql_lock"]

_POLL = 0.2  # seconds
_NAME = "baton.db_migrate:"
_LONGEST_NAME = 64
"""Of a lock, in characters; MySQL refuses longer ones."""
_FOREVER = 31_536_000  # seconds: the longest that a session may idle
_WHERE = "SELECT VERSION(), DATABASE(), @@global.read_only"
_HOLDER = (
    "SELECT ID, CONCAT(USER, ' from ', HOST), CAST(NOW() - INTERVAL TIME SECOND AS CHAR)"
    " FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK(%s)"
)
# Neither server looks whether the client of a statement is still there: what a killed run has left may go on without any lock.
_LEFT_RUNNING = (
    "SELECT ID, LEFT(INFO, 60) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    " AND COMMAND IN ('Query', 'Execute')"
    # The server keeps the comments before a statement, such as what dbmate sends of its file.
    " AND UPPER(INFO) REGEXP '^([[:space:]]|/[*]([^*]|[*]+[^*/])*[*]+/|(--|#)[^\n]*\n)*(ALTER|RENAME|"
    "(CREATE|DROP)[[:space:]]+(OR[[:space:]]+REPLACE[[:space:]]+)?"
    "(TABLE|(UNIQUE[[:space:]]+|FULLTEXT[[:space:]]+|SPATIAL[[:space:]]+)?INDEX|VIEW|TRIGGER|PROCEDURE|FUNCTION))' LIMIT 1"
)
# Without the tools' own tables.
_OWN = "('alembic_version','django_migrations','knex_migrations','knex_migrations_lock','schema_migrations')"
_OBJECTS = f"""
SELECT CONCAT('table ', TABLE_NAME), '' FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME NOT IN {_OWN}
 UNION ALL
SELECT CONCAT('column ', TABLE_NAME, '.', COLUMN_NAME), CONCAT_WS(' ', COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA)
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME NOT IN {_OWN}
 UNION ALL
SELECT CONCAT('index ', TABLE_NAME, '.', INDEX_NAME), CONCAT_WS(' ', MAX(NON_UNIQUE), GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX))
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME NOT IN {_OWN} GROUP BY TABLE_NAME, INDEX_NAME
 UNION ALL
SELECT CONCAT('constraint ', TABLE_NAME, '.', CONSTRAINT_NAME), CONSTRAINT_TYPE FROM information_schema.TABLE_CONSTRAINTS
 WHERE TABLE_SCHEMA = DATABASE() AND CONSTRAINT_TYPE IN ('FOREIGN KEY', 'CHECK') AND TABLE_NAME NOT IN {_OWN}
 UNION ALL
SELECT CONCAT('trigger ', TRIGGER_NAME), ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
 UNION ALL
SELECT CONCAT(LOWER(ROUTINE_TYPE), ' ', ROUTINE_NAME), COALESCE(ROUTINE_DEFINITION, '') FROM information_schema.ROUTINES
 WHERE ROUTINE_SCHEMA = DATABASE()
"""  # noqa: S608 - made of constants


def lock_name(database: str) -> str:
    """Return the name of the lock for ``database``: names are those of the whole server, and short."""
    name = f"{_NAME}{database}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{_NAME}{hashlib.sha256(database.encode()).hexdigest()[:32]}"


@contextlib.contextmanager
def mysql_lock(url: str, *, wait: float) -> typing.Iterator[LockSession]:
    """Run the body as the only migration of this database.

    The lock lives as long as the server sees the session's connection. Hand ``fileno`` to the process that migrates: if
    this one is killed, the connection stays open until that one ends too, and no second migration starts beside it.

    Args:
        url: of the database.
        wait: seconds to wait for another holder.

    Raises:
        BatonError: no session, a replica, somebody else holds the lock for all of this time, or what a killed run has left still runs.
    """
    with contextlib.closing(connect(url)) as connection:
        with in_words("a session with the database to hold the migration lock; nothing was changed"):
            version, database, read_only = rows(connection, _WHERE)[0]
            _refuse_replica(str(database), read_only=is_read_only(read_only))
            rows(connection, f"SET SESSION wait_timeout = {_FOREVER}")
            name, deadline = lock_name(str(database)), time.monotonic() + wait
            _acquire(connection, name, wait, deadline)
            _await_end(connection, deadline)
        yield LockSession(
            fileno(connection),
            0,
            list,
            lambda: _holds(connection, name),
            product="MariaDB" if "mariadb" in str(version).lower() else "MySQL",
            objects=lambda: _objects(url),
        )


def is_read_only(value: object) -> bool:
    """Say what the variable read_only of a server means, which is a number, and since MariaDB 12 a word."""
    return str(value).upper() not in ("0", "OFF")


def _refuse_replica(database: str, *, read_only: bool) -> None:
    if read_only:
        raise BatonError(
            found=f"a server that is read-only, as replicas of the database {database} are",
            expected="the primary",
            fix="point the database URL at the primary, after a failover once it is promoted; nothing was changed",
        )


def _acquire(connection: Connection, name: str, wait: float, deadline: float) -> None:
    while rows(connection, "SELECT GET_LOCK(%s, 0)", name)[0][0] != 1:
        if time.monotonic() >= deadline:
            raise _held(connection, name, wait)
        time.sleep(_POLL)


def _held(connection: Connection, name: str, wait: float) -> BatonError:
    holder: dict[str, typing.Any] = {}
    # The server tells of sessions of other users only those who may see them.
    found = "another session, which this user may not see or which has just ended, held the migration lock"
    for pid, who, since in rows(connection, _HOLDER, name):
        holder = {"pid": pid, "application_name": who, "since": since}
        found = f"connection {pid} ({who}, idle since {since}) holds the migration lock"
    return BatonError(
        found=f"{found} after {wait:g} s of waiting",
        expected="to be the only migration of this database; nothing was changed",
        fix="run again when it has ended" + (f"; if its host is dead, KILL {holder['pid']}" if holder else ""),
        holder=holder,
    )


def _await_end(connection: Connection, deadline: float) -> None:
    while running := rows(connection, _LEFT_RUNNING):
        if time.monotonic() >= deadline:
            pid, statement = running[0][0], " ".join(str(running[0][1]).split())
            raise BatonError(
                found=f"connection {pid}, which changes the schema without the migration lock ({statement}): a run that was killed has left"
                " it in the server, or somebody does so by hand; nothing was changed",
                expected="nobody else who changes the schema of this database",
                fix=f"run again when it has ended, or KILL {pid}",
                holder={"pid": pid, "application_name": "", "since": None},
            )
        time.sleep(_POLL)


def _holds(connection: Connection, name: str) -> bool:
    try:
        return bool(rows(connection, "SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", name)[0][0])
    except (DatabaseError, OSError):
        return False


def _objects(url: str) -> dict[str, str] | None:
    """Ask in a session of its own: that of the lock may be lost by then."""
    try:
        with contextlib.closing(connect(url)) as another:
            return {str(name): str(definition) for name, definition in rows(another, _OBJECTS)}
    except (BatonError, DatabaseError, OSError):
        return None
