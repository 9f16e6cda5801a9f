# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a database that refuses means: the words and the numbers of servers and their clients, and of the drivers above these."""

from __future__ import annotations

import re

from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, SQLITE

__all__ = ["database_refusal"]

_PASSWORD = "the database does not accept the user or the password"  # noqa: S105 - words about it
_NO_DATABASE = "the server has no such database"
_HOST = "the server does not let this host in"
_FULL = "the server has no connection left"
_SILENT = "the database does not answer"

# From the particular to the general. A number with which the text begins is the one of PyMySQL, whatever language the server speaks.
_REFUSALS: dict[str, tuple[tuple[str, str, str], ...]] = {
    POSTGRESQL: (
        (
            r"password authentication failed|no password supplied|role \".*\" does not exist",
            _PASSWORD,
            "compare the secret that was delivered to this host with the database's user",
        ),
        (r"database \".*\" does not exist", _NO_DATABASE, "create the database, or correct the URL"),
        (r"no pg_hba.conf entry", _HOST, "add this host to the server's pg_hba.conf"),
        (
            r"too many clients|remaining connection slots",
            _FULL,
            "free connections of the database, then run again",
        ),
        (
            r"(connection|timeout) (failed|expired|refused)|could not (connect|translate)|to resolve|database system is",
            _SILENT,
            "start the database or correct the URL, then run again",
        ),
    ),
    MYSQL: (
        (
            r"\A\((1044|1045|1698),|Access denied for user",
            _PASSWORD,
            "compare the secret that was delivered to this host with the database's user and its rights",
        ),
        (r"\A\(1049,|Unknown database", _NO_DATABASE, "create the database, or correct the URL"),
        (r"\A\(1130,|is not allowed to connect", _HOST, "create the database's user for this host"),
        (
            r"\A\((1040|1203|1226),|Too many connections|max_user_connections",
            _FULL,
            "free connections of the database, then run again",
        ),
        (
            r"certificate verify failed|x509: |self-signed certificate|ERR_TLS_CERT_ALTNAME_INVALID",
            "the server does not prove with its certificate that it is the one that the database URL names",
            "name the authority that has signed the certificate in the URL (ssl_ca), and the host as the certificate calls it",
        ),
        (
            r"\A\(2026,|does not support TLS|HANDSHAKE_NO_SSL_SUPPORT|Server does not support secure connection",
            "the server offers no TLS, which the database URL demands",
            "have the server offer it, or correct the URL",
        ),
        (
            r"\A\((2002|2003|2005),|Can't connect to|ECONNREFUSED|connection refused|ENOTFOUND",
            _SILENT,
            "start the database or correct the URL, then run again",
        ),
        (
            r"\A\((0|2006|2013|2014|2055|1053|1927),|Lost connection to|server has gone away|PROTOCOL_CONNECTION_LOST|invalid connection",
            "the database has ended the session",
            "see that the database runs, then run again",
        ),
    ),
    SQLITE: (
        (
            r"unable to open database file|SQLITE_CANTOPEN",
            "the file of the database cannot be opened",
            "make its directory, and let the user that migrates read and write both of them",
        ),
        (
            r"database is locked|SQLITE_BUSY",
            "the database is in use by somebody else, who writes to it",
            "run again when that has ended",
        ),
        (r"file is not a database|SQLITE_NOTADB", "a file that is no database of SQLite", "correct the URL"),
        (
            r"readonly database|SQLITE_READONLY",
            "the file of the database cannot be written",
            "let the user that migrates write it, and the directory that it is in",
        ),
    ),
}


def database_refusal(kind: str, text: str) -> tuple[str, str] | None:
    """Return what the error ``text`` of this ``kind`` of database means and what to do about it, None when it is something else."""
    for pattern, found, fix in _REFUSALS[kind]:
        if re.search(pattern, text, re.IGNORECASE):
            return found, fix
    return None
