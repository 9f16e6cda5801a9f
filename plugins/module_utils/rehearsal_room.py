# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An empty database that a shadow is to be made in: how we reach it, and as whom the app's tool is to."""

from __future__ import annotations

import secrets
import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Server
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target

__all__ = ["GIVEN", "SESSION", "THROW_AWAY", "Login", "Room", "identifier", "room_of_its_own", "run_all"]

THROW_AWAY, GIVEN = "throw-away", "given"
SESSION = "baton.db_migrate rehearsal"
"""What our sessions call themselves."""


@dataclass(frozen=True)
class Login:
    """As whom a tool reaches a server, where it is, and how it is trusted (``sslmode``, and ``files`` such as sslrootcert)."""

    host: str
    port: int
    user: str
    password: str
    sslmode: str = "disable"
    files: typing.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Room:
    """An empty database on a server, for one rehearsal.

    ``kind`` is ``throw-away`` or ``given``, ``connect`` gives a session of a superuser with it, ``settings`` are the statements that set
    the settings of the target's roles there, and ``fix`` says what to do when the server lacks something.
    """

    kind: str
    major: int
    database: str
    login: Login
    connect: typing.Callable[[], Connection]
    settings: tuple[str, ...]
    fix: str


def room_of_its_own(server: Server, target: Target) -> Room:
    """Make the target's roles on a server with nothing on it yet, and an empty database that is called as the target's.

    Raises:
        BatonError: they cannot be made there.
    """
    fix = (
        "install on this host what is named, for the version of PostgreSQL that rehearses, or name programs that have it in rehearsal_bin;"
        " or do without (rehearsal: off)"
    )
    password = secrets.token_hex(16)
    owner, database = identifier(target.owner), identifier(target.database)
    with connect({}, server.url("postgres"), application_name=SESSION) as session:
        run_all(session, (role.statement() for role in target.roles), "the target's roles", fix)
        run_all(
            session,
            (f"GRANT {identifier(of)} TO {identifier(to)}" for of, to in target.members),
            "the target's roles",
            fix,
        )
        made = (
            f"CREATE DATABASE {database} OWNER {owner} TEMPLATE template0"
            if target.database != "postgres"
            else f"ALTER DATABASE postgres OWNER TO {owner}"
        )
        run_all(session, [f"ALTER ROLE {identifier(target.user)} PASSWORD '{password}'", made], "the shadow", fix)
    return Room(
        kind=THROW_AWAY,
        major=server.major,
        database=target.database,
        login=Login("127.0.0.1", server.port, target.user, password),
        connect=lambda: connect({}, server.url(target.database), application_name=SESSION),
        settings=tuple(one.statement(database) for one in target.settings),
        fix=fix,
    )


def run_all(session: Connection, statements: typing.Iterable[str], what: str, fix: str) -> None:
    """Run statements that make ``what``.

    Raises:
        BatonError: one of them fails.
    """
    try:
        for statement in statements:
            session.execute(statement.encode())
    except DatabaseError as error:
        lines = str(error).strip().splitlines()
        raise BatonError(
            found=f"{what} cannot be made on the server for the rehearsal: {lines[0]}",
            expected="a server that knows everything that the target's schema uses, such as its extensions",
            fix=fix,
            output=lines,
        ) from error


def identifier(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
