# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One migration at a time for each database, from wherever it is started: an advisory lock in PostgreSQL itself."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import typing

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, connect, in_words, told
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lookout import Blocker
from ansible_collections.baton.release.plugins.module_utils.migration_quiet import Lock, holders

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["LockSession", "migration_lock"]

_POLL = 0.2  # seconds
_KEY = "hashtextextended('baton.db_migrate:' || current_database(), 0)"
_TRY = f"SELECT pg_try_advisory_lock({_KEY})"
_WHERE = "SELECT pg_is_in_recovery(), current_database()"
# PostgreSQL shows a 64-bit key as two halves of 32 bits, and marks it with objsubid 1.
_HOLDER = f"""
SELECT activity.pid, activity.application_name, activity.backend_start
  FROM pg_locks AS held
  JOIN pg_stat_activity AS activity USING (pid)
  JOIN pg_database AS here ON here.oid = held.database AND here.datname = current_database()
 WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
   AND (held.classid::bigint << 32 | held.objid::bigint) = {_KEY}
"""  # noqa: S608 - made of constants


# What CREATE INDEX CONCURRENTLY leaves behind when it fails: an index that is kept up to date and never used.
_INVALID = """
SELECT quote_ident(space.nspname) || '.' || quote_ident(class.relname)
  FROM pg_index AS index JOIN pg_class AS class ON class.oid = index.indexrelid JOIN pg_namespace AS space ON space.oid = class.relnamespace
 WHERE NOT index.indisvalid AND class.relkind = 'i' ORDER BY 1
"""


class LockSession(typing.NamedTuple):
    """What holds the lock: the descriptor of its socket or file, and PostgreSQL's version as 180006 for 18.6, 0 for others."""

    fileno: int
    server_version: int
    invalid_indexes: typing.Callable[[], typing.List[str]]  # noqa: UP006 - a NamedTuple of Python 3.9 may be asked for its types
    """Names the indexes of the database that are not valid, also when the session is lost; none when the database does not answer."""
    held: typing.Callable[[], bool]
    """Says whether the session is still there, and with it the lock."""
    product: str = "PostgreSQL"
    objects: typing.Callable[[], typing.Optional[typing.Dict[str, str]]] = lambda: None  # noqa: UP006, UP045 - as above
    """Says what the schema consists of, where a migration that fails may leave a part of it behind; None where it does not, or for now."""
    holders: typing.Callable[[typing.Sequence[Lock], float], typing.Sequence[Blocker]] = lambda _locks, _age: ()
    """Says who holds what conflicts with locks on tables in a transaction of at least so many seconds, where that is to be seen."""


@contextlib.contextmanager
def migration_lock(variables: typing.Mapping[str, str], url: str, *, wait: float) -> typing.Iterator[LockSession]:
    """Run the body as the only migration of this database.

    The lock lives as long as the server sees the session's connection. Hand ``fileno`` to the process that migrates: if
    this one is killed, the connection stays open until that one ends too, and no second migration starts beside it.

    Args:
        variables: environment of the tool, which says how to reach the database together with ``url``.
        url: of the database.
        wait: seconds to wait for another holder.

    Raises:
        BatonError: no session, a standby, or somebody else holds the lock for all of this time; it says who.
    """
    connection = connect(variables, url, application_name=f"baton.db_migrate {socket.gethostname()[:30]} {os.getpid()}")
    try:
        with in_words("a session with the database to hold the migration lock; nothing was changed"):
            if connection.info.server_version >= 140000:  # noqa: PLR2004 - the first server that ends idle sessions by itself
                connection.execute("SET idle_session_timeout = 0")
            _refuse_standby(connection)
            _acquire(connection, wait)
        yield LockSession(
            connection.fileno(),
            connection.info.server_version,
            lambda: _invalid_indexes(connection, variables, url),
            lambda: _alive(connection),
            holders=lambda locks, age: holders(connection, locks, age),
        )
    finally:
        connection.close()


def _invalid_indexes(connection: Connection, variables: typing.Mapping[str, str], url: str) -> list[str]:
    found = told(connection, _INVALID)
    if found or _alive(connection):
        return found
    with (
        contextlib.suppress(BatonError, DatabaseError),
        contextlib.closing(connect(variables, url, application_name="baton.db_migrate reading")) as another,
    ):
        return told(another, _INVALID)
    return []


def _alive(connection: Connection) -> bool:
    return bool(told(connection, "SELECT 1"))


def _refuse_standby(connection: Connection) -> None:
    standby, database = _row(connection, _WHERE)
    if standby:
        raise BatonError(
            found=f"a standby of the database {database}, which is read-only",
            expected="the primary",
            fix="point the database URL at the primary, after a failover once it is promoted; nothing was changed",
        )


def _acquire(connection: Connection, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not _row(connection, _TRY)[0]:
        if time.monotonic() >= deadline:
            raise _held(connection, wait)
        time.sleep(_POLL)


def _held(connection: Connection, wait: float) -> BatonError:
    holder: dict[str, typing.Any] = {}
    found = "another session, which has just ended, held the migration lock"
    row = connection.execute(_HOLDER.encode()).fetchone()
    if row is not None:
        pid, name, since = row
        # The server tells `since` only to roles that may see the other session.
        holder = {"pid": pid, "application_name": name, "since": since.isoformat(timespec="seconds") if since else None}
        found = (
            f"server process {pid} ('{name}', connected since {holder['since'] or 'unknown'}) holds the migration lock"
        )
    return BatonError(
        found=f"{found} after {wait:g} s of waiting",
        expected="to be the only migration of this database; nothing was changed",
        fix=f"run again when it has ended; if its host is dead, SELECT pg_terminate_backend({holder.get('pid')})",
        holder=holder,
    )


def _row(connection: Connection, statement: str) -> tuple[typing.Any, ...]:
    row = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    return row
