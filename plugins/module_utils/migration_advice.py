# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What to do about migrations that failed, as far as the database's own words tell it, and what of them is left where that can be seen."""

from __future__ import annotations

import re
import typing

from ansible_collections.baton.release.plugins.module_utils.database_refusals import database_refusal
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, SQLITE

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lookout import Blocker
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended

__all__ = ["Objects", "advice", "difference", "waited_in_vain"]

Objects = typing.Optional[typing.Mapping[str, str]]
# What the database says in English, and what its code is called in any language.
_WAITED = {
    POSTGRESQL: re.compile("lock timeout|LockNotAvailable|55P03"),
    MYSQL: re.compile(
        r"Lock wait timeout exceeded|Deadlock found when trying|ER_LOCK_WAIT_TIMEOUT|ER_LOCK_DEADLOCK|\((1205|1213),|Error (1205|1213)\b"
    ),
    SQLITE: re.compile("database is locked|database table is locked|SQLITE_BUSY"),
}
_TOO_LONG = re.compile(r"statement timeout|max_statement_time exceeded|maximum statement execution time exceeded")
_THERE = re.compile(
    r"already exists|Duplicate (column|key) name|duplicate column name|Duplicate foreign key|check that (column/key|it) exists"
)
_SHOWN = 10


def waited_in_vain(kind: str, ended: Ended) -> bool:
    """Say whether the tool failed because somebody else held what it needed, for longer than it may wait."""
    return ended.returncode not in (0, None) and bool(_WAITED[kind].search(ended.output))


def difference(before: Objects, after: Objects) -> list[str]:
    """Return what of a schema came, went or changed in between; nothing where either of them is not known."""
    if before is None or after is None:
        return []
    tables = {name.partition(" ")[2] for name in {*before} ^ {*after} if name.startswith("table ")}

    def of_such_a_table(name: str) -> bool:
        what, _blank, rest = name.partition(" ")
        return what in ("column", "index", "constraint") and rest.partition(".")[0] in tables

    new = [f"new: {name}" for name in sorted({*after} - {*before}) if not of_such_a_table(name)]
    gone = [f"gone: {name}" for name in sorted({*before} - {*after}) if not of_such_a_table(name)]
    other = [f"changed: {name}" for name in sorted({*before} & {*after}) if before[name] != after[name]]
    return [*new, *gone, *other]


def advice(
    kind: str,
    ended: Ended,
    blockers: typing.Sequence[Blocker],
    *,
    failed_before: bool,
    invalid: list[str],
    stands: list[str],
) -> str:
    """Return what to do.

    Args:
        kind: of the database.
        ended: how the tool ended.
        blockers: who kept it waiting.
        failed_before: whether the attempt before failed too.
        invalid: indexes that are of no use.
        stands: what the schema got or lost meanwhile, where the database takes nothing back.
    """
    if stands:
        return (
            f"{_first(kind, ended, blockers, failed_before, invalid)}; {kind} takes no change of the schema back when a migration fails:"
            f" see in 'stands' what is there of it ({_some(stands)}), and take back by hand, or let the migration skip, what belongs to"
            " the one that failed, before it runs again"
        )
    return _first(kind, ended, blockers, failed_before, invalid)


def _some(stands: list[str]) -> str:
    more = f" and {len(stands) - _SHOWN} more" if len(stands) > _SHOWN else ""
    return f"{', '.join(stands[:_SHOWN])}{more}"


def _first(kind: str, ended: Ended, blockers: typing.Sequence[Blocker], failed_before: bool, invalid: list[str]) -> str:
    if ended.returncode is None:
        left = "what was not committed is rolled back"
        if kind == MYSQL:
            left = "the server may go on with the statement that it was at (SHOW FULL PROCESSLIST)"
        return f"raise timeout or make the migration smaller, and run again; {left}"
    if waited_in_vain(kind, ended):
        return _waited(kind, blockers, invalid)
    if _TOO_LONG.search(ended.output):
        return "make the migration smaller, or raise statement_timeout"
    if invalid:
        return f"{_remove_index(invalid)}, correct what the output says, such as doubled values, and run again"
    if _THERE.search(ended.output):
        which = "that attempt" if failed_before else "an earlier attempt, or a person,"
        outside = ", which ran outside a transaction" if kind == POSTGRESQL else ""
        return (
            f"{which} has left a part of this migration behind{outside}: remove that part by hand,"
            " or let the migration skip what is there, and run again"
        )
    may = (
        "statements outside a transaction, such as CREATE INDEX CONCURRENTLY, may have left something behind"
        if kind == POSTGRESQL
        else "rows that it had changed before it failed may be changed for good"
    )
    refusal = database_refusal(kind, ended.headline)
    return f"{refusal[1] if refusal else 'read output, correct the migration and run again'}; {may}"


def _waited(kind: str, blockers: typing.Sequence[Blocker], invalid: list[str]) -> str:
    pids = [one.pid for one in blockers if one.pid]
    ending = "".join(f", or end it (SELECT pg_terminate_backend({pid}))" for pid in pids[:1])
    if kind == MYSQL:
        ending = " (SHOW FULL PROCESSLIST and information_schema.INNODB_TRX show whose that may be)"
    first = f"{_remove_index(invalid)}; " if invalid else ""
    return (
        f"{first}another session uses the table: run again when its transaction is over{ending}, at a quieter time,"
        " or raise ddl_lock_timeout"
    )


def _remove_index(invalid: list[str]) -> str:
    return (
        "CREATE INDEX CONCURRENTLY leaves an invalid index behind when it fails: run DROP INDEX CONCURRENTLY"
        f" {', '.join(invalid)}"
    )
