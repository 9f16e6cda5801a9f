# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a rehearsal has to know of the target, which is only read: its schema, roles and settings, and how large its tables are."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._psycopg import (
    DatabaseError,
    connect,
    libpq_environment,
)
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_tool import run
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import SESSION, identifier
from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import Asked, read_asked

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Programs

__all__ = ["HISTORY", "Role", "Setting", "Table", "Target", "dump_schema", "read_target"]

HISTORY = (
    "alembic_version",
    "auth_permission",  # what Django writes after it has migrated
    "django_content_type",
    "django_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "schema_migrations",
    "flyway_schema_history",
    "databasechangelog",
    "databasechangeloglock",
    "_yoyo_log",
    "_yoyo_migration",
    "_yoyo_version",
    "yoyo_lock",
    "sqitch.changes",
    "sqitch.dependencies",
    "sqitch.events",
    "sqitch.projects",
    "sqitch.releases",
    "sqitch.tags",
)
"""Names of the tables in which tools keep what they have applied, in whatever schema where none is named."""
_DUMP_TIMEOUT = 300.0  # seconds
# What is another one each time, and what older servers than the program do not know.
_UNWANTED = re.compile(r"^(\\(un)?restrict .*|SET transaction_timeout = 0;)\n?", re.MULTILINE)
_ROLES = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles
 WHERE rolname !~ '^(pg_|baton_rehearsal_[0-9a-f]{16}$)' ORDER BY rolname"""
_MEMBERS = """
SELECT r.rolname, m.rolname FROM pg_auth_members AS a JOIN pg_roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
 WHERE m.rolname !~ '^(pg_|baton_rehearsal_[0-9a-f]{16}$)' ORDER BY 1, 2"""
# What is set for a role in this database counts more than what is set for it in all.
_SETTINGS = """
SELECT r.rolname, s.setdatabase <> 0, split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
  FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS one
 WHERE split_part(one, '=', 1) !~ 'preload_libraries$'
   AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY s.setdatabase, 1, 3"""
_WHERE = """
SELECT current_database(), session_user::text, current_setting('server_version_num')::int / 10000,
       (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()), to_regnamespace('public') IS NOT NULL,
       extract(epoch FROM pg_postmaster_start_time())::text, ARRAY(SELECT extname::text FROM pg_extension ORDER BY extname)"""
_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relname, c.relkind::text, greatest(c.reltuples, 0)::bigint,
       pg_total_relation_size(c.oid)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
 ORDER BY 1"""
_SEQUENCES = """
SELECT s.oid::regclass::text FROM pg_class AS s JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
 WHERE s.relkind = 'S' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s::regclass ORDER BY 1"""

_TIMELESS = """
SELECT quote_ident(attname) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND atttypid::regtype::text !~ '^timestamp' ORDER BY attnum"""


class Role(typing.NamedTuple):
    """A role of the target, without its password."""

    name: str
    superuser: bool
    inherit: bool
    create_role: bool
    create_database: bool
    bypass_rls: bool

    def statement(self, *, login: bool = True) -> str:
        """Return what makes it elsewhere."""
        rights = {
            "LOGIN": login,
            "SUPERUSER": self.superuser,
            "INHERIT": self.inherit,
            "CREATEROLE": self.create_role,
            "CREATEDB": self.create_database,
            "BYPASSRLS": self.bypass_rls,
        }
        words = " ".join(right if has else f"NO{right}" for right, has in rights.items())
        return f"CREATE ROLE {identifier(self.name)} {words}"


class Setting(typing.NamedTuple):
    """A setting of a role, or with no ``role`` of all of them, in the target's database or with ``here`` false in all databases."""

    role: typing.Optional[str]  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    here: bool
    name: str
    value: str

    def statement(self, database: str, *, role: str | None = None, only_here: bool = False) -> str:
        """Return what sets it elsewhere, for ``role`` instead of its own, and with ``only_here`` in one database only."""
        owner = role or self.role
        whose = f"DATABASE {database}" if owner is None else f"ROLE {identifier(owner)}"
        where = f" IN DATABASE {database}" if owner is not None and (self.here or only_here) else ""
        # search_path is a list already, and would be one name if it were quoted.
        value = self.value if self.name == "search_path" else "'" + self.value.replace("'", "''") + "'"
        return f"ALTER {whose}{where} SET {identifier(self.name)} TO {value}"


