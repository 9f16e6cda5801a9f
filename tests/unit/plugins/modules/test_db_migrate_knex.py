# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about knex: its many kinds of configuration, and what it refuses by itself."""

from __future__ import annotations

import typing

import pytest

from tests.unit.plugins.modules.db_migrate_called import Result, Run
from tests.unit.plugins.modules.migration_trees import KnexTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

# A knexfile as a module, with an environment, a schema and a table of its own.
KNEXFILE = """
const url = process.env.DATABASE_URL.split("?")[0];
const migrations = { directory: ["./migrations"], tableName: "steps", schemaName: "meta", loadExtensions: [".mjs"] };
export default async () => ({ production: { client: "pg", connection: url, migrations }, development: { client: "nosuch" } });
"""
MIGRATION = """
export const phase = "contract";
export const up = (knex) => knex.schema.createTable("things", (table) => table.increments());
export function down(knex) {
  // nothing to do
}
"""


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> KnexTree:
    return KnexTree(tmp_path, postgres, database)


def test_a_knexfile_that_is_a_module_with_a_schema_of_its_own(app: KnexTree, run: Run) -> None:
    app.query("CREATE SCHEMA meta")
    (app.tree / "knexfile.js").unlink()
    (app.tree / "knexfile.mjs").write_text(KNEXFILE, encoding="utf-8")
    (app.tree / "migrations" / "20260101_make-things.mjs").write_text(MIGRATION, encoding="utf-8")
    options: Result = {"environment": {"NODE_ENV": "production"}}
    plan = run(**options, check=True, allow_contract=True)["applied"]
    assert plan == [{"revision": "20260101_make-things.mjs", "description": "make things", "phase": "contract"}]
    assert "contract migrations: 20260101_make-things.mjs" in run(**options, fails=True)["msg"]
    assert run(**options, allow_contract=True)["current"] == ["20260101_make-things.mjs"]
    assert app.query("SELECT name FROM meta.steps") == [("20260101_make-things.mjs",)]
    down = run(**options, state="downgraded", revision="base", check=True)
    assert down["undone"][0]["down"] == "empty"


def test_a_tree_that_lacks_an_applied_migration_and_has_a_new_one_is_refused_as_knex_does(
    app: KnexTree, run: Run
) -> None:
    run()
    app.remove(3)
    app.add(4, "SELECT 1")
    assert "release a tree that holds every applied migration" in run(fails=True)["msg"]
    assert run(state="gathered")["current"] == app.revisions(3)


def test_a_knexfile_that_writes_is_refused_by_the_server(app: KnexTree, run: Run) -> None:
    text = (app.tree / "knexfile.js").read_text(encoding="utf-8")
    writes = (
        "module.exports = (async (own) => { await require('knex')(own).raw('CREATE TABLE x ()'); return own; })"
        ".bind(null, module.exports);"
    )
    (app.tree / "knexfile.js").write_text(text + writes, encoding="utf-8")
    assert "writes to the database while it is only read" in run(state="gathered", fails=True)["msg"]
    assert app.query("SELECT to_regclass('x')") == [(None,)]


def test_what_is_missing_is_named(app: KnexTree, run: Run) -> None:
    (app.tree / "node_modules").rename(app.tree / "elsewhere")
    assert "has no knex with this environment" in run(fails=True)["msg"]
    assert "no Node.js /nonexistent/node" in run(fails=True, knex_node="/nonexistent/node")["msg"]
    assert run(check=True, knex_file="other.js")["known"] is False


def test_a_migration_without_a_way_down_is_refused_before_anything_is_undone(app: KnexTree, run: Run) -> None:
    (app.tree / "migrations" / "0004_step.js").write_text("exports.up = async () => {};", encoding="utf-8")
    assert "must have both an up and down function" in run(fails=True)["msg"]
    (app.tree / "migrations" / "0004_step.js").write_text(
        "exports.up = async () => {}; exports.down = async () => {};", encoding="utf-8"
    )
    run()
    (app.tree / "migrations" / "0004_step.js").write_text("exports.up = async () => {};", encoding="utf-8")
    assert run(state="downgraded", revision=app.revision(2), fails=True)["irreversible"] == [app.revision(4)]
    assert names(run(state="gathered")["pending"]) == []
