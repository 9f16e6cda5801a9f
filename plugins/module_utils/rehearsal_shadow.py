# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The shadow: a database with the target's schema and none of its rows, in which the tool finds what it has applied already."""

from __future__ import annotations

import os
import typing
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import run_all

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import Room
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target

__all__ = ["Environment", "Shadow", "leads_astray", "make_shadow"]

Environment = typing.Mapping[str, "str | None"]
"""Variables that replace those of a tool; None for no variable."""

# Parameters of a URL that say where the server is, or how to trust it.
_ELSEWHERE = (
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "service",
    "passfile",
    "target_session_attrs",
    "channel_binding",
)
_NOWHERE = "baton_rehearsal_nowhere"


@dataclass(frozen=True)
class Shadow:
    """A shadow that is ready: how its superuser reaches it, and what the tool's environment is instead."""

    connect: typing.Callable[[], Connection]
    instead: Environment


def make_shadow(room: Room, target: Target, schema: str, *, url: str, variable: str) -> Shadow:
    """Make the shadow of ``target`` in an empty database.

    Args:
        room: that database.
        target: what it is to be like.
        schema: the statements that make the schema.
        url: the target's, in the form that the tool understands.
        variable: of the environment, that holds the URL.

    Raises:
        BatonError: the schema cannot be made there.
    """
    with room.connect() as session:
        _refuse_lack(session, room, target)
        if not target.has_public:
            run_all(session, ["DROP SCHEMA public"], "the shadow", room.fix)
        run_all(session, [schema], "the target's schema", room.fix)
        session.execute(b"SET search_path = ''")
        # The tool's tables may refer to each other, in whatever order they come.
        session.execute(b"SET session_replication_role = replica")
        for table, rows in target.history.items():
            with session.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(rows)
        session.execute(b"RESET session_replication_role")
        for sequence, (last, called) in target.sequences.items():
            session.execute(b"SELECT setval(%s::regclass, %s, %s)", [sequence, last, called])
        run_all(session, room.settings, "the settings of the target's roles", room.fix)
    return Shadow(room.connect, _environment(room, database=room.database, url=url, variable=variable))


def _refuse_lack(session: Connection, room: Room, target: Target) -> None:
    there = {str(name) for (name,) in session.execute(b"SELECT name FROM pg_available_extensions").fetchall()}
    lacking = [name for name in target.extensions if name not in there]
    if lacking:
        raise BatonError(
            found=f"a server for the rehearsal (PostgreSQL {room.major}) without {', '.join(lacking)}",
            expected="the extensions that the target has, so that its schema can be made there",
            fix=room.fix,
        )


def leads_astray(room: Room, *, url: str, variable: str) -> Environment:
    """Return an environment that leads nowhere. A tool that finds a database with it does not go where it is told to."""
    return _environment(room, database=_NOWHERE, url=url, variable=variable)


def _environment(room: Room, *, database: str, url: str, variable: str) -> dict[str, str | None]:
    """Return the variables that lead a tool to the shadow: the URL, and those of libpq for what takes only a part of it."""
    login = room.login
    scheme, _separator, rest = url.partition("://")
    pairs = [
        pair
        for pair in parse_qsl(rest.partition("?")[2])
        if pair[0] not in _ELSEWHERE and not pair[0].startswith("ssl")
    ]
    if "sslmode=" in rest.partition("?")[2]:
        pairs += [("sslmode", login.sslmode), *login.files.items()]
    query = f"?{urlencode(pairs)}" if pairs else ""
    host = f"[{login.host}]" if ":" in login.host else login.host
    address = f"{quote(login.user, safe='')}:{login.password}@{host}:{login.port}/{quote(database, safe='')}"
    taken = {name: None for name in os.environ if name.startswith("PG") and name != "PGOPTIONS"}
    gone = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGTARGETSESSIONATTRS",
            "PGREQUIRESSL", "PGCHANNELBINDING", "PGREQUIREAUTH")  # fmt: skip # a list of words
    return {
        **taken,
        **dict.fromkeys(gone),
        variable: f"{scheme}://{address}{query}",
        "PGHOST": login.host,
        "PGPORT": str(login.port),
        "PGUSER": login.user,
        "PGPASSWORD": login.password,
        "PGDATABASE": database,
        "PGSSLMODE": login.sslmode,
        **{f"PG{name.upper()}": value for name, value in login.files.items()},
    }
