# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about dbmate: where its table is, its numbers, and what it writes beside the database."""

from __future__ import annotations

import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg

from tests.unit.plugins.modules.db_migrate_called import Result, Run, finish
from tests.unit.plugins.modules.migration_trees import DbmateTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> DbmateTree:
    return DbmateTree(tmp_path, postgres, database)


def test_the_table_is_found_where_dbmate_is_told_to_have_it(app: DbmateTree, run: Run) -> None:
    app.query("CREATE SCHEMA meta")
    options: Result = {"environment": {"DBMATE_MIGRATIONS_TABLE": "meta.steps"}}
    assert run(**options)["current"] == app.revisions(3)
    assert app.query("SELECT count(*) FROM meta.steps") == [(3,)]
    assert not run(**options)["changed"]


def test_the_search_path_of_the_url_holds_for_reading_too(app: DbmateTree, run: Run) -> None:
    app.query("CREATE SCHEMA shop")
    app.url(f"{app.server.url(app.database)}?sslmode=disable&search_path=shop,public")
    assert run()["current"] == app.revisions(3)
    assert app.query("SELECT count(*) FROM shop.schema_migrations") == [(3,)]
    assert not run()["changed"]


def test_the_url_may_be_in_another_variable_and_nothing_is_written_into_the_tree(app: DbmateTree, run: Run) -> None:
    text = app.env_file.read_text(encoding="utf-8").replace("DATABASE_URL", "SHOP_DB")
    app.env_file.write_text(text, encoding="utf-8")
    before = sorted(app.tree.rglob("*"))
    assert run(database_url_variable="SHOP_DB")["changed"]
    assert sorted(app.tree.rglob("*")) == before


def test_a_migration_that_was_merged_late_is_applied_in_its_place(app: DbmateTree, run: Run) -> None:
    app.remove(2)
    run()
    app.add(2, "INSERT INTO users (name) VALUES ('late')")
    assert names(run()["applied"]) == app.revisions(2)
    assert app.users() == 1


def test_two_files_with_one_number_are_refused(app: DbmateTree, run: Run) -> None:
    (app.tree / "db" / "migrations" / "0003_other.sql").write_text("-- migrate:up\nSELECT 1;", encoding="utf-8")
    assert "0003_other.sql and 0003_step.sql, two migrations with one number" in run(fails=True)["msg"]
    assert app.query("SELECT to_regclass('users')") == [(None,)]


def test_what_is_missing_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no program /nonexistent" in run(fails=True, dbmate_program="/nonexistent")["msg"]
    assert "no nosuch in" in run(fails=True, dbmate_directory="nosuch")["msg"]
    assert run(check=True, dbmate_directory="nosuch")["known"] is False
    monkeypatch.setattr(_psycopg, "_MISSING", "No module named 'psycopg'")
    assert "python3-psycopg" in run(state="gathered", fails=True)["msg"]


@pytest.mark.slow
def test_of_twenty_at_once_one_migrates(app: DbmateTree) -> None:
    """dbmate itself has no lock unless it is asked for one; all of them would begin with the first migration."""
    results = [finish(one) for one in [app.start(f"host{number}", lock_timeout=600) for number in range(20)]]
    assert [result.get("failed", False) for result in results] == [False] * 20
    assert sorted(result["changed"] for result in results) == [False] * 19 + [True]
    assert all(result["current"] == ["0003"] for result in results)
    assert app.users() == 1
