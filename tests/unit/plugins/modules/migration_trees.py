# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Release trees with the same migrations for each tool, for tests to migrate a real database with."""

from __future__ import annotations

import abc
import json
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

from tests import fake_flyway, migration_tools
from tests.unit.plugins.modules.db_migrate_called import Called, Result

if typing.TYPE_CHECKING:
    pass


@dataclass
class Tree(Called, abc.ABC):
    """A release tree with the migrations 1 to 3."""

    driver: typing.ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tree.mkdir(parents=True)
        self.params.update(driver=self.driver, **self.options())
        self.url(self.address())
        self.make()
        self.add(1, "CREATE TABLE users (id serial PRIMARY KEY, name text)", "DROP TABLE users")
        self.add(2, "INSERT INTO users (name) VALUES ('first')", phase="expand")
        self.add(3, "ALTER TABLE users ADD mail text", "ALTER TABLE users DROP mail")

    def address(self) -> str:
        """Return the URL of the database, as the tool reads it."""
        return f"{self.server.url(self.database)}?sslmode=disable"

    def make(self) -> None:
        """Make the tree without its migrations."""

    def options(self) -> Result:
        """Return the options of the driver."""
        return {}

    @abc.abstractmethod
    def revision(self, number: int) -> str:
        """Return what the tool calls a migration."""

    @abc.abstractmethod
    def path(self, number: int) -> Path:
        """Return the file of a migration."""

    @abc.abstractmethod
    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        """Write a migration; with an empty way down it can be undone and nothing happens."""

    def remove(self, number: int) -> None:
        """Have the tree be an older one, without this migration."""
        self.path(number).unlink()

    def revisions(self, *numbers: int) -> list[str]:
        """Return what the tool calls some migrations."""
        return [self.revision(number) for number in numbers]


class TreeOfStatements(Tree):
    """A tree whose migrations are text around statements."""

    @abc.abstractmethod
    def text(self, up: str, down: str, phase: str, *, transaction: bool) -> str:
        """Return what is in the file of a migration."""

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        """Write a migration."""
        self.path(number).write_text(self.text(up, down, phase, transaction=transaction), encoding="utf-8")


MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
print("the project prints what it likes")
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os, urllib.parse
url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
             "PASSWORD": urllib.parse.unquote(url.password or ""), "HOST": url.hostname, "PORT": url.port}}
