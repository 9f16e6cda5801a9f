# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one place that imports the optional library PyMySQL: its floor, what to install, and what the refusals of MySQL and MariaDB mean."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import typing
from urllib.parse import parse_qs, unquote, urlsplit

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

try:
    import pymysql
except ImportError as import_error:
    _MISSING = str(import_error)
    DatabaseError: type[Exception] = OSError  # nothing raises it then
else:
    _MISSING = ""
    DatabaseError = pymysql.err.MySQLError

Connection = typing.Any
"""A session of PyMySQL, which ships no types."""

__all__ = [
    "Connection",
    "DatabaseError",
    "Options",
    "connect",
    "database_refusal",
    "fileno",
    "in_words",
    "options_of",
    "rows",
]

_FLOOR = (0, 9)
_CONNECT_TIMEOUT = 10  # seconds
_READ_TIMEOUT = 60  # seconds; nothing that is asked here takes long, and a dead server says nothing
_PORT = 3306

# Error numbers of the server and of its clients, and what other drivers write.
_REFUSALS: tuple[tuple[frozenset[int], str, str, str], ...] = (
    (
        frozenset({1044, 1045, 1698}),
        "Access denied for user",
        "the database does not accept the user or the password",
        "compare the secret that was delivered to this host with the database's user and its rights",
    ),
    (
        frozenset({1049}),
        "Unknown database",
        "the server has no such database",
        "create the database, or correct the URL",
    ),
    (
        frozenset({1130}),
        "is not allowed to connect",
        "the server does not let this host in",
        "create the database's user for this host",
    ),
    (
        frozenset({1040, 1203, 1226}),
        "Too many connections|max_user_connections",
        "the server has no connection left",
        "free connections of the database, then run again",
    ),
    (
        frozenset({2002, 2003, 2005}),
        "Can't connect to|ECONNREFUSED|connection refused|ENOTFOUND",
        "the database does not answer",
        "start the database or correct the URL, then run again",
    ),
    (
        frozenset({0, 2006, 2013, 2014, 2055, 1053, 1927}),
        "Lost connection to|server has gone away|PROTOCOL_CONNECTION_LOST|invalid connection",
        "the database has ended the session",
        "see that the database runs, then run again",
    ),
)


def database_refusal(text: str) -> tuple[str, str] | None:
    """Return what the error ``text`` says in words and what to do about it, or None when it is about something else."""
    for _numbers, pattern, found, fix in _REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            return found, fix
    return None


class Options(typing.NamedTuple):
    """Where a URL leads to; ``tls`` is None for a session without it, and else whether the server has to prove who it is."""

    user: str
    password: str
    host: str
    port: int
    database: str
    socket: str
    tls: typing.Optional[bool]  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    files: typing.Mapping[str, str]
    """Those of TLS, by SQLAlchemy's names: ssl_ca, ssl_cert and ssl_key."""


def options_of(url: str) -> Options:
    """Return where a URL of MySQL or MariaDB leads to, as SQLAlchemy, Go's driver or MySQL's own programs would write it.

    Raises:
        BatonError: it cannot be read, or names no database.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        host = unquote(parts.hostname or "")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError:
        raise _unreadable() from None  # its message shows a part of the URL
    database = unquote(parts.path[1:])
    if not database or "/" in database or "\0" in url:
        raise _unreadable()
    files = {name: query[name] for name in ("ssl_ca", "ssl_cert", "ssl_key") if query.get(name)}
    mode = (query.get("ssl-mode") or query.get("ssl_mode") or query.get("tls") or query.get("ssl") or "").lower()
    tls: bool | None = None
    if files or mode in ("true", "1", "required", "skip-verify", "preferred", "verify_ca", "verify_identity"):
        tls = "ssl_ca" in files or mode in ("true", "verify_ca", "verify_identity")
    path = query.get("unix_socket") or query.get("socket") or ""
    return Options(user, password, host or "127.0.0.1", port, database, path, tls, files)


def _unreadable() -> BatonError:
    return BatonError(
        found="a database URL that cannot be read",
        expected="mysql://user:password@host:port/database, special characters percent-encoded",
        fix="correct the URL where it is kept; nothing was changed",
    )


def connect(url: str) -> Connection:
    """Return a session of our own, in autocommit, with the database that ``url`` leads to.

    Raises:
        BatonError: PyMySQL is missing or too old, the URL cannot be read, or the database refuses.
    """
    _require()
    where = options_of(url)
    given: dict[str, typing.Any] = {"host": where.host, "port": where.port}
    if where.socket:
        given["unix_socket"] = where.socket
    with in_words("a session with the database to hold the migration lock; nothing was changed"):
        connection = pymysql.connect(
            **given,
            user=where.user,
            password=where.password,
            database=where.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            write_timeout=_READ_TIMEOUT,
            ssl=_context(where),
        )
    _keep_alive(connection)
    return connection


def fileno(connection: Connection) -> int:
    """Return the descriptor of the session's socket; -1 when it has none any more."""
    held = getattr(connection, "_sock", None)
    return -1 if held is None else int(held.fileno())


def _keep_alive(connection: Connection) -> None:
    """A long migration is silence on this connection: keep firewalls from dropping it."""
    with contextlib.suppress(OSError):
        connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)


def _context(where: Options) -> ssl.SSLContext | None:
    if where.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=where.files.get("ssl_ca"))
        if not where.tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if "ssl_cert" in where.files:
            context.load_cert_chain(where.files["ssl_cert"], where.files.get("ssl_key"))
    except (OSError, ValueError) as error:
        raise BatonError(
            found=f"a file of TLS in the database URL that cannot be used: {error}",
            expected="ssl_ca, ssl_cert and ssl_key as files in PEM format that this user may read",
            fix="correct the URL, or the rights of the files; nothing was changed",
        ) from error
    return context


@contextlib.contextmanager
def in_words(expected: str) -> typing.Iterator[None]:
    """Run the body, which asks the database something, and say what became of it when the database does not answer.

    Args:
        expected: what the body is for.

    Raises:
        BatonError: the database refuses, or has ended the session.
    """
    try:
        yield
    # A way to log in may need one more package (RuntimeError), and the name of a host may be none (ValueError).
    except (DatabaseError, OSError, RuntimeError, ValueError) as error:
        number = next((one for one in error.args if isinstance(one, int)), -1)
        said = str(error.args[-1] if error.args else error).strip().partition("\n")[0]
        found, fix = next(
            ((found, fix) for numbers, _pattern, found, fix in _REFUSALS if number in numbers),
            (f"the database refuses: {said}", "correct the rights of its user, or what it was asked about"),
        )
        raise BatonError(found=found, expected=expected, fix=fix, details=said) from error


def rows(connection: Connection, statement: str, *values: object) -> list[tuple[typing.Any, ...]]:
    """Return what a statement selects; ``values`` take the places of %s in it."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def _require() -> None:
    # What it calls __version__ is the version of another library, whose place it can take.
    if not _MISSING and tuple(pymysql.VERSION[:2]) >= _FLOOR:
        return
    raise BatonError(
        found=f"PyMySQL {'.'.join(map(str, pymysql.VERSION[:2]))}"
        if not _MISSING
        else f"no PyMySQL for {sys.executable} ({_MISSING})",
        expected="PyMySQL 0.9 or later, to hold the migration lock in MySQL or MariaDB",
        fix=f"install the package python3-pymysql, or run '{sys.executable} -m pip install PyMySQL'",
    )
