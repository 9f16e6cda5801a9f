# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The table in which dbmate keeps what it has applied, in each kind of database; reading it writes nothing."""

from __future__ import annotations

import contextlib
import typing
from urllib.parse import parse_qs, urlsplit

from ansible_collections.baton.release.plugins.module_utils import _psycopg, _pymysql, _sqlite
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, SQLITE, kind_of

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings

__all__ = ["applied"]

_READING = "to read the schema's revision from the database; nothing was changed"


def applied(around: Surroundings) -> list[str]:
    """Return the numbers of what is applied, in their order.

    Raises:
        BatonError: the database cannot be read.
    """
    table = around.variables.get("DBMATE_MIGRATIONS_TABLE") or "schema_migrations"
    kind = kind_of(around.url)
    if kind == SQLITE:
        return _in_sqlite(around.url, table)
    if kind == MYSQL:
        return _in_mysql(around.url, table)
    return _in_postgresql(around, table)


def _in_postgresql(around: Surroundings, table: str) -> list[str]:
    paths = parse_qs(urlsplit(around.url).query).get("search_path", [])
    if "." not in table and paths:
        table = f"{paths[0].split(',')[0].strip()}.{table}"
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))
    with (
        _psycopg.in_words(_READING),
        _psycopg.connect(around.variables, around.url, application_name="baton.db_migrate reading") as session,
    ):
        session.execute(b"SET default_transaction_read_only = on")
        row = session.execute(b"SELECT to_regclass(%s) IS NOT NULL", [quoted]).fetchone()
        if row is None or not row[0]:
            return []
        rows = session.execute(f"SELECT version FROM {quoted}".encode()).fetchall()  # noqa: S608 - quoted above
    return sorted(str(version) for (version,) in rows)


def _in_mysql(url: str, table: str) -> list[str]:
    quoted = "`" + table.replace("`", "``") + "`"
    there = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
    with contextlib.closing(_pymysql.connect(url)) as session, _pymysql.in_words(_READING):
        _pymysql.rows(session, "SET SESSION TRANSACTION READ ONLY")
        if not _pymysql.rows(session, there, table)[0][0]:
            return []
        rows = _pymysql.rows(session, f"SELECT version FROM {quoted}")  # noqa: S608 - quoted above
    return sorted(str(version) for (version,) in rows)


def _in_sqlite(url: str, table: str) -> list[str]:
    path, quoted = _sqlite.path_of(url), '"' + table.replace('"', '""') + '"'
    if not _sqlite.read(path, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table):
        return []
    return sorted(str(version) for (version,) in _sqlite.read(path, f"SELECT version FROM {quoted}"))  # noqa: S608 - quoted above
