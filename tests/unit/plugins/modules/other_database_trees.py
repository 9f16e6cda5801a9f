# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The same release trees on MariaDB and on SQLite, where a tool cannot take back half of a migration, or only by luck."""

from __future__ import annotations

import sqlite3
import sys
import typing
from contextlib import closing
from pathlib import Path

import pymysql

from tests import migration_tools
from tests.unit.plugins.modules.db_migrate_called import Called, Result
from tests.unit.plugins.modules.migration_trees import (
    DbmateTree,
    DjangoTree,
    KnexTree,
    Tree,
    TreeOfStatements,
)

__all__ = ["ON_MARIADB", "ON_SQLITE", "OwnTool", "SqliteFiles", "exists"]

PYMYSQL = str(Path(pymysql.__file__).parents[1])


class SqliteFiles:
    """Files of SQLite in a directory, which a server would be in its place."""

    password = "no-password"  # noqa: S105 - there is none
    port = 0

    def __init__(self, directory: Path) -> None:
        """Remember where they are."""
        self.directory = directory

    def path(self, database: str) -> Path:
        """Return the file of ``database``."""
        return self.directory / f"{database}.db"

    def url(self, database: str = "", *, password: str | None = None, driver: str = "") -> str:
        """Return the URL of ``database``."""
        del password
        return f"sqlite{driver}:///{self.path(database)}"

    def query(self, database: str, statement: str) -> list[tuple[typing.Any, ...]]:
        """Run one statement, and return its rows."""
        with closing(sqlite3.connect(self.path(database))) as connection, connection:
            return connection.execute(statement).fetchall()


def exists(app: Called, table: str, column: str = "") -> bool:
    """Say whether a table, or a column of one, is there."""
    try:
        app.query(f"SELECT {f'{table}.{column}' if column else 1} FROM {table} LIMIT 1")  # noqa: S608 - names of a test
    except (pymysql.err.MySQLError, sqlite3.Error):
        return False
    return True


ENV_PY = """
import os, sqlalchemy
from alembic import context
print("the app prints what it likes")
engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"], poolclass=sqlalchemy.pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""step"""
from alembic import op
revision, down_revision = {revision!r}, {parent!r}
{phase}
def upgrade():
    for one in {up!r}: op.execute(one)
def downgrade():
    {down}
