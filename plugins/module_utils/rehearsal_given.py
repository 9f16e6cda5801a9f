# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A room for a shadow on a server that somebody gave for it: a database and a login with a random name, gone afterwards.

Nothing that is there already is changed. Roles of the target that the server has not are made without a login, marked, and dropped when
no rehearsal needs them any longer. What a rehearsal that was killed has left is dropped by the next one: as long as a rehearsal lives, its
session holds a lock that bears the name of its database.
"""

from __future__ import annotations

import contextlib
import secrets
import typing

from ansible_collections.baton.release.plugins.module_utils._psycopg import DatabaseError, address_of, connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import (
    GIVEN,
    SESSION,
    Login,
    Room,
    identifier,
    run_all,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target

__all__ = ["NAME", "given_room"]

NAME = "baton_rehearsal_"
"""What the names of our databases and logins begin with; 16 hexadecimal digits follow."""
_PATTERN = f"^{NAME}[0-9a-f]{{16}}$"
_MARK = "made by baton.release for rehearsals"
_OLDEST = 130000
"""The first server that ends the sessions of a database that is dropped."""
_IDLE_TIMEOUT_SINCE = 140000
_FILES = ("sslrootcert", "sslcert", "sslkey")
_FIX = (
    "install on that server what is named, make its user a superuser, or leave rehearsal_url_variable out for a server that is started"
    " on this host; or do without (rehearsal: off)"
)
_ABOUT = """
SELECT extract(epoch FROM pg_postmaster_start_time())::text, pg_is_in_recovery(), current_user::text, rolsuper OR rolcreatedb,
       rolsuper OR rolcreaterole
  FROM pg_roles WHERE rolname = current_user"""
# A lock is seen from all databases, whichever of them the session that holds it is connected to.
_KEY = "hashtextextended('baton.rehearsal:' || {}, 0)"
_DEAD = f"""
SELECT each.name FROM (SELECT datname::text FROM pg_database WHERE datname ~ %s UNION SELECT rolname::text FROM pg_roles WHERE rolname ~ %s)
       AS each(name)
 WHERE NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.objsubid = 1
   AND (l.classid::bigint << 32 | l.objid::bigint) = {_KEY.format("each.name")}) ORDER BY 1"""  # noqa: S608 - made of constants
_MARKED = """
SELECT rolname::text FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s ORDER BY 1"""
_ALL = _KEY.format("'all'")


@contextlib.contextmanager
def given_room(url: str, target: Target, *, same_server: bool) -> typing.Iterator[Room]:
    """Have an empty database on the server of ``url`` as long as the body runs.

    Args:
        url: of any database of the server, as a user who may make databases, roles and event triggers.
        target: what the shadow is to be like.
        same_server: whether it may be the target's own server.

    Raises:
        BatonError: the server does not answer, is none that a shadow can be made on, or refuses.
    """
    address = address_of(url)
    if not address.host or address.host.startswith(("/", "@")) or "," in address.host:
        raise BatonError(
            found="a URL of a server for rehearsals without one host that tools reach over the network",
            expected="postgresql://user@host:port/database, the password in it or in a password file (PGPASSFILE)",
            fix="name the host, also where it is this one (127.0.0.1); nothing was changed",
        )
    with _session(url) as session:
        _refuse_unfit(session, target, same_server=same_server)
        session.execute(b"SET search_path = ''")
        if session.info.server_version >= _IDLE_TIMEOUT_SINCE:
            session.execute(b"SET idle_session_timeout = 0")
        _sweep(session)
        name, password = f"{NAME}{secrets.token_hex(8)}", secrets.token_hex(16)
        session.execute(f"SELECT pg_advisory_lock_shared({_ALL})".encode())
        session.execute(f"SELECT pg_advisory_lock({_KEY.format('%s')})".encode(), [name])
        try:
            _make(session, target, name, password)
            yield Room(
                kind=GIVEN,
                major=session.info.server_version // 10000,
                database=name,
                login=Login(
                    address.host,
                    address.port,
                    name,
                    password,
                    address.sslmode or ("require" if session.pgconn.ssl_in_use else "disable"),
                    {key: value for key, value in address.files.items() if key in _FILES},
                ),
                connect=lambda: connect({}, url, application_name=SESSION, database=name),
                settings=tuple(_settings(target, name)),
                fix=_FIX,
            )
        finally:
            # What cannot be dropped now, the next rehearsal drops.
            with contextlib.suppress(DatabaseError):
                _drop(session, name)
                session.execute(f"SELECT pg_advisory_unlock_shared({_ALL})".encode())
                _drop_roles(session)


@contextlib.contextmanager
def _session(url: str) -> typing.Iterator[Connection]:
    try:
        session = connect({}, url, application_name=SESSION)
    except BatonError as error:
        raise BatonError(
            found=f"a server for rehearsals that cannot be used: {error.found}",
            expected="a PostgreSQL server on which shadows can be made; nothing was changed",
            fix=error.fix,
            **error.details,
        ) from error
    try:
        yield session
    finally:
        session.close()


def _refuse_unfit(session: Connection, target: Target, *, same_server: bool) -> None:
    started, standby, user, databases, roles = session.execute(_ABOUT.encode()).fetchall()[0]
    version = session.info.server_version
    if started == target.started and not same_server:
        raise BatonError(
            found="the target's own server, given for rehearsals",
            expected="another one: a rehearsal there costs the app's database time and disk, its standbys replay it, and what a migration"
            " does to the server as a whole, such as to a role, is done for real",
            fix="give another server, or leave rehearsal_url_variable out; or accept it with rehearsal_same_server",
        )
    if version < _OLDEST or version // 10000 < target.major:
        raise BatonError(
            found=f"a server for rehearsals of version {version // 10000}, the target's is {target.major}",
            expected=f"version {max(target.major, _OLDEST // 10000)} or later",
            fix="give a server of the target's version; nothing was changed",
        )
    if standby:
        raise BatonError(
            found="a server for rehearsals that is a standby",
            expected="one that can be written to",
            fix="give a primary; nothing was changed",
        )
    lacks = [right for right, has in (("CREATEDB", databases), ("CREATEROLE", roles)) if not has]
    if lacks:
        raise BatonError(
            found=f"the role {user} without {' and '.join(lacks)} on the server for rehearsals",
            expected="a superuser, or a role that may make databases, roles and event triggers",
            fix=f"ALTER ROLE {identifier(str(user))} SUPERUSER there, or give the URL of a role that is one; nothing was changed",
        )


def _make(session: Connection, target: Target, name: str, password: str) -> None:
    there = {str(row[0]) for row in session.execute(b"SELECT rolname FROM pg_roles").fetchall()}
    new = [role for role in target.roles if role.name not in there]
    for role in new:
        # In one transaction, so that no role is left without its mark.
        mark = f"COMMENT ON ROLE {identifier(role.name)} IS '{_MARK}'"
        with contextlib.suppress(_Raced):
            _role(session, f"{role.statement(login=False)}; {mark}")
    made = {role.name for role in new}
    grants = [f"GRANT {identifier(of)} TO {identifier(to)}" for of, to in target.members if to in made]
    user, owner = identifier(target.user), identifier(target.owner)
    login = [
        f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",
        f"GRANT {user} TO {name}",
        # What the tool makes is made by the same role as in the target.
        f"ALTER ROLE {name} SET role TO {user}",
    ]
    database = f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    run_all(session, [*grants, *login], "the target's roles", _FIX)
    run_all(session, [database, f"GRANT ALL ON DATABASE {name} TO {name}"], "the shadow", _FIX)


class _Raced(Exception):  # noqa: N818 - it is no failure
    """Another rehearsal has made this role meanwhile."""


def _role(session: Connection, statements: str) -> None:
    try:
        session.execute(statements.encode())
    except DatabaseError as error:
        if getattr(error, "sqlstate", None) in {"42710", "23505"}:
            raise _Raced from error
        run_all(session, [statements], "the target's roles", _FIX)


def _settings(target: Target, name: str) -> typing.Iterator[str]:
    """Yield what sets the target's settings in the shadow alone; the login has those of the user that it stands for."""
    for one in target.settings:
        if one.name == "role":
            continue
        yield one.statement(name, only_here=True)
        if one.role == target.user:
            yield one.statement(name, role=name, only_here=True)


def _sweep(session: Connection) -> None:
    """Drop what rehearsals have left that live no longer."""
    for (name,) in session.execute(_DEAD.encode(), [_PATTERN, _PATTERN]).fetchall():
        with contextlib.suppress(DatabaseError):
            _drop(session, str(name))
    with contextlib.suppress(DatabaseError):
        _drop_roles(session)


def _drop(session: Connection, name: str) -> None:
    session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    session.execute(f"DROP ROLE IF EXISTS {name}".encode())


def _drop_roles(session: Connection) -> None:
    """Drop the roles that were made for rehearsals, unless there is one."""
    if not session.execute(f"SELECT pg_try_advisory_lock({_ALL})".encode()).fetchall()[0][0]:
        return
    try:
        for (role,) in session.execute(_MARKED.encode(), [_MARK]).fetchall():
            with contextlib.suppress(DatabaseError):
                session.execute(f"DROP ROLE IF EXISTS {identifier(str(role))}".encode())
    finally:
        session.execute(f"SELECT pg_advisory_unlock({_ALL})".encode())
