# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""There, back and there again in a shadow, with the app's own tool as it is, and what was seen on the way."""

from __future__ import annotations

import contextlib
import typing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_interface import reading_ahead
from ansible_collections.baton.release.plugins.module_utils.migration_lock import migration_lock
from ansible_collections.baton.release.plugins.module_utils.migration_plan import BASE, Way
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
from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import refusals
from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import HISTORY

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Schema
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog, Facts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import Precheck
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_shadow import Environment, Shadow
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import Statement

__all__ = ["Seen", "passing_checks", "refuse_astray", "there_and_back"]

Rows = typing.Dict[str, typing.Tuple[str, ...]]  # noqa: UP006 - Python 3.9 evaluates it
"""Of each of the tool's own tables its rows, as text."""
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
    refused_before: typing.Mapping[str, str] = field(default_factory=dict)
    """Why the app's statements could not be planned before, by their key."""
    refused_after: typing.Mapping[str, str] = field(default_factory=dict)


def refuse_astray(make: typing.Callable[[Environment], Tool], astray: Environment, variable: str) -> None:
    """Refuse a tool that finds a database although its environment leads astray: it would migrate that one instead of the shadow.

    Raises:
        BatonError: it is one.
    """
    try:
        make(astray).schema()
    except BatonError:
        return
    raise BatonError(
        found=f"a tool that reads a database although {variable} names none that exists",
        expected=f"a tool that reaches its database by {variable} alone, so that it can be sent to a shadow",
        fix=f"have the app's configuration of the tool read {variable}, or do without a rehearsal (rehearsal: off); nothing was changed",
    )


def there_and_back(
    tool: Tool, way: Way, shadow: Shadow, history: typing.Collection[str], asked: typing.Sequence[Statement] = ()
) -> Seen:
    """Go ``way`` in the shadow, back, and once more.

    Args:
        tool: the app's tool in an environment that leads to the shadow.
        way: up or down, as planned for the target.
        shadow: with nothing done in it yet.
        history: the tool's own tables.
        asked: what the app asks of the target.

    Raises:
        BatonError: the tool finds another state there than in the target, or fails on its way.
    """
    around = tool.surroundings
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(shadow.connect())
        session = stack.enter_context(migration_lock(around.variables, around.url, wait=_LOCK_WAIT))
        install(own, history)
        before, at_start = read_catalog(own, history), _rows(own, history)
        refused = refusals(own, asked)
        arm(own, on=True)
        ahead = stack.enter_context(contextlib.ExitStack())
        ahead.enter_context(reading_ahead(tool))
        ended = _run(tool, way, session)
        arm(own, on=False)
        if ended.returncode != 0:
            raise _failed_there(tool, way, ended, history)
        # A tool takes most of the time to start: meanwhile the catalogs are read.
        beside = stack.enter_context(ThreadPoolExecutor(1))
        reading = beside.submit(tool.schema)
        own_history = _own_tables(own, history)
        after, at_end = read_catalog(own, own_history), _rows(own, own_history)
        events = tuple(read_events(own))
        passing, parts = passing_checks(own, before, after), read_parts(own)
        there = reading.result()
        ahead.close()
        _refuse_left(tool, way, there, ended)
        if way.besides(there) or (way.before.applied() and {one: at_end.get(one) for one in at_start} == at_start):
            raise _other_start(way, there, history)
        questions = tuple(prechecks(Compared(before, after), parts, events, tables_read(own)))
        seen = Seen(
            before,
            after,
            events,
            passing,
            prechecks=questions,
            refused_before=refused,
            refused_after=refusals(own, asked),
        )
        rest = _InShadow(tool, session, own)
        arm(own, on=True, count=False)
        back_at, reason = rest.back(way, there, at_start)
        arm(own, on=False)
        seen = replace(seen, back=tuple(read_events(own)[len(events) :]))
        if back_at is None:
            return replace(seen, down=reason)
        after_down = read_catalog(own, own_history)
        reason = rest.again(replace(way, before=back_at), at_end)
        if reason:
            return replace(seen, after_down=after_down, again=reason)
        return replace(seen, after_down=after_down, after_again=read_catalog(own, own_history))


