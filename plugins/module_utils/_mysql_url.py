# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where a URL of MySQL or MariaDB leads to, and how a session there has to be secured, whichever tool the URL was written for."""

from __future__ import annotations

import json
import re
import typing
from urllib.parse import parse_qsl, unquote, urlsplit

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Options", "Tls", "options_of"]

_PORT = 3306
_CONNECT_TIMEOUT = 10.0  # seconds
_LONGEST_TIMEOUT = 31_536_000.0  # seconds, the most that PyMySQL takes
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NO = ("0", "false", "no", "off", "n", "f")


class Tls(typing.NamedTuple):
    """How a session is secured: ``needed`` is None where the library may do as it likes, and False where it is to have none."""

    needed: typing.Optional[bool] = None  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    certificate: bool = False
    """Whether the server has to show a certificate of an authority that is known here."""
    host: bool = False
    """Whether that has to be one for the host that the URL names."""
    files: typing.Mapping[str, str] = {}  # nobody writes to it
    """By SQLAlchemy's names: ssl_ca, ssl_capath, ssl_cert and ssl_key."""


class Options(typing.NamedTuple):
    """Where a URL leads to; ``connect_timeout`` is in seconds."""

    user: str
    password: str
    host: str
    port: int
    database: str
    socket: str
    tls: Tls
    connect_timeout: float


# What MySQL's own programs (ssl-mode), Go's driver (tls), mysqlclient (ssl_mode) and mysql2 (ssl, as JSON) call it.
_OFF, _ANY, _PROVEN = Tls(False), Tls(True), Tls(True, certificate=True, host=True)
_MODES = {
    **dict.fromkeys(("disabled", "disable", "false", "0"), _OFF),
    **dict.fromkeys(("preferred", "prefer"), Tls()),
    **dict.fromkeys(("required", "require", "skip-verify", '{"rejectUnauthorized": false}'), _ANY),
    **dict.fromkeys(("verify-ca",), Tls(True, certificate=True)),
    **dict.fromkeys(("verify-identity", "true", "1", '{"rejectUnauthorized": true}'), _PROVEN),
}
_MODE_NAMES = ("ssl_mode", "sslmode", "tls", "ssl")
_FILES = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key")
_CHECK_HOST = "ssl_check_hostname"
_ABOUT_TLS = re.compile(r"ssl|tls|usessl|requiressl")


def options_of(url: str) -> Options:
    """Return where a URL of MySQL or MariaDB leads to, as SQLAlchemy, Go's driver or MySQL's own programs would write it.

    Raises:
        BatonError: it cannot be read, names no database, or wants something of the session that is not known here.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        host = unquote(parts.hostname or "")
        query = {name.lower().replace("-", "_"): value for name, value in parse_qsl(parts.query) if value}
    except ValueError:
        raise _unreadable() from None  # its message shows a part of the URL
    database = unquote(parts.path[1:])
    if not database or "/" in database or "\0" in url:
        raise _unreadable()
    path = query.get("unix_socket") or query.get("socket") or ""
    return Options(user, password, host or "127.0.0.1", port, database, path, _tls(query), _connect_timeout(query))


def _unreadable() -> BatonError:
    return BatonError(
        found="a database URL that cannot be read",
        expected="mysql://user:password@host:port/database, special characters percent-encoded",
        fix="correct the URL where it is kept; nothing was changed",
    )


def _tls(query: typing.Mapping[str, str]) -> Tls:
    """Return how the session is to be secured.

    Raises:
        BatonError: in a way that is not known here, for which the session would not be secured as the URL says.
    """
    names = [name for name in _MODE_NAMES if name in query]
    unknown = [name for name in query if _ABOUT_TLS.match(name) and name not in (*_MODE_NAMES, *_FILES, _CHECK_HOST)]
    if unknown or len(names) > 1:
        raise _strange(", ".join(unknown or names))
    files = {name: query[name] for name in _FILES if name in query}
    proven = "ssl_ca" in files or "ssl_capath" in files
    if names:
        mode = _MODES.get(_spelled(query[names[0]]))
        if mode is None:
            raise _strange(f"{names[0]}={query[names[0]][:100]}")
    else:
        mode = _PROVEN if proven else _ANY if files else Tls()
    if mode.needed is False:
        return mode
    if proven and not mode.certificate:
        mode = Tls(True, certificate=True)  # as MySQL's own programs have it
    if query.get(_CHECK_HOST, "true").lower() in _NO:
        mode = mode._replace(host=False)
    return mode._replace(files=files)


def _spelled(mode: str) -> str:
    try:
        told = json.loads(mode)
    except ValueError:
        told = None
    return json.dumps(told) if isinstance(told, dict) else mode.lower().replace("_", "-")


def _strange(what: str) -> BatonError:
    return BatonError(
        found=f"{what} in the database URL, which the session that holds the migration lock does not know",
        expected="one of ssl-mode, tls and ssl with a usual value, ssl_ca, ssl_capath, ssl_cert, ssl_key and ssl_check_hostname",
        fix="say it with these, or leave it to the configuration of the app; nothing was changed",
    )


def _connect_timeout(query: typing.Mapping[str, str]) -> float:
    """Return what SQLAlchemy's drivers call connect_timeout, in whole seconds, and Go's timeout, with units; 0 is no limit.

    Other limits are meant for the tool: they would hit the session that holds the lock for a long time.
    """
    given = query.get("connect_timeout") or query.get("timeout")
    if given is None:
        return _CONNECT_TIMEOUT
    if re.fullmatch(r"[0-9]{1,9}", given):
        seconds = float(given)
    elif re.fullmatch(r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+", given):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", given))
    else:
        raise BatonError(
            found=f"{given[:100]} as connect_timeout or timeout in the database URL",
            expected="whole seconds, or a time as Go writes it, such as 1m30s",
            fix="correct the URL where it is kept; nothing was changed",
        )
    return min(seconds, _LONGEST_TIMEOUT) or _LONGEST_TIMEOUT
