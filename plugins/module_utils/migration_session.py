# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Settings for the tool's own session with MySQL or MariaDB, which know no PGOPTIONS: in the URL where a tool obeys, and in a variable."""

from __future__ import annotations

import math
import re
import typing
from urllib.parse import parse_qsl

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings

__all__ = ["GO", "NO_URL", "READ_ONLY", "SQLALCHEMY", "VARIABLE", "limits", "session_variables"]

VARIABLE = "BATON_INIT_COMMAND"
"""Of the tool's environment: the statement that a session is to begin with, for settings and knexfiles that want to obey."""
SQLALCHEMY, GO, NO_URL = "sqlalchemy", "go", ""
"""Who reads the URL of a tool: SQLAlchemy, Go's driver, or the app itself."""
READ_ONLY = {"TRANSACTION READ ONLY": ""}
_FOREVER = "31536000"  # seconds, the most that lock_wait_timeout takes
# Those of SQLAlchemy's drivers that know init_command.
_DRIVERS = ("", "pymysql", "mysqldb", "aiomysql", "asyncmy", "mysqlconnector")
_PARTS = re.compile(r"(\d+)(ms|s|min)?")
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, None: 1}


def limits(settings: ToolSettings, product: str) -> dict[str, str]:
    """Return the variables of the session that limit how long a statement waits and runs; 0 is no limit.

    Args:
        settings: how the tool is run; times without a unit are milliseconds, as in PostgreSQL.
        product: MariaDB or MySQL.
    """
    lock, statement = (_milliseconds(value) for value in (settings.ddl_lock_timeout, settings.statement_timeout))
    wait = str(max(1, math.ceil(lock / 1000))) if lock else _FOREVER
    found = {"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait}
    if statement and product == "MariaDB":
        found["max_statement_time"] = f"{statement / 1000:g}"
    elif statement:
        found["max_execution_time"] = str(statement)
    return found


def _milliseconds(text: str) -> int:
    match = _PARTS.fullmatch(text)
    if match is None:
        raise AssertionError("surroundings() has refused it")
    return int(match[1]) * _MILLISECONDS[match[2]]


def session_variables(url_variable: str, url: str, wanted: typing.Mapping[str, str], style: str) -> dict[str, str]:
    """Return the variables of the environment that have a tool's session begin with the settings ``wanted``.

    Args:
        url_variable: which one holds the URL.
        url: of the database.
        wanted: the settings.
        style: who reads the URL.
    """
    statement = f"SET SESSION {','.join(f'{name}={value}' if value else name for name, value in wanted.items())}"
    return {VARIABLE: statement, url_variable: _told_in_url(url, statement, wanted, style)}


def _told_in_url(url: str, statement: str, wanted: typing.Mapping[str, str], style: str) -> str:
    scheme = url.partition("://")[0]
    given = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    if style == SQLALCHEMY and scheme.partition("+")[2] in _DRIVERS and "init_command" not in given:
        # Without a percent sign: Alembic's own configuration would take it for a beginning of its own.
        return _with(url, [f"init_command={statement.replace(' ', '+')}"])
    if style == GO and wanted is not READ_ONLY:
        return _with(url, [f"{name}={value}" for name, value in wanted.items() if name not in given])
    return url


def _with(url: str, parameters: typing.Sequence[str]) -> str:
    separator = "&" if "?" in url else "?"
    return f"{url}{separator if parameters else ''}{'&'.join(parameters)}"
