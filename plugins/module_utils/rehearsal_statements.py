# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the running app asks of its database, as pg_stat_statements has it, and which of that works no longer after a change.

The target is only read. A statement is planned in the shadow and never run, by the role that runs it in the target, so that rights count:
before the change, and after it. One that cannot be planned before, such as one whose parameters could be of any type, tells nothing.
"""

from __future__ import annotations

import hashlib
import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import identifier

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["OURS", "Asked", "Statement", "read_asked", "refusals"]

OURS = "/* baton.release */"
"""Marks statements of ours, which a rehearsal does not take for the app's."""
_MOST = 2000
_GENERIC_PLAN_SINCE = 160000
_UNREADABLE = "<insufficient privilege>"
_VERBS = frozenset({"select", "insert", "update", "delete", "merge", "with", "values", "table"})
_WORD = re.compile(r"[\w$]+")
_COMMENTS = re.compile(r"\A(\s|\(|/\*.*?\*/|--[^\n]*\n)*", re.DOTALL)
_WHERE = """
SELECT n.nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"""
# Older versions do not tell what functions run inside from what comes from outside.
_STATEMENTS = """
SELECT pg_get_userbyid(s.userid)::text, s.query, sum(s.calls)::bigint, count(*) FROM {}.pg_stat_statements AS s
 WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND coalesce((to_jsonb(s) ->> 'toplevel')::boolean, true) GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1"""
_NAMES = """
SELECT lower(c.relname::text) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
   AND NOT quote_ident(n.nspname) || '.' || quote_ident(c.relname) = ANY (%s)
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION
SELECT lower(p.proname::text) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')"""
_PATH = """
SELECT substr(one, strpos(one, '=') + 1) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS one
 WHERE split_part(one, '=', 1) = 'search_path' AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %s))
 ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1"""


@dataclass(frozen=True)
class Statement:
    """A statement of the app, its constants replaced by parameters, with the ``role`` that runs it and how often it did."""

    role: str
    text: str
    calls: int

    @property
    def key(self) -> str:
        """What tells it from others."""
        return hashlib.sha256(f"{self.role}\0{self.text}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Asked:
    """The statements of the app.

    ``hidden`` is how many the user that migrates may not read, ``left_out`` how many were too many; ``why`` says why there are none.
    """

    statements: tuple[Statement, ...] = ()
    hidden: int = 0
    left_out: int = 0
    why: str = ""


def read_asked(session: Connection, history: typing.Collection[str], roles: typing.Collection[str]) -> Asked:
    """Return what was asked of the target's tables, views and functions, what was asked most often first.

    Args:
        session: with the target.
        history: the tool's own tables, which are nobody else's business.
        roles: whose statements count; all of them when there are none.
    """
    found = session.execute(_WHERE.encode()).fetchall()
    if not found:
        return Asked(why="the database has no extension pg_stat_statements")
    try:
        rows = session.execute(_STATEMENTS.format(identifier(str(found[0][0]))).encode()).fetchall()
    except DatabaseError as error:
        return Asked(why=f"pg_stat_statements cannot be read: {str(error).strip().splitlines()[0]}")
    names = {str(name) for (name,) in session.execute(_NAMES.encode(), [list(history)]).fetchall()}
    rows = [row for row in rows if not roles or row[0] in roles]
    every = [Statement(str(role), str(text), int(calls)) for role, text, calls, _number in rows]
    statements = [one for one in every if _about(one.text, names)]
    return Asked(
        tuple(statements[:_MOST]),
        hidden=sum(int(number) for _role, text, _calls, number in rows if text == _UNREADABLE),
        left_out=max(0, len(statements) - _MOST),
    )


def _about(text: str, names: set[str]) -> bool:
    """Say whether a statement reads or writes what is called by one of the names, and is not one of ours."""
    small = text.lower()
    words = set(_WORD.findall(small))
    verb = _WORD.match(small, _start(small))
    if verb is None or verb[0] not in _VERBS or OURS in text:
        return False
    return bool(words & names) or any(name in small for name in names if not _WORD.fullmatch(name))


def _start(text: str) -> int:
    found = _COMMENTS.match(text)
    return found.end() if found else 0


def refusals(own: Connection, statements: typing.Sequence[Statement]) -> dict[str, str]:
    """Return why the server cannot plan some of the statements now, by their key.

    Args:
        own: a session of a superuser with the shadow.
        statements: to be planned.
    """
    found = {}
    by_role: dict[str, list[Statement]] = {}
    for one in statements:
        by_role.setdefault(one.role, []).append(one)
    for role, ones in by_role.items():
        found.update(_refusals_of(own, role, ones))
    if statements:
        _each(own, b"SET search_path = ''", b"RESET statement_timeout", b"RESET plan_cache_mode")
    return found


def _refusals_of(own: Connection, role: str, ones: typing.Sequence[Statement]) -> dict[str, str]:
    try:
        _become(own, role)
        return {one.key: why for one in ones for why in [_refusal(own, one.text)] if why}
    except DatabaseError as error:
        return dict.fromkeys([one.key for one in ones], _told(error))
    finally:
        own.execute(b"RESET ROLE")


def _become(own: Connection, role: str) -> None:
    path = own.execute(_PATH.encode(), [role]).fetchall()
    _each(own, b"RESET search_path", b"SET plan_cache_mode = force_generic_plan", b"SET statement_timeout = '5s'")
    if path:
        own.execute(b"SELECT set_config('search_path', %s, false)", [path[0][0]])
    own.execute(f"SET ROLE {identifier(role)}".encode())


def _each(own: Connection, *statements: bytes) -> None:
    # One by one: what comes often psycopg prepares, which the server refuses for several statements in one text.
    for statement in statements:
        own.execute(statement)


def _refusal(own: Connection, text: str) -> str:
    try:
        if own.info.server_version >= _GENERIC_PLAN_SINCE:
            own.execute(b"EXPLAIN (GENERIC_PLAN) " + text.encode())
        else:
            _plan_prepared(own, text)
    except DatabaseError as error:
        return _told(error)
    return ""


def _plan_prepared(own: Connection, text: str) -> None:
    own.execute(b"PREPARE baton_statement AS " + text.encode())
    try:
        number = own.execute(
            b"SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'baton_statement'"
        ).fetchall()[0][0]
        given = f"({', '.join(['NULL'] * number)})" if number else ""
        own.execute(f"EXPLAIN EXECUTE baton_statement{given}".encode())
    finally:
        own.execute(b"DEALLOCATE baton_statement")


def _told(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or type(error).__name__
    return f"{str(error).strip().splitlines()[0]} ({state})"
