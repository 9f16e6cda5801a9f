# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A release tree of an app that migrates with Alembic."""

from __future__ import annotations

from dataclasses import dataclass

from tests.unit.plugins.modules.db_migrate_called import Called

__all__ = ["App", "sql"]

ENV_PY = """
import os, sqlalchemy
from alembic import context
print("the app prints what it likes")
engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"].partition("?")[0], poolclass=sqlalchemy.pool.NullPool)
with engine.connect() as connection:
    {extra}
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""{description}"""
import os
from alembic import op
revision, down_revision = {revision!r}, {parent!r}
{header}
def upgrade():
    {up}
def downgrade():
    {down}
'''


def sql(statement: str) -> str:
    """Return the line of a migration that runs a statement."""
    return f"op.execute({statement!r})"


@dataclass
class App(Called):
    """A release tree with migrations 0001 to 0003, an env file, and what the module is called with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.tree / "migrations" / "versions").mkdir(parents=True)
        (self.tree / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")
        self.env_py()
        table, mail = "CREATE TABLE users (id serial PRIMARY KEY, name text)", "ALTER TABLE users ADD mail text"
        self.add("0001", None, "make users", sql(table), down=sql("DROP TABLE users"))
        self.add("0002", "0001", "first user", sql("INSERT INTO users (name) VALUES (1)"), header='phase = "expand"')
        self.add("0003", "0002", "add mail", sql(mail), down=sql("ALTER TABLE users DROP mail"))
        self.url(self.server.url(self.database, driver="+psycopg"))

    def env_py(self, extra: str = "pass") -> None:
        (self.tree / "migrations" / "env.py").write_text(ENV_PY.format(extra=extra), encoding="utf-8")

    def add(
        self, revision: str, parent: str | None, description: str, up: str, *, down: str = "pass", header: str = ""
    ) -> None:
        text = REVISION.format(
            revision=revision, parent=parent, description=description, up=up, down=down, header=header
        )
        (self.tree / "migrations" / "versions" / f"{revision}.py").write_text(text, encoding="utf-8")

    def remove(self, revision: str) -> None:
        (self.tree / "migrations" / "versions" / f"{revision}.py").unlink()