INSTALLED_APPS = ["shop", "stock"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
DJANGO_MIGRATION = '''"""Migration {name}."""
from django.db import migrations
{phase}
class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [migrations.RunSQL({up!r}, {down!r})]
'''


class DjangoTree(Tree):
    """A Django project of two apps, shop with the migrations and stock with none."""

    driver = "django"

    def make(self) -> None:
        (self.tree / "manage.py").write_text(MANAGE, encoding="utf-8")
        (self.tree / "settings.py").write_text(SETTINGS, encoding="utf-8")
        for app in ("shop", "stock"):
            (self.tree / app / "migrations").mkdir(parents=True)
            for directory in (self.tree / app, self.tree / app / "migrations"):
                (directory / "__init__.py").touch()

    def options(self) -> Result:
        return {"python": str(migration_tools.django_python()), "environment": {"PYTHONDONTWRITEBYTECODE": "1"}}

    def revision(self, number: int) -> str:
        return f"shop.{number:04}_step"

    def path(self, number: int) -> Path:
        return self.tree / "shop" / "migrations" / f"{number:04}_step.py"

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        before = [("shop", f"{number - 1:04}_step")] if number > 1 else []
        text = DJANGO_MIGRATION.format(
            name=number,
            phase=f'phase = "{phase}"' if phase else "",
            atomic=transaction,
            dependencies=before,
            up=[one for one in up.split(";") if one.strip()],
            down=down,
        )
        self.path(number).write_text(text, encoding="utf-8")


KNEXFILE = """
console.log("the app prints what it likes");
const url = (process.env.DATABASE_URL || "").split("?")[0];
module.exports = { client: "pg", connection: url, migrations: { directory: "./migrations" } };
"""


class KnexTree(TreeOfStatements):
    """An app with knex, whose modules are linked to where they were installed once."""

    driver = "knex"

    def make(self) -> None:
        (self.tree / "migrations").mkdir()
        (self.tree / "knexfile.js").write_text(KNEXFILE, encoding="utf-8")
        (self.tree / "node_modules").symlink_to(migration_tools.knex_modules())

    def options(self) -> Result:
        return {"knex_node": str(migration_tools.node())}

    def revision(self, number: int) -> str:
        return f"{number:04}_step.js"

    def path(self, number: int) -> Path:
        return self.tree / "migrations" / self.revision(number)

    def text(self, up: str, down: str, phase: str, *, transaction: bool) -> str:
        # The server runs several statements that come as one in one transaction.
        steps = "".join(f"await knex.raw({json.dumps(one)}); " for one in up.split(";") if one.strip())
        back = f"await knex.raw({json.dumps(down)});" if down else ""
        return (
            f"exports.up = async (knex) => {{ {steps} }};\nexports.down = async (knex) => {{ {back} }};\n"
            + (f'exports.phase = "{phase}";\n' if phase else "")
            + ("" if transaction else "exports.config = { transaction: false };\n")
        )


class DbmateTree(TreeOfStatements):
    """An app with the SQL files of dbmate."""

    driver = "dbmate"

    def make(self) -> None:
        (self.tree / "db" / "migrations").mkdir(parents=True)

    def options(self) -> Result:
        return {"dbmate_program": str(migration_tools.dbmate())}

    def revision(self, number: int) -> str:
        return f"{number:04}"

    def path(self, number: int) -> Path:
        return self.tree / "db" / "migrations" / f"{number:04}_step.sql"

    def text(self, up: str, down: str, phase: str, *, transaction: bool) -> str:
        marked = f"-- phase: {phase}\n" if phase else ""
        how = "" if transaction else " transaction:false"
        return f"{marked}-- migrate:up{how}\n{up};\n-- migrate:down\n{down}\n"


class SqitchTree(Tree):
    """An app with the plan and the scripts of Sqitch."""

    driver = "sqitch"

    def make(self) -> None:
        (self.tree / "sqitch.conf").write_text("[core]\n\tengine = pg\n", encoding="utf-8")
        self.plan: list[str] = []
        for name in ("deploy", "revert"):
            (self.tree / name).mkdir()

    def options(self) -> Result:
        return {"sqitch_program": str(migration_tools.sqitch())}

    def revision(self, number: int) -> str:
        return f"step{number}"

    def path(self, number: int) -> Path:
        return self.tree / "deploy" / f"step{number}.sql"

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        begin, commit = ("BEGIN;\n", "COMMIT;\n") if transaction else ("", "")
        marked = f"-- phase: {phase}\n" if phase else ""
        self.path(number).write_text(f"-- Deploy\n{marked}{begin}{up};\n{commit}", encoding="utf-8")
        back = f"{down};\n" if down else ""
        path = self.tree / "revert" / f"step{number}.sql"
        path.write_text(f"-- Revert\n{begin}{back}{commit}", encoding="utf-8")
        if self.revision(number) not in self.plan:
            self.plan.append(self.revision(number))
        self.write_plan()

    def remove(self, number: int) -> None:
        super().remove(number)
        self.plan.remove(self.revision(number))
        self.write_plan()

    def write_plan(self) -> None:
        """Write the plan with its changes in their order."""
        lines = [f"{name} 2026-01-01T00:00:0{name[4:]}Z Ann <ann@example.com> # {name}" for name in self.plan]
        head = "%syntax-version=1.0.0\n%project=shop\n\n"
        (self.tree / "sqitch.plan").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


class LiquibaseTree(Tree):
    """An app with a changelog of Liquibase that includes a file of SQL for each changeset."""

    driver = "liquibase"

    def make(self) -> None:
        (self.tree / "db").mkdir()
        self.write_root()

    def write_root(self) -> None:
        """Write the file that includes the others in their order."""
        lines = [f"  - include: {{file: {path.relative_to(self.tree)}}}" for path in sorted(self.tree.glob("db/*.sql"))]
        (self.tree / "changelog.yaml").write_text("\n".join(["databaseChangeLog:", *lines, ""]), encoding="utf-8")

    def options(self) -> Result:
        return {"liquibase_program": str(migration_tools.liquibase()), "liquibase_changelog": "changelog.yaml"}

    def revision(self, number: int) -> str:
        return f"db/{number:04}.sql::step::ann"

    def path(self, number: int) -> Path:
        return self.tree / "db" / f"{number:04}.sql"

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        how = "" if transaction else " runInTransaction:false"
        marked = f"--comment: phase: {phase}\n" if phase else ""
        text = f"--liquibase formatted sql\n--changeset ann:step{how}\n{marked}{up};\n--rollback {down or 'empty'}\n"
        self.path(number).write_text(text, encoding="utf-8")
        self.write_root()

    def remove(self, number: int) -> None:
        super().remove(number)
        self.write_root()


class FlywayTree(Tree):
    """An app with the SQL files of Flyway, and what stands for Flyway."""

    driver = "flyway"

    def make(self) -> None:
        (self.tree / "migrations").mkdir()

    def options(self) -> Result:
        program = self.root / "flyway"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_flyway.__file__} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        return {"flyway_program": str(program)}

    def revision(self, number: int) -> str:
        return str(number)

    def path(self, number: int) -> Path:
        return self.tree / "migrations" / f"V{number}__step.sql"

    def add(self, number: int, up: str, down: str = "", *, phase: str = "", transaction: bool = True) -> None:
        marked = f"-- phase: {phase}\n" if phase else ""
        how = "" if transaction else "-- executeInTransaction=false\n"
        self.path(number).write_text(f"{marked}{how}{up};\n", encoding="utf-8")
        back = self.path(number).with_name(f"U{number}__step.sql")
        back.write_text(f"-- undo\n{down};\n", encoding="utf-8")


