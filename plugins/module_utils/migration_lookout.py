# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Who keeps a migration waiting: looked up in the database while the app's tool runs, because afterwards nobody waits any more."""

from __future__ import annotations

import contextlib
import threading
import typing
from dataclasses import asdict, dataclass

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["Blocker", "look_out"]

_POLL = 0.2  # seconds
_PATIENCE = 1.0  # seconds for a session that does not answer; it ends with this process
# The tool may be connected before the look-out is.
_NOW = b"SELECT clock_timestamp() - interval '1 second'"
# Sessions that began with the tool, and wait for more than a request of the app does. Who waits as well is not what they wait for.
_BLOCKERS = b"""
SELECT DISTINCT blocker.pid, coalesce(holder.usename::text, ''), coalesce(holder.application_name, ''),
       coalesce(host(holder.client_addr), ''), coalesce(holder.state, ''), holder.xact_start,
       coalesce(waits.relation::regclass::text, '')
  FROM pg_stat_activity AS waiting
  JOIN pg_locks AS waits ON waits.pid = waiting.pid AND NOT waits.granted
 CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocker (pid)
  LEFT JOIN pg_stat_activity AS holder ON holder.pid = blocker.pid
 WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock'
   AND coalesce(waiting.backend_start >= %s, true)
   AND waits.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
   AND holder.wait_event_type IS DISTINCT FROM 'Lock'
 ORDER BY 1 LIMIT 5
"""


@dataclass(frozen=True)
class Blocker:
    """A session that held what a migration waited for; what the user may not see of it is empty."""

    pid: int
    """0 for a prepared transaction, which has no session."""
    role: str
    application_name: str
    client: str
    state: str
    since: str | None
    """When its transaction began, None where that is not to be seen."""
    table: str
    """What the migration waited for; empty for the transaction itself, as CREATE INDEX CONCURRENTLY does."""

    @classmethod
    def of(cls, row: typing.Sequence[typing.Any]) -> Blocker:
        """Return a row of what the server shows: these, with the time as such."""
        pid, role, name, client, state, began, table = row
        return cls(
            pid, role, name, client, state, began.isoformat(sep=" ", timespec="seconds") if began else None, table
        )

    def as_result(self) -> dict[str, typing.Any]:
        """Return it for a module's result."""
        return asdict(self)

    def __str__(self) -> str:
        what = f"{self.table} was held by" if self.table else "it waited for"
        if not self.pid:
            return f"{what} a prepared transaction (pg_prepared_xacts)"
        known = [f"role {self.role}"] if self.role else []
        known += [f"'{self.application_name}'"] if self.application_name else []
        known += [f"from {self.client}"] if self.client else []
        known += [self.state] if self.state else []
        known += [f"its transaction began at {self.since}"] if self.since else []
        return f"{what} server process {self.pid} ({', '.join(known)})"


@contextlib.contextmanager
def look_out(variables: typing.Mapping[str, str], url: str) -> typing.Iterator[list[Blocker]]:
    """Look out in a session of its own while the body runs; the list holds who kept a migration waiting last.

    It is empty as well where there is no session to be had: this is for a message, and nothing depends on it.

    Args:
        variables: environment of the tool, which says how to reach the database together with ``url``.
        url: of the database.
    """
    seen: list[Blocker] = []
    ended = threading.Event()
    # A daemon, so that a server which does not answer keeps neither the tool's time limit nor this process from ending.
    watcher = threading.Thread(target=_watch, args=(variables, url, seen, ended), daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join(_PATIENCE)


def _watch(variables: typing.Mapping[str, str], url: str, seen: list[Blocker], ended: threading.Event) -> None:
    with contextlib.suppress(BatonError, DatabaseError):
        connection = connect(variables, url, application_name="baton.db_migrate looking out")
        with contextlib.closing(connection):
            since = connection.execute(_NOW).fetchall()[0][0]
            while not ended.wait(_POLL):
                found = _blockers(connection, since)
                if found:
                    seen[:] = found


def _blockers(connection: Connection, since: typing.Any) -> list[Blocker]:
    return [Blocker.of(row) for row in connection.execute(_BLOCKERS, [since]).fetchall()]
