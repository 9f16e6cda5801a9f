# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""There, back and there again in a shadow, with the app's own tool as it is, and what was seen on the way."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock import migration_lock
from ansible_collections.baton.release.plugins.module_utils.migration_plan import BASE, Revision, Way
from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import read_catalog
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import Compared
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_parts import read_parts
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_rules import prechecks
from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import (
    arm,
    install,
    read_events,
    tables_read,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import HISTORY

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Schema
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog, Facts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import Precheck
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_shadow import Shadow

__all__ = ["Seen", "passing_checks", "refuse_astray", "there_and_back"]

_LOCK_WAIT = 10.0  # seconds; nobody else is there


@dataclass(frozen=True)
class Seen:
    """What was seen: the schema before, after the way, after the way back and after the second way, and what happened in the first.

    The way is up, or, where what is applied is to be undone, down. A state is None when it was not reached; then ``down`` (the way back)
    or ``again`` says why.
    """

    before: Catalog
    after: Catalog
    events: tuple[Event, ...]
    passing: frozenset[str]
    """Names of the new checks that a row passes which leaves every column out."""
    after_down: Catalog | None = None
    after_again: Catalog | None = None
    down: str = ""
    again: str = ""
    prechecks: tuple[Precheck, ...] = ()
    """What the rows of the target are to be asked before the way is gone there."""
    back: tuple[Event, ...] = ()
    """What happened on the way back, as far as that went."""


def refuse_astray(
    make: typing.Callable[[typing.Mapping[str, str | None]], Tool], shadow: Shadow, variable: str
) -> None:
    """Refuse a tool that finds a database although its environment leads nowhere: it would migrate that one instead of the shadow.

    Raises:
        BatonError: it is one.
    """
    try:
        make(shadow.astray).schema()
    except BatonError:
        return
    raise BatonError(
        found=f"a tool that reads a database although {variable} names none that exists",
        expected=f"a tool that reaches its database by {variable} alone, so that it can be sent to a shadow",
        fix=f"have the app's configuration of the tool read {variable}, or do without a rehearsal (rehearsal: off); nothing was changed",
    )


def there_and_back(tool: Tool, way: Way, shadow: Shadow, history: typing.Collection[str]) -> Seen:
    """Go ``way`` in the shadow, back, and once more.

    Args:
        tool: the app's tool in an environment that leads to the shadow.
        way: up or down, as planned for the target.
        shadow: with nothing done in it yet.
        history: the tool's own tables.

    Raises:
        BatonError: the tool finds another state there than in the target, or fails on its way.
    """
    around = tool.surroundings
    with shadow.connect() as own, migration_lock(around.variables, around.url, wait=_LOCK_WAIT) as session:
        start = tool.schema()
        _refuse_other_start(way, start, history)
        install(own, history)
        before = read_catalog(own, history)
        arm(own, on=True)
        there = _go(tool, way, start, session)
        arm(own, on=False)
        own_history = _own_tables(own, history)
        after = read_catalog(own, own_history)
        events = tuple(read_events(own))
        passing = passing_checks(own, before, after)
        questions = tuple(prechecks(Compared(before, after), read_parts(own), events, tables_read(own)))
        seen = Seen(before, after, events, passing, prechecks=questions)
        arm(own, on=True, count=False)
        back_at, reason = _back(tool, way, start, there, session)
        arm(own, on=False)
        seen = replace(seen, back=tuple(read_events(own)[len(events) :]))
        if back_at is None:
            return replace(seen, down=reason)
        after_down = read_catalog(own, own_history)
        try:
            _go(tool, way, back_at, session)
        except BatonError as error:
            return replace(seen, after_down=after_down, again=error.found)
        return replace(seen, after_down=after_down, after_again=read_catalog(own, own_history))


def _own_tables(own: Connection, history: typing.Collection[str]) -> set[str]:
    """Return the tool's tables with those that it has just made, as in a database without migrations."""
    rows = own.execute(
        b"SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class AS c JOIN pg_namespace AS n"
        b" ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND (c.relname = ANY (%s) OR n.nspname || '.' || c.relname = ANY (%s))",
        [list(HISTORY), list(HISTORY)],
    ).fetchall()
    return {*history, *(str(row[0]) for row in rows)}


def _refuse_other_start(way: Way, start: Schema, history: typing.Collection[str]) -> None:
    same = set(start.current) == set(way.before.current)
    steps = start.pending(way.targets) if way.up else start.above(way.targets[0])
    if same and [one.revision for one in steps] == [one.revision for one in way.steps]:
        return
    raise BatonError(
        found=f"a shadow in which the tool finds the schema at {', '.join(start.current) or BASE}, in the target it is at"
        f" {', '.join(way.before.current) or BASE}; the tool's own tables are held to be {', '.join(history) or 'none'}",
        expected="the same in both",
        fix="name the tables in which the tool keeps what it has applied in rehearsal_tables; nothing was changed",
    )


def _go(tool: Tool, way: Way, start: Schema, session: LockSession) -> Schema:
    """Go the way from ``start``, and return where that leads."""
    here = replace(way, before=start)
    ended = tool.up(here, session) if way.up else tool.down(here, session)
    left: list[Revision] = []
    if ended.returncode == 0:
        reached = tool.schema()
        left = here.left(reached)
        if not left:
            return reached
    if left:
        how = f"left {', '.join(one.revision for one in left)} undone"
    else:
        how = (
            f"ended with {ended.returncode}: {ended.headline}"
            if ended.returncode is not None
            else "did not end in time"
        )
    raise BatonError(
        found=f"the tool was to {way} in a shadow of the target and {how}; the target was not touched",
        expected="every migration to succeed on an empty copy of the schema",
        fix=tool.advice(ended)
        or "read output and correct the migration; one that needs rows cannot be rehearsed (rehearsal: report or off)",
        output=ended.tail,
    )


def _back(tool: Tool, way: Way, start: Schema, now: Schema, session: LockSession) -> tuple[Schema | None, str]:
    """Go back to where it began; return where that leads, or None and why it was not possible."""
    reason, back = _way_back(way, start, now)
    if reason:
        return None, reason
    try:
        ended = tool.up(back, session) if back.up else tool.down(back, session)
        if ended.returncode != 0:
            how = (
                "did not end in time"
                if ended.returncode is None
                else f"ended with {ended.returncode}: {ended.headline}"
            )
            return None, f"the tool was to {back} and {how}"
        reached = tool.schema()
    except BatonError as error:
        return None, error.found
    left = back.left(reached)
    undone = "stayed away" if back.up else "stayed applied"
    return (None, f"{', '.join(one.revision for one in left)} {undone}") if left else (reached, "")


def _way_back(way: Way, start: Schema, now: Schema) -> tuple[str, Way]:
    """Return why there is no way back from ``now`` to ``start`` (nothing when there is one), and the way."""
    if not way.up:
        back = Way(before=now, up=True, targets=start.current, steps=way.steps[::-1], nothing="")
        if [one.revision for one in now.pending(start.current)] != [one.revision for one in back.steps]:
            return f"a way up to {', '.join(start.current)} would apply other migrations than these", back
        return "", back
    target = start.current[-1] if start.current else BASE
    if start.done is not None:
        target = start.done[-1] if start.done else BASE
    undone = tuple(now.above(target))
    back = Way(before=now, up=False, targets=(target,), steps=undone, nothing="")
    refusing = [one.revision for one in way.steps if one.down == "refuses"]
    if refusing:
        return f"{', '.join(refusing)} cannot be undone", back
    if len(start.current) > 1 and start.done is None:
        return f"the schema began at {', '.join(start.current)}, to which no single way leads down", back
    if {one.revision for one in undone} != {one.revision for one in way.steps}:
        return f"a way down to {target} would undo {', '.join(one.revision for one in undone) or 'nothing'}", back
    return "", back


def passing_checks(own: Connection, before: Catalog, after: Catalog) -> frozenset[str]:
    """Return the names of the new checks that a row passes which leaves every column out; each is asked of the server."""
    found = set()
    for key, check in after["constraint"].items():
        if check["type"] != "c" or key in before["constraint"] or not check["columns"]:
            continue
        columns = [after["column"].get(column) for column in check["columns"]]
        if all(columns) and _holds(own, check, [column for column in columns if column]):
            found.add(str(check["name"]))
    return frozenset(found)


def _holds(own: Connection, check: Facts, columns: list[Facts]) -> bool:
    if any(column["generated"] or column["always"] for column in columns):
        return False
    row = ", ".join(
        f'(({column["default"] or "NULL"})::{column["type"]}) AS "{column["column"].replace(chr(34), chr(34) * 2)}"'
        for column in columns
    )
    query = f"SELECT coalesce(({check['expression']}), true) FROM (SELECT {row}) AS left_out"  # noqa: S608 - from the catalog
    try:
        return bool(own.execute(query.encode()).fetchall()[0][0])
    except DatabaseError:
        return False
