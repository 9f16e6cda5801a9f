# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about Flyway: editions without undo, its order, failures that it notes, and where it finds the database.

NOT with Flyway itself, which no test here can have: ``tests/fake_flyway.py`` answers as Flyway documents, in a real PostgreSQL.
"""

from __future__ import annotations

import typing

import pytest

from tests.unit.plugins.modules.migration_trees import FlywayTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer
    from tests.unit.plugins.modules.db_migrate_called import Result, Run


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> FlywayTree:
    return FlywayTree(tmp_path, postgres, database)


def test_an_edition_without_undo_goes_up_and_refuses_to_go_down(app: FlywayTree, run: Run) -> None:
    without: Result = {"environment": {"FAKE_FLYWAY_EDITION": "oss"}}
    assert run(**without)["changed"]
    for check in (False, True):
        refused = run(state="downgraded", revision="1", check=check, fails=True, **without)
        assert "says of none of its migrations that it can be undone" in refused["msg"]
    assert run(state="gathered", **without)["current"] == ["3"]
    (app.tree / "migrations" / "U3__step.sql").unlink()
    assert "cannot be undone: 3" in run(state="downgraded", revision="1", fails=True)["msg"]


def test_a_migration_that_came_late_is_refused_in_words(app: FlywayTree, run: Run) -> None:
    app.remove(2)
    run()
    app.add(2, "INSERT INTO users (name) VALUES ('late')")
    assert "2, older than what is applied; nothing was changed" in run(fails=True)["msg"]
    assert app.users() == 0


def test_what_flyway_notes_as_failed_is_explained(app: FlywayTree, run: Run) -> None:
    run()
    app.add(4, "CREATE TABLE half (id int); SELECT 1/0", transaction=False)
    failed = run(fails=True)
    assert "division by zero" in "\n".join(failed["output"])
    assert failed["current"] == ["3"]
    assert "4, which Flyway has noted as failed" in run(fails=True)["msg"]
    assert names(run(state="gathered")["pending"]) == ["4"]


def test_a_wait_for_a_table_ends_in_time_by_the_address_alone(app: FlywayTree, run: Run) -> None:
    run(revision="2")
    app.add(3, "SELECT pg_sleep(30)")
    assert "raise statement_timeout" in run(fails=True, statement_timeout="300ms")["msg"]


def test_what_is_missing_is_named(app: FlywayTree, run: Run) -> None:
    assert "no program /nonexistent" in run(fails=True, flyway_program="/nonexistent")["msg"]
    app.params["flyway_program"] = "/bin/echo"
    assert "the app's configuration of Flyway" in run(fails=True)["msg"]
