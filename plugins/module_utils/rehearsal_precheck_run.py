# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Ask the target about its rows: each question in a transaction that can write nothing, for no longer than it may take.

No value of a row leaves the database, not even in the words of an error, which often quotes what it could not read.
"""

from __future__ import annotations

import time
import typing

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, connect
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import MOST
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import SESSION
from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import OURS

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings

__all__ = ["FAILS", "PASSES", "UNCHECKED", "UNDECIDED", "ask"]

PASSES, FAILS, UNDECIDED, UNCHECKED = "passes", "fails", "undecided", "unchecked"
Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it
_ALTOGETHER = 12
"""So many times the time of one question all of them may take."""
_LOCK_WAIT = 1000  # milliseconds
_SESSION = (
    "SET default_transaction_read_only = on",
    # With a policy in the way the server refuses, instead of counting only what this user may see.
    "SET row_security = off",
    f"SET lock_timeout = {_LOCK_WAIT}",
    # The app needs the processors.
    "SET max_parallel_workers_per_gather = 0",
)
_NOT_ASKED: dict[str, str] = {
    "42501": "the user that migrates may not read it (permission denied)",
    "57014": "took longer than {timeout:g} s",
    "55P03": "another session holds the table",
}
_NOT_THERE = ("42703", "42704", "42883", "42P01", "3F000")
_BY_VALUE = ("22", "23", "P0")
"""Classes of errors that a value of a row has caused, so that it will again when the migration comes to it."""


def ask(around: Surroundings, questions: typing.Sequence[Found], *, timeout: float) -> list[Found]:
    """Return each question with its ``outcome``, how many ``rows`` are in the way (``more`` when there are more than that), and ``why``.

    Args:
        around: the environment of the tool, which leads to the target.
        questions: as a rehearsal has kept them.
        timeout: seconds that one of them may take.

    Raises:
        BatonError: no session with the target.
    """
    if not any(one["sql"] for one in questions):
        return [_unchecked(one, one["lacks"]) for one in questions]
    end = time.monotonic() + timeout * _ALTOGETHER
    with connect(around.variables, around.url, application_name=SESSION) as session:
        for statement in _SESSION:
            session.execute(statement.encode())
        session.execute(f"SET statement_timeout = {max(1, round(timeout * 1000))}".encode())
        return [_asked(session, one, timeout, end) for one in questions]


def _asked(session: Connection, one: Found, timeout: float, end: float) -> Found:
    if not one["sql"]:
        return _unchecked(one, one["lacks"])
    if time.monotonic() >= end:
        return _unchecked(one, f"the questions before it took {timeout * _ALTOGETHER:g} s")
    started = time.monotonic()
    answer = _answer(session, one, timeout)
    return {**answer, "seconds": round(time.monotonic() - started, 3)}


def _answer(session: Connection, one: Found, timeout: float) -> Found:
    try:
        question = one["sql"].replace("SELECT", f"SELECT {OURS}", 1)
        rows = int(session.execute(question.encode()).fetchall()[0][0])
    except DatabaseError as error:
        state = str(getattr(error, "sqlstate", None) or "")
        if state[:2] in _BY_VALUE:
            kind = type(error).__name__
            return _decided(one, rows=None, why=f"a value cannot be taken ({kind}, {state})")
        if state in _NOT_THERE:
            return _unchecked(one, f"it needs what the migrations make first ({state})")
        why = _NOT_ASKED.get(state, "the database refused the question ({state})")
        return _unchecked(one, why.format(timeout=timeout, state=state or type(error).__name__))
    return _decided(one, rows=rows, why="")


def _decided(one: Found, *, rows: int | None, why: str) -> Found:
    in_the_way = UNDECIDED if one["doubt"] else FAILS
    outcome = PASSES if rows == 0 and not one["touched"] else in_the_way
    many = rows is not None and rows > MOST
    return {**one, "outcome": outcome, "rows": MOST if many else rows, "more": many, "why": why, "seconds": 0.0}


def _unchecked(one: Found, why: str) -> Found:
    return {**one, "outcome": UNCHECKED, "rows": None, "more": False, "why": why, "seconds": 0.0}
