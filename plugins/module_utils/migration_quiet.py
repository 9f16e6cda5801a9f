# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Waiting beside the queue: a migration begins when nobody has held for long what it is going to lock.

A statement that waits for a table has the app's requests for that table wait behind it. Whoever looks first has nobody wait. Which tables
a migration locks, and how, is known from its rehearsal. PostgreSQL only.
"""

from __future__ import annotations

import time
import typing

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lookout import Blocker

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["Lock", "await_quiet", "holders", "locks_of"]

Lock = typing.Tuple[str, str]  # noqa: UP006 - Python 3.9 evaluates it
"""A table, and the mode in which it is going to be locked, as pg_locks calls it."""
_POLL = 0.2  # seconds
_LONG = 1.0
"""Seconds. A transaction that is shorter ends by itself while a statement waits, and on a table that is in use there is always one."""
_WRITES = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
# With which modes each one conflicts; one that is not here lets the app read and write behind it while it waits.
_CONFLICTS: dict[str, tuple[str, ...]] = {
    "ShareLock": _WRITES,
    "ShareRowExclusiveLock": (*_WRITES, "ShareLock"),
    "ExclusiveLock": (*_WRITES, "ShareLock", "RowShareLock"),
    "AccessExclusiveLock": (*_WRITES, "ShareLock", "RowShareLock", "AccessShareLock"),
}
# An autovacuum gives way to whoever waits for it.
_HOLDERS = b"""
SELECT DISTINCT holder.pid, coalesce(holder.usename::text, ''), coalesce(holder.application_name, ''),
       coalesce(host(holder.client_addr), ''), coalesce(holder.state, ''), holder.xact_start, held.relation::regclass::text
  FROM unnest(%s::text[], %s::text[]) AS wanted (name, conflict)
  JOIN pg_locks AS held ON held.relation = to_regclass(wanted.name) AND held.mode = wanted.conflict
  JOIN pg_database AS here ON here.oid = held.database AND here.datname = current_database()
  JOIN pg_stat_activity AS holder ON holder.pid = held.pid
 WHERE held.granted AND held.pid <> pg_backend_pid() AND holder.xact_start <= clock_timestamp() - make_interval(secs => %s)
   AND holder.backend_type IS DISTINCT FROM 'autovacuum worker'
 ORDER BY 1 LIMIT 5
"""


def locks_of(found: typing.Mapping[str, typing.Any]) -> list[Lock]:
    """Return what a rehearsal has seen being locked in a way that has the app wait; nothing where none was made."""
    taken = {(table, mode) for one in found.get("statements", ()) for table, mode in one["takes"].items()}
    return sorted(one for one in taken if one[1] in _CONFLICTS)


def holders(connection: Connection, locks: typing.Sequence[Lock], age: float) -> list[Blocker]:
    """Return who holds what conflicts with ``locks`` in a transaction of at least ``age`` seconds; nobody where the session is lost."""
    wanted = [(table, conflict) for table, mode in locks for conflict in _CONFLICTS[mode]]
    if not wanted:
        return []
    try:
        rows = connection.execute(_HOLDERS, [*(list(column) for column in zip(*wanted)), age]).fetchall()
    except DatabaseError:
        return []
    return [Blocker.of(row) for row in rows]


def await_quiet(look: typing.Callable[[float], typing.Sequence[Blocker]], patience: float) -> None:
    """Wait until there is nobody in the way whose transaction is long.

    Args:
        look: says who is in the way in a transaction of at least so many seconds.
        patience: seconds to wait.

    Raises:
        BatonError: somebody is still in the way after them; it says who.
    """
    if not look(0):
        return
    # Nobody knows how long those will be that have just begun.
    time.sleep(_LONG)
    deadline = time.monotonic() + patience
    while seen := look(_LONG):
        if time.monotonic() >= deadline:
            ending = next((f", or end it (SELECT pg_terminate_backend({one.pid}))" for one in seen if one.pid), "")
            raise BatonError(
                found=f"{'; '.join(map(str, seen))}, for all of the {patience:g} s that were waited",
                expected="nobody to hold for long what this migration locks, so that no request of the app has to wait behind it",
                fix=f"run again when its transaction is over{ending}, or at a quieter time; nothing was changed",
                blockers=[one.as_result() for one in seen],
            )
        time.sleep(_POLL)
