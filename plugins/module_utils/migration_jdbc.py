# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The address of the database as Java's driver for PostgreSQL wants it, for tools that do not know libpq."""

from __future__ import annotations

import typing
from urllib.parse import quote, urlencode

from ansible_collections.baton.release.plugins.module_utils._psycopg import libpq_environment
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Address", "jdbc_address"]

# What Java's driver calls what libpq takes from these variables.
_PARAMETERS = {
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGCONNECT_TIMEOUT": "connectTimeout",
}
# Its words for which of several servers will do.
_SERVERS = {
    "any": "any",
    "read-write": "primary",
    "primary": "primary",
    "standby": "secondary",
    "read-only": "secondary",
}


class Address(typing.NamedTuple):
    """Where the database is, without its password in the URL; ``user`` and ``password`` are None where nothing names them."""

    url: str
    user: typing.Optional[str]  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    password: typing.Optional[str]  # noqa: UP045 - as above


def jdbc_address(variables: typing.Mapping[str, str], url: str, *, options: str, application_name: str) -> Address:
    """Return where ``url`` leads with what these variables of libpq add to it.

    Args:
        variables: the tool's environment.
        url: a PostgreSQL URL.
        options: settings of the session as in PGOPTIONS, which Java's driver does not read.
        application_name: how the session introduces itself to the server.

    Raises:
        BatonError: the server is to be reached by a socket in the file system, which Java cannot, or the URL is none of PostgreSQL.
    """
    given = libpq_environment(variables, url)
    host = given.get("PGHOSTADDR") or given.get("PGHOST") or "localhost"
    hosts, ports = host.split(","), (given.get("PGPORT") or "5432").split(",")
    if any(one.startswith(("/", "@")) for one in hosts):
        raise BatonError(
            found=f"a database at the socket {host}",
            expected="a host and a port, because Java's driver knows no sockets in the file system",
            fix="name the host in the database URL, such as 127.0.0.1",
        )
    if len(ports) == 1:
        ports *= len(hosts)
    servers = ",".join(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one, port in zip(hosts, ports))
    parameters = {name: given[variable] for variable, name in _PARAMETERS.items() if given.get(variable)}
    if given.get("PGTARGETSESSIONATTRS") in _SERVERS:
        parameters["targetServerType"] = _SERVERS[given["PGTARGETSESSIONATTRS"]]
    parameters.update(options=options, ApplicationName=application_name)
    database = given.get("PGDATABASE") or given.get("PGUSER") or ""
    address = f"jdbc:postgresql://{servers}/{quote(database, safe='')}?{urlencode(parameters, quote_via=quote)}"
    return Address(address, given.get("PGUSER") or None, given.get("PGPASSWORD") or None)