class Table(typing.NamedTuple):
    """How large a table is: about how many rows, and how many bytes with its indexes."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Target:
    """The target as far as a shadow has to be like it; ``history`` has the rows of the tool's own tables, as COPY writes them."""

    database: str
    user: str
    major: int
    owner: str
    has_public: bool
    roles: tuple[Role, ...]
    members: tuple[tuple[str, str], ...]
    """A role, and who is a member of it."""
    settings: tuple[Setting, ...]
    extensions: tuple[str, ...]
    started: str
    """When its server was started: no two servers were in the same microsecond."""
    history: typing.Mapping[str, bytes]
    timeless: typing.Mapping[str, bytes]
    """The same rows without the columns that say when something was applied, which is another time in each database."""
    sequences: typing.Mapping[str, tuple[int, bool]]
    tables: typing.Mapping[str, Table]
    asked: Asked


def read_target(
    around: Surroundings, more_history: typing.Sequence[str], statements_of: typing.Sequence[str] = ()
) -> Target:
    """Read what a rehearsal has to know of the database that the tool reaches.

    Args:
        around: the environment of the tool.
        more_history: further names of tables that are the tool's own, with or without their schema.
        statements_of: roles whose statements count as the app's, all of them when there are none.

    Raises:
        BatonError: the database refuses.
    """
    with connect(around.variables, around.url, application_name=SESSION) as session:
        session.execute(b"SET default_transaction_read_only = on")
        session.execute(b"SET search_path = ''")
        try:
            database, user, major, owner, has_public, started, extensions = session.execute(_WHERE.encode()).fetchall()[
                0
            ]
            tables = session.execute(_TABLES.encode()).fetchall()
            names = {*HISTORY, *more_history}
            history = [name for name, bare, kind, *_size in tables if kind != "m" and (bare in names or name in names)]
            rows = {name: _copied(session, name) for name in history}
            timeless = {name: _copied(session, name, _timeless(session, name)) for name in history}
            sequences = {
                sequence: _position(session, sequence)
                for name in history
                for (sequence,) in session.execute(_SEQUENCES.encode(), [name]).fetchall()
            }
            return Target(
                database=str(database),
                user=str(user),
                major=int(major),
                owner=str(owner),
                has_public=bool(has_public),
                roles=tuple(Role(*row) for row in session.execute(_ROLES.encode()).fetchall()),
                members=tuple((str(of), str(to)) for of, to in session.execute(_MEMBERS.encode()).fetchall()),
                settings=tuple(Setting(*row) for row in session.execute(_SETTINGS.encode()).fetchall()),
                extensions=tuple(extensions),
                started=str(started),
                history=rows,
                timeless=timeless,
                sequences=sequences,
                tables={name: Table(int(count), int(size)) for name, _bare, _kind, count, size in tables},
                asked=read_asked(session, history, statements_of),
            )
        except DatabaseError as error:
            raise BatonError(
                found=f"a target that cannot be read for a rehearsal: {str(error).strip().splitlines()[0]}",
                expected="its catalogs and the tool's own tables to be readable for the user that migrates",
                fix="grant that user what is missing; nothing was changed",
            ) from error


def _copied(session: Connection, table: str, columns: str = "") -> bytes:
    with session.cursor() as cursor, cursor.copy(f"COPY {table}{columns} TO STDOUT".encode()) as copy:
        return b"".join(bytes(block) for block in copy)


def _timeless(session: Connection, table: str) -> str:
    names = session.execute(_TIMELESS.encode(), [table]).fetchall()
    return f" ({', '.join(str(name) for (name,) in names)})"


def _position(session: Connection, sequence: str) -> tuple[int, bool]:
    last, called = session.execute(f"SELECT last_value, is_called FROM {sequence}".encode()).fetchall()[0]  # noqa: S608 - from the catalog
    return int(last), bool(called)


def dump_schema(around: Surroundings, programs: Programs, directory: Path) -> str:
    """Return the statements that make the target's schema.

    Args:
        around: the environment of the tool.
        programs: with pg_dump of the shadow's version.
        directory: for the file that pg_dump writes.

    Raises:
        BatonError: pg_dump failed.
    """
    path = directory / "schema.sql"
    words = [
        "--schema-only",
        "--no-publications",
        "--no-subscriptions",
        "--no-tablespaces",
        "--lock-wait-timeout=10000",
    ]
    given = libpq_environment(around.variables, around.url)
    ended = run(
        [programs.program("pg_dump"), *words, f"--file={path}"],
        project_dir=directory,
        variables={"PATH": "/usr/bin:/bin", **given, "PGOPTIONS": "-c default_transaction_read_only=on"},
        secrets=around.secrets,
        timeout=_DUMP_TIMEOUT,
    )
    if ended.returncode != 0:
        raise BatonError(
            found=f"pg_dump of PostgreSQL {programs.major} could not read the target's schema: {ended.headline}",
            expected="a dump of the schema without any data",
            fix="grant the user that migrates SELECT on what is named, or read output; nothing was changed",
            output=ended.tail,
        )
    return _UNWANTED.sub("", path.read_text(encoding="utf-8"))
