# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one place that imports the optional library PyMySQL: its floor, what to install, and a session of our own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import typing

from ansible_collections.baton.release.plugins.module_utils._mysql_url import options_of
from ansible_collections.baton.release.plugins.module_utils.database_refusals import database_refusal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._mysql_url import Tls

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

__all__ = ["Connection", "DatabaseError", "connect", "fileno", "in_words", "rows"]

_FLOOR = (0, 9)
_SESSION = "a session with the database to hold the migration lock; nothing was changed"
_READ_TIMEOUT = 60  # seconds; nothing that is asked here takes long, and a dead server says nothing


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
    if where.tls.needed is False and tuple(pymysql.VERSION[:1]) >= (1,):  # earlier ones do so without being told
        given["ssl_disabled"] = True
    with in_words(_SESSION):
        connection = pymysql.connect(
            **given,
            user=where.user,
            password=where.password.encode(),  # as text PyMySQL would write it in latin1
            database=where.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=where.connect_timeout,
            read_timeout=_READ_TIMEOUT,
            write_timeout=_READ_TIMEOUT,
            ssl=_context(where.tls),
        )
    if where.tls.needed and not isinstance(connection._sock, ssl.SSLSocket):
        # PyMySQL before 1.2 goes on without when the server, or somebody in between, says that it has none.
        connection.close()
        raise BatonError(
            found="a session without TLS, which the database URL demands",
            expected=_SESSION,
            fix="have the server offer TLS, or correct the URL",
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


def _context(tls: Tls) -> ssl.SSLContext | None:
    if not tls.needed:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.files.get("ssl_ca"), capath=tls.files.get("ssl_capath"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as PyMySQL does: what MySQL makes for itself would not pass
        context.check_hostname = tls.host
        if not tls.certificate:
            context.verify_mode = ssl.CERT_NONE
        if "ssl_cert" in tls.files:
            context.load_cert_chain(tls.files["ssl_cert"], tls.files.get("ssl_key"))
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
        said = str(error.args[-1] if error.args else error).strip().partition("\n")[0]
        found, fix = database_refusal(MYSQL, str(error)) or (
            f"the database refuses: {said}",
            "correct the rights of its user, or what it was asked about",
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
