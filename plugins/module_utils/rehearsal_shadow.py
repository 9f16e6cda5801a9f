# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The shadow: an empty database with the target's schema, roles and name, in which the tool finds what it has applied already."""

from __future__ import annotations

import os
import secrets
import typing
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Server
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target

__all__ = ["Shadow", "make_shadow"]

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
    """A shadow that is ready: how its superuser reaches it, and what the tool's environment is instead (None for no variable)."""

    url: str
    instead: typing.Mapping[str, str | None]
    astray: typing.Mapping[str, str | None]
    """An environment that leads nowhere. A tool that finds a database with it does not go where it is told to."""

    def connect(self) -> Connection:
        """Return a session of the superuser, in autocommit."""
        return connect({}, self.url, application_name="baton.db_migrate rehearsal")


def make_shadow(server: Server, target: Target, schema: str, *, url: str, variable: str) -> Shadow:
    """Make the shadow of ``target`` on a server of its own.

    Args:
        server: where, with nothing on it yet.
        target: what it is to be like.
        schema: the statements that make the schema.
        url: the target's, in the form that the tool understands.
        variable: of the environment, that holds the URL.

    Raises:
        BatonError: the schema cannot be made there.
    """
    password = secrets.token_hex(16)
    with connect({}, server.url("postgres"), application_name="baton.db_migrate rehearsal") as session:
        _run(session, target.statements, "the target's roles")
        _run(
            session,
            [
                f"ALTER ROLE {_quoted(target.user)} PASSWORD '{password}'",
                f"CREATE DATABASE {_quoted(target.database)} OWNER {_quoted(target.owner)} TEMPLATE template0"
                if target.database != "postgres"
                else f"ALTER DATABASE postgres OWNER TO {_quoted(target.owner)}",
            ],
            "the shadow",
        )
    shadow = Shadow(
        url=server.url(target.database),
        instead=_environment(server.port, target.user, password, database=target.database, url=url, variable=variable),
        astray=_environment(server.port, target.user, password, database=_NOWHERE, url=url, variable=variable),
    )
    with shadow.connect() as session:
        if not target.has_public:
            _run(session, ["DROP SCHEMA public"], "the shadow")
        _run(session, [schema], "the target's schema")
        session.execute(b"SET search_path = ''")
        # The tool's tables may refer to each other, in whatever order they come.
        session.execute(b"SET session_replication_role = replica")
        for table, rows in target.history.items():
            with session.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(rows)
        session.execute(b"RESET session_replication_role")
        for sequence, (last, called) in target.sequences.items():
            session.execute(b"SELECT setval(%s::regclass, %s, %s)", [sequence, last, called])
        _run(session, target.settings, "the settings of the target's roles")
    return shadow


def _run(session: Connection, statements: typing.Iterable[str], what: str) -> None:
    try:
        for statement in statements:
            session.execute(statement.encode())
    except DatabaseError as error:
        lines = str(error).strip().splitlines()
        raise BatonError(
            found=f"{what} cannot be made on the server for the rehearsal: {lines[0]}",
            expected="a server that knows everything that the target's schema uses, such as its extensions",
            fix="install on this host what is named, for the version of PostgreSQL that rehearses, or name programs that have it"
            " in rehearsal_bin; or do without (rehearsal: off)",
            output=lines,
        ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _environment(
    port: int, user: str, password: str, *, database: str, url: str, variable: str
) -> dict[str, str | None]:
    """Return the variables that lead a tool to the shadow: the URL, and those of libpq for what takes only a part of it."""
    scheme, _separator, rest = url.partition("://")
    pairs = [
        pair
        for pair in parse_qsl(rest.partition("?")[2])
        if pair[0] not in _ELSEWHERE and not pair[0].startswith("ssl")
    ]
    if "sslmode=" in rest.partition("?")[2]:
        pairs.append(("sslmode", "disable"))
    query = f"?{urlencode(pairs)}" if pairs else ""
    address = f"{quote(user, safe='')}:{password}@127.0.0.1:{port}/{quote(database, safe='')}"
    taken = {name: None for name in os.environ if name.startswith("PG") and name != "PGOPTIONS"}
    gone = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGTARGETSESSIONATTRS",
            "PGREQUIRESSL", "PGCHANNELBINDING", "PGREQUIREAUTH")  # fmt: skip # a list of words
    return {
        **taken,
        **dict.fromkeys(gone),
        variable: f"{scheme}://{address}{query}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": user,
        "PGPASSWORD": password,
        "PGDATABASE": database,
        "PGSSLMODE": "disable",
    }
