# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one place that imports the optional library psycopg: its floor, and what to install."""

from __future__ import annotations

import contextlib
import re
import sys
import typing
from urllib.parse import parse_qsl, urlencode

from ansible_collections.baton.release.plugins.module_utils.database_refusals import database_refusal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL

try:
    import psycopg
    from psycopg import conninfo, pq
except ImportError as import_error:
    _MISSING = str(import_error)
    DatabaseError: type[Exception] = OSError  # nothing raises it then
else:
    _MISSING = ""
    DatabaseError = psycopg.Error

if typing.TYPE_CHECKING:
    Connection = psycopg.Connection[typing.Tuple[typing.Any, ...]]  # noqa: UP006 - evaluated by type checkers only

__all__ = [
    "Address",
    "DatabaseError",
    "address_of",
    "connect",
    "in_words",
    "libpq_environment",
    "told",
]

_FLOOR = (3, 1)
_CONNECT_TIMEOUT = 10  # seconds
_PORT = 5432
# A long migration is silence on this connection: keep firewalls from dropping it, and notice a dead server.
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class Address(typing.NamedTuple):
    """Where a URL leads to: ``files`` are parameters such as sslrootcert."""

    host: str
    port: int
    sslmode: str
    files: typing.Mapping[str, str]


def address_of(url: str) -> Address:
    """Return where a PostgreSQL URL leads to.

    Raises:
        BatonError: psycopg is missing or too old, or the URL is not one of PostgreSQL.
    """
    _require()
    given = {key: str(value) for key, value in _libpq_options(url).items()}
    port = given.get("port", "")
    files = {key: value for key, value in given.items() if key.startswith("ssl") and key != "sslmode"}
    return Address(given.get("host", ""), int(port) if port.isdigit() else _PORT, given.get("sslmode", ""), files)


def connect(
    variables: typing.Mapping[str, str], url: str, *, application_name: str, database: str | None = None
) -> Connection:
    """Return a session of our own, in autocommit, with the database that a tool in this environment reaches.

    Args:
        variables: the tool's environment; what ``url`` leaves out comes from its PGHOST, PGPASSWORD and so on.
        url: a PostgreSQL URL, with or without an SQLAlchemy driver (``postgresql+psycopg://``).
        application_name: how the session introduces itself to the server.
        database: another one than that of the URL.

    Raises:
        BatonError: psycopg is missing or too old, the URL is not one of PostgreSQL, or the database refuses.
    """
    _require()
    given = {**_libpq_variables(variables), **_libpq_options(url), **_KEEPALIVE}
    if database is not None:
        given["dbname"] = database
    given.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    given["application_name"] = application_name
    try:
        return psycopg.connect(autocommit=True, **given)
    except psycopg.OperationalError as error:
        found, fix = database_refusal(POSTGRESQL, str(error)) or (
            "the database refuses a session",
            "read details, correct the URL, run again",
        )
        raise BatonError(
            found=found,
            expected="a session with the database to hold the migration lock; nothing was changed",
            fix=fix,
            details=str(error).strip(),
        ) from error


def libpq_environment(variables: typing.Mapping[str, str], url: str) -> dict[str, str]:
    """Return the environment in which a program of PostgreSQL, such as pg_dump, reaches the database that ``url`` leads to.

    Raises:
        BatonError: psycopg is missing or too old, or the URL is not one of PostgreSQL.
    """
    _require()
    given = {**_libpq_variables(variables), **_libpq_options(url)}
    names = {option.keyword.decode(): (option.envvar or b"").decode() for option in pq.Conninfo.get_defaults()}
    return {names[keyword]: str(value) for keyword, value in given.items() if names.get(keyword)}


@contextlib.contextmanager
def in_words(expected: str) -> typing.Iterator[None]:
    """Run the body, which asks the database something, and say what became of it when the database does not answer.

    Args:
        expected: what the body is for.

    Raises:
        BatonError: the session has ended, as with a server that was killed, or the database refuses the question.
    """
    try:
        yield
    except DatabaseError as error:
        said = str(error).strip().partition("\n")[0]
        ended = isinstance(error, psycopg.OperationalError)
        found, fix = database_refusal(POSTGRESQL, str(error)) or (
            ("the database has ended the session", "see that the database runs, then run again")
            if ended
            else (f"the database refuses: {said}", "correct the rights of its user, or what it was asked about")
        )
        raise BatonError(found=found, expected=expected, fix=fix, details=str(error).strip()) from error


def told(connection: Connection, statement: str) -> list[str]:
    """Return the first column of what ``statement`` selects; nothing when the session has been lost."""
    try:
        return [str(row[0]) for row in connection.execute(statement.encode()).fetchall()]
    except psycopg.Error:
        return []


def _require() -> None:
    if not _MISSING and tuple(int(part) for part in re.findall(r"\d+", psycopg.__version__)[:2]) >= _FLOOR:
        return
    raise BatonError(
        found=f"psycopg {psycopg.__version__}" if not _MISSING else f"no psycopg for {sys.executable} ({_MISSING})",
        expected="psycopg 3.1 or later, to hold the migration lock in the database",
        fix=f"install the package python3-psycopg, or run '{sys.executable} -m pip install \"psycopg[binary]>=3.1\"'",
    )


def _libpq_options(url: str) -> dict[str, typing.Any]:
    scheme, _separator, rest = url.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise BatonError(
            found=f"a database URL of the kind '{scheme}'" if rest else "a database URL without a scheme",
            expected="postgresql:// or postgresql+<driver>://, because the migration lock lives in PostgreSQL",
            fix="correct the URL; other databases are not supported",
        )
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    # Parameters that only the app's own driver understands mean nothing to libpq, which would refuse the whole URL.
    address, _mark, query = rest.partition("?")
    query = urlencode([pair for pair in parse_qsl(query) if pair[0] in known])
    try:
        return dict(conninfo.conninfo_to_dict(f"postgresql://{address}?{query}"))
    except psycopg.ProgrammingError:
        raise BatonError(
            found="a database URL that libpq cannot read",
            expected="postgresql://user:password@host:port/database, special characters percent-encoded",
            fix="correct the URL where it is kept",
        ) from None  # psycopg's message shows a part of the URL


def _libpq_variables(variables: typing.Mapping[str, str]) -> dict[str, typing.Any]:
    found = {}
    for option in pq.Conninfo.get_defaults():
        name = (option.envvar or b"").decode()
        # PGOPTIONS is meant for the tool: its time limits would hit the lock session.
        if name in variables and name != "PGOPTIONS":
            found[option.keyword.decode()] = variables[name]
    return found
