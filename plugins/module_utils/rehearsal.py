# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The rehearsal of pending migrations: in a shadow of the target on another server, with the app's tool as it is.

The target is only read: its schema, the tool's own tables, how large its tables are and what the app asks of it. What was found is kept
with a digest of all that it depends on, so that the same rehearsal is not made twice. What the target's rows are to be asked follows from
it and is kept with it; the answers are not, as rows come and go, so the target is asked each time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT, EXPAND, REVIEW
from ansible_collections.baton.release.plugins.module_utils.rehearsal_findings import findings, sizes
from ansible_collections.baton.release.plugins.module_utils.rehearsal_given import given_room
from ansible_collections.baton.release.plugins.module_utils.rehearsal_kept import keep, kept, tree_digest
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_run import ask
from ansible_collections.baton.release.plugins.module_utils.rehearsal_report import report
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import room_of_its_own
from ansible_collections.baton.release.plugins.module_utils.rehearsal_run import refuse_astray, there_and_back
from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import (
    CLIENT,
    find_programs,
    throw_away_server,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_shadow import leads_astray, make_shadow
from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import dump_schema, read_target

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import Rehearsal
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import Room
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Programs, Serve, Server
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target

__all__ = ["not_made", "rehearse"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it
_FORMAT = "5"
"""Changes with what is kept, and with the rules."""


def rehearse(
    how: Rehearsal, tool: Tool, way: Way, *, only_kept: bool = False, serve: Serve = throw_away_server
) -> Found:
    """Rehearse the steps of ``way``, and return what was found; what was found before is returned again while nothing has changed.

    Args:
        how: how to rehearse.
        tool: the app's tool, as it is used for the target.
        way: up or down, with at least one step.
        only_kept: return only what was found before; ``made`` is false when there is nothing.
        serve: what runs a server where none is given.

    Raises:
        BatonError: it cannot be rehearsed, or a migration fails in the shadow.
    """
    started = time.monotonic()
    around = tool.surroundings
    _refuse_unrehearsed(kind_of(around.url), way)
    if how.server_variable and not around.rehearsal_url:
        raise _no_url(how, around)
    target = read_target(around, how.tables, how.statements_of)
    programs = find_programs(how.programs, major=target.major, **({"needed": CLIENT} if how.server_variable else {}))
    work = Path(tempfile.mkdtemp(prefix="baton-rehearsal-"))
    try:
        schema = dump_schema(around, programs, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    digest = _digest(how, way, target, schema, programs)
    asked = [one.key for one in target.asked.statements]
    # In check mode nothing new is tried, and what is new is no reason to know nothing.
    before = kept(how, digest, None if only_kept else asked)
    if before:
        found: Found = before["found"]
    elif only_kept:
        return _not_made("check mode rehearses nothing, so this gate is still to come")
    else:
        found = _made(how, tool, way, target, schema=schema, serve=functools.partial(serve, programs, around.account))
        if how.keep:
            keep(how, digest, found, asked)
    answers = ask(around, found["prechecks"], timeout=how.precheck_timeout)
    told = {**found, "tables": sizes(found, target.tables), "prechecks": answers}
    return {
        **told,
        "made": True,
        "cached": before is not None,
        "digest": digest,
        "report": [*_when(before), *report(told)],
        "seconds": round(time.monotonic() - started, 3),
    }


def _when(before: Found | None) -> list[str]:
    if before is None:
        return []
    return [
        f"rehearsed before, on {before.get('host', 'this host')}, at {before.get('at', 'an unknown time')}; the rows were asked now"
    ]


def _made(
    how: Rehearsal,
    tool: Tool,
    way: Way,
    target: Target,
    *,
    schema: str,
    serve: typing.Callable[[], contextlib.AbstractContextManager[Server]],
) -> Found:
    around = tool.surroundings
    try:
        with _room(how, around, target, serve) as room, ThreadPoolExecutor(1) as beside:
            nowhere = leads_astray(room, url=around.url, variable=how.variable)
            # A tool takes its time to start: meanwhile the shadow is made.
            astray = beside.submit(refuse_astray, how.make, nowhere, how.variable)
            shadow = make_shadow(room, target, schema, url=around.url, variable=how.variable)
            astray.result()
            history = list(target.history)
            seen = there_and_back(how.make(shadow.instead), way, shadow, history, target.asked.statements)
            return {
                **findings(seen, way.steps, target.asked, up=way.up),
                "way": "up" if way.up else "down",
                "server": room.major,
                "server_kind": room.kind,
                "target": target.major,
            }
    except DatabaseError as error:
        raise BatonError(
            found=f"a server for the rehearsal that does not let it be made: {str(error).strip().splitlines()[0]}",
            expected="a server that goes on, and a superuser on it, or a role that may make databases, roles and event triggers",
            fix="give that server's user these rights, or leave rehearsal_url_variable out for a server that is started on this host"
            if how.server_variable
            else "read the log of this host for why a program of PostgreSQL ended; or do without (rehearsal: off)",
        ) from error


@contextlib.contextmanager
def _room(
    how: Rehearsal,
    around: Surroundings,
    target: Target,
    serve: typing.Callable[[], contextlib.AbstractContextManager[Server]],
) -> typing.Iterator[Room]:
    if how.server_variable:
        with given_room(around.rehearsal_url, target, same_server=how.same_server) as room:
            yield room
        return
    with serve() as server:
        yield room_of_its_own(server, target)


def _no_url(how: Rehearsal, around: Surroundings) -> BatonError:
    absent = f"; these env files do not exist: {', '.join(around.missing_files)}" if around.missing_files else ""
    return BatonError(
        found=f"no {how.server_variable} in the environment{absent}",
        expected="the URL of a server for rehearsals there, as rehearsal_url_variable says",
        fix="deliver it with the app's secrets, or leave rehearsal_url_variable out; nothing was changed",
    )


def _digest(how: Rehearsal, way: Way, target: Target, schema: str, programs: Programs) -> str:
    """Return a digest of all that the outcome depends on: the tree, the schema, the tool's tables, and the steps."""
    digest = hashlib.sha256()
    settled = [
        _FORMAT,
        how.identity,
        how.variable,
        "up" if way.up else "down",
        [one.revision for one in way.steps],
        list(way.targets),
        schema,
        f"a server in {how.server_variable}" if how.server_variable else programs.major,
        target.user,
        list(target.roles),
        list(target.members),
        list(target.settings),
        list(how.statements_of),
        [one.revision for one in way.before.applied()],
        sorted((name, rows.decode(errors="replace")) for name, rows in target.timeless.items()),
    ]
    digest.update(json.dumps(settled).encode())
    digest.update(tree_digest(how.project_dir).encode())
    return digest.hexdigest()


def _refuse_unrehearsed(kind: str, way: Way) -> None:
    """Refuse to rehearse what has no shadow.

    Raises:
        BatonError: it is another kind of database than PostgreSQL.
    """
    if kind == POSTGRESQL:
        return
    mend = (
        "mark each migration as expand or contract, try it on a copy of the database, and apply it with rehearsal: report or off"
        " (in the inventory database_rehearsal: report)"
        if way.up
        else "undo it before by itself, after a look at what is lost (migrate.yml -e migrate_action=rollback -e migrate_revision=...);"
        " what the version that serves was made for only if that one survives it, with -e database_allow_contract=true as well"
    )
    raise BatonError(
        found=f"a database of {kind}, in which migrations are not rehearsed",
        expected="PostgreSQL for a rehearsal",
        fix=f"{mend}; nothing was changed",
    )


def not_made(error: BatonError, way: Way, kind: str) -> Found:
    """Return what is said of a rehearsal that was not possible; of a kind of database that has none, by what the files say themselves."""
    found = _not_made(error.found)
    if kind == POSTGRESQL:
        return found
    contract = [one.revision for one in way.steps if one.phase == CONTRACT]
    unmarked = [one.revision for one in way.steps if one.phase not in (CONTRACT, EXPAND)]
    level = CONTRACT if contract else REVIEW if unmarked or not way.up else EXPAND
    told = [f"{level} by what the migrations say themselves, which nobody has measured"]
    told += [f"contract: {one}, as it is marked" for one in contract]
    told += [f"review: {one}, which has no mark: see that the version before survives it" for one in unmarked]
    return {**found, "level": level, "report": [*found["report"], *told]}


def _not_made(why: str) -> Found:
    return {"made": False, "why": why, "report": [f"not rehearsed: {why}"]}