'''


class AlembicTree(Tree):
    """An app with Alembic."""

    driver = "alembic"
    sqlalchemy = "+pymysql"

    def address(self) -> str:
        return self.server.url(self.database, driver=self.sqlalchemy)

    def make(self) -> None:
        (self.tree / "migrations" / "versions").mkdir(parents=True)
        (self.tree / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")
        (self.tree / "migrations" / "env.py").write_text(ENV_PY, encoding="utf-8")

    def revision(self, number: int) -> str:
        return f"{number:04}"

    def path(self, number: int) -> Path:
        return self.tree / "migrations" / "versions" / f"{number:04}.py"

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        del transaction
        text = REVISION.format(
            revision=self.revision(number),
            parent=self.revision(number - 1) if number > 1 else None,
            phase=f"phase = {phase!r}" if phase else "",
            up=[one.strip() for one in up.split(";") if one.strip()],
            down=f"op.execute({down!r})" if down else "pass",
        )
        self.path(number).write_text(text, encoding="utf-8")


class AlembicOnSqlite(AlembicTree):
    """The same."""

    sqlalchemy = ""


class Plain(Tree):
    """What reads the URL as the server is called by it, without anything about TLS."""

    def address(self) -> str:
        return self.server.url(self.database)


class DbmateAnywhere(Plain, DbmateTree):
    """dbmate knows all of them."""


DJANGO_SETTINGS = """
import os, urllib.parse
if os.environ["DATABASE_URL"].startswith("sqlite"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE_URL"][len("sqlite:///"):]}}
else:
    import pymysql
    pymysql.install_as_MySQLdb()
    url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    DATABASES = {"default": {"ENGINE": "django.db.backends.mysql", "NAME": url.path[1:], "USER": url.username,
                 "PASSWORD": urllib.parse.unquote(url.password or ""), "HOST": url.hostname, "PORT": url.port,
                 "OPTIONS": {"init_command": os.environ["BATON_INIT_COMMAND"]}}}
INSTALLED_APPS = ["shop", "stock"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""


class DjangoAnywhere(Plain, DjangoTree):
    """Django with the driver of the module in place of its own, which has to be compiled."""

    def make(self) -> None:
        super().make()
        (self.tree / "settings.py").write_text(DJANGO_SETTINGS, encoding="utf-8")
        vendor = self.tree / "vendor"
        vendor.mkdir()
        (vendor / "pymysql").symlink_to(Path(PYMYSQL) / "pymysql")

    def options(self) -> Result:
        found = super().options()
        found["environment"] = {**found["environment"], "PYTHONPATH": "vendor"}
        return found


KNEXFILE = """
console.log("the app prints what it likes");
const init = process.env.BATON_INIT_COMMAND;
const pool = { afterCreate: (session, done) => session.query(init, (error) => done(error, session)) };
module.exports = { client: "mysql2", connection: process.env.DATABASE_URL, pool, migrations: { directory: "./migrations" } };
"""


class KnexOnMariadb(Plain, KnexTree):
    """knex with mysql2."""

    def make(self) -> None:
        (self.tree / "migrations").mkdir()
        (self.tree / "knexfile.js").write_text(KNEXFILE, encoding="utf-8")
        (self.tree / "node_modules").symlink_to(migration_tools.knex_mysql_modules())


# A tool of the app's own, as there are many: a table, and a file for each migration.
OWN_TOOL = """
import contextlib, os, pathlib, sqlite3, sys, urllib.parse
url = os.environ["DATABASE_URL"]
if url.startswith("sqlite"):
    session, mark = sqlite3.connect(url[len("sqlite:///"):], isolation_level=None), "?"
else:
    import pymysql
    where = urllib.parse.urlsplit(url)
    session, mark = pymysql.connect(host=where.hostname, port=where.port, user=where.username, password=where.password,
        database=where.path[1:], autocommit=True, init_command=os.environ["BATON_INIT_COMMAND"]), "%s"
cursor = session.cursor()
def applied():
    try:
        cursor.execute("SELECT name FROM steps ORDER BY name")
    except (sqlite3.Error, pymysql.err.MySQLError if mark == "%s" else sqlite3.Error):
        return []
    return [name for (name,) in cursor.fetchall()]
files = {path.stem: path for path in sorted(pathlib.Path("steps").glob("*.sql"))}
done, action = applied(), sys.argv[1]
if action == "status":
    for name in done:
        print("[X]" if name in files else "[?]", name)
    for name, path in files.items():
        phase = path.read_text().partition("-- phase: ")[2].partition(chr(10))[0]
        if name not in done:
            print("[ ]", name, phase)
    print("no migrations" if not files and not done else "")
elif action in ("up", "up_to"):
    cursor.execute("CREATE TABLE IF NOT EXISTS steps (name varchar(100) PRIMARY KEY)")
    for name in os.environ["BATON_STEPS"].split():
        up = "".join(line for line in files[name].read_text().splitlines(True) if not line.startswith("--"))
        for statement in up.partition("\\ndown\\n")[0].split(";"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute(f"INSERT INTO steps VALUES ({mark})", (name,))
elif action == "down":
    back = files[sys.argv[2]].read_text().partition("\\ndown\\n")[2].strip()
    if back:
        cursor.execute(back)
    cursor.execute(f"DELETE FROM steps WHERE name = {mark}", (sys.argv[2],))
"""


class OwnTool(Plain, TreeOfStatements):
    """A tool of the app's own, by its commands."""

    driver = "command"

    def make(self) -> None:
        (self.tree / "steps").mkdir()
        (self.tree / "tool.py").write_text(OWN_TOOL, encoding="utf-8")

    def hold_up(self) -> Path:
        """Have the tool apply nothing as long as the file is there that is returned."""
        up = 'elif action in ("up", "up_to"):'
        wait = f'{up}\n    import time\n    while os.path.exists("gate"): time.sleep(0.05)'
        (self.tree / "tool.py").write_text(OWN_TOOL.replace(up, wait), encoding="utf-8")
        (self.tree / "gate").touch()
        return self.tree / "gate"

    def options(self) -> Result:
        tool = [sys.executable, "tool.py"]
        names = {"status": [], "up": [], "up_to": [], "down": ["{revision}"]}
        return {"commands": {name: [*tool, name, *more] for name, more in names.items()}}

    def revision(self, number: int) -> str:
        return f"{number:04}_step"

    def path(self, number: int) -> Path:
        return self.tree / "steps" / f"{number:04}_step.sql"

    def text(self, up: str, down: str, phase: str, *, transaction: bool) -> str:
        del transaction
        marked = f"-- phase: {phase}\n" if phase else ""
        return f"{marked}{up}\ndown\n{down}\n"


ON_MARIADB: dict[str, type[Tree]] = {
    one.driver: one for one in (AlembicTree, DjangoAnywhere, KnexOnMariadb, DbmateAnywhere, OwnTool)
}
ON_SQLITE: dict[str, type[Tree]] = {
    one.driver: one for one in (AlembicOnSqlite, DjangoAnywhere, DbmateAnywhere, OwnTool)
}