def _own_tables(own: Connection, history: typing.Collection[str]) -> set[str]:
    """Return the tool's tables with those that it has just made, as in a database without migrations."""
    rows = own.execute(
        b"SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class AS c JOIN pg_namespace AS n"
        b" ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND (c.relname = ANY (%s) OR n.nspname || '.' || c.relname = ANY (%s))",
        [list(HISTORY), list(HISTORY)],
    ).fetchall()
    return {*history, *(str(row[0]) for row in rows)}


def _failed_there(tool: Tool, way: Way, ended: Ended, history: typing.Collection[str]) -> BatonError:
    """Return what to say of a tool that failed: it may not have found in the shadow what it had applied in the target."""
    with contextlib.suppress(BatonError):
        now = tool.schema()
        found, applied = ({one.revision for one in each.applied()} for each in (now, way.before))
        if way.up and not applied <= found:
            return _other_start(way, now, history)
    return _not_gone(tool, way, ended, _how(ended))


def _other_start(way: Way, now: Schema, history: typing.Collection[str]) -> BatonError:
    return BatonError(
        found=f"a shadow in which the tool finds the schema at {', '.join(now.current) or BASE}, in the target it is at"
        f" {', '.join(way.before.current) or BASE}; the tool's own tables are held to be {', '.join(history) or 'none'}",
        expected="the tool to find the same in both before it began",
        fix="name the tables in which the tool keeps what it has applied in rehearsal_tables; nothing was changed",
    )


def _run(tool: Tool, way: Way, session: LockSession) -> Ended:
    if tool.remembers:
        tool.schema()
    return tool.up(way, session) if way.up else tool.down(way, session)


def _how(ended: Ended) -> str:
    return "did not end in time" if ended.returncode is None else f"ended with {ended.returncode}: {ended.headline}"


def _refuse_left(tool: Tool, way: Way, reached: Schema, ended: Ended) -> None:
    left = way.left(reached)
    if left:
        raise _not_gone(tool, way, ended, f"left {', '.join(one.revision for one in left)} undone")


def _not_gone(tool: Tool, way: Way, ended: Ended, how: str) -> BatonError:
    return BatonError(
        found=f"the tool was to {way} in a shadow of the target and {how}; the target was not touched",
        expected="every migration to succeed on an empty copy of the schema",
        fix=tool.advice(ended)
        or "read output and correct the migration; one that needs rows cannot be rehearsed (rehearsal: report or off)",
        output=ended.tail,
    )


def _rows(own: Connection, history: typing.Iterable[str]) -> Rows:
    """Return what the tool's own tables hold: when that is the same, it finds the same state, and need not be started to say so."""
    found: Rows = {}
    for table in sorted(history):
        if own.execute(b"SELECT to_regclass(%s) IS NULL", [table]).fetchall()[0][0]:
            continue
        rows = own.execute(f"SELECT one::text FROM {table} AS one ORDER BY 1".encode()).fetchall()  # noqa: S608 - from the catalog
        found[table] = tuple(str(row[0]) for row in rows)
    return found


def _counts(rows: Rows) -> dict[str, int]:
    return {table: len(lines) for table, lines in rows.items()}


@dataclass(frozen=True)
class _InShadow:
    """The tool in the shadow, after the first way."""

    tool: Tool
    session: LockSession
    own: Connection

    def back(self, way: Way, now: Schema, at_start: Rows) -> tuple[Schema | None, str]:
        """Go back to where ``way`` began; return where that leads, or None and why it was not possible."""
        reason, back = _way_back(way, way.before, now)
        if reason:
            return None, reason
        try:
            ended = _run(self.tool, back, self.session)
            if ended.returncode != 0:
                return None, f"the tool was to {back} and {_how(ended)}"
            reached = way.before if _rows(self.own, at_start) == at_start else self.tool.schema()
        except BatonError as error:
            return None, error.found
        left = back.left(reached)
        undone = "stayed away" if back.up else "stayed applied"
        return (None, f"{', '.join(one.revision for one in left)} {undone}") if left else (reached, "")

    def again(self, way: Way, at_end: Rows) -> str:
        """Go the way for the second time, and return why that was not possible; nothing when it was."""
        try:
            ended = _run(self.tool, way, self.session)
            if ended.returncode != 0:
                return _not_gone(self.tool, way, ended, _how(ended)).found
            if _counts(_rows(self.own, at_end)) != _counts(at_end):
                _refuse_left(self.tool, way, self.tool.schema(), ended)
        except BatonError as error:
            return error.found
        return ""


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