STATUS_JS = """
const fs = require("fs"), path = require("path");
const knex = require("knex")(require("./knexfile.js"));
(async () => {
  const there = (await knex.raw("select to_regclass('knex_migrations') as t")).rows[0].t;
  const done = there ? (await knex("knex_migrations").orderBy("id")).map((row) => row.name) : [];
  const files = fs.readdirSync("migrations").sort();
  if (!files.length && !done.length) console.log("no migrations");
  for (const one of done) console.log(`${files.includes(one) ? "[X]" : "[?]"} ${one}`);
  for (const revision of files.filter((one) => !done.includes(one))) {
    const phase = require(path.resolve("migrations", revision)).phase || "unmarked";
    console.log(JSON.stringify({ revision, applied: false, phase, description: "step" }));
  }
  await knex.destroy();
})().catch((error) => { console.error(String(error)); process.exit(1); });
"""
# knex has no way up to a migration.
UP_TO_JS = """
const knex = require("knex")(require("./knexfile.js"));
(async () => {
  for (const name of process.env.BATON_STEPS.split(" ")) {
    await knex.migrate.up({ name });
    if (name === process.argv[2]) break;
  }
  await knex.destroy();
})().catch((error) => { console.error(String(error)); process.exit(1); });
"""


class CommandTree(KnexTree):
    """The same app, by commands of its own."""

    driver = "command"

    def make(self) -> None:
        super().make()
        for name, text in (("status", STATUS_JS), ("up_to", UP_TO_JS)):
            (self.tree / f"{name}.js").write_text(text, encoding="utf-8")

    def options(self) -> Result:
        node, knex = str(migration_tools.node()), "node_modules/knex/bin/cli.js"
        return {
            "commands": {
                "status": [node, "status.js"],
                "up": [node, knex, "migrate:latest"],
                "up_to": [node, "up_to.js", "{revision}"],
                "down": [node, knex, "migrate:down", "{revision}"],
            }
        }


TREES: dict[str, type[Tree]] = {
    one.driver: one for one in (DjangoTree, KnexTree, CommandTree, DbmateTree, FlywayTree, LiquibaseTree, SqitchTree)
}


def names(migrations: list[dict[str, str]]) -> list[str]:
    """Return the revisions in what the module said."""
    return [one["revision"] for one in migrations]
