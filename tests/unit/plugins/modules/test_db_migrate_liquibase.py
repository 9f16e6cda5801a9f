# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Liquibase itself in a real PostgreSQL. Java starts in two seconds, so each of the tests here goes a long way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import LiquibaseTree, names
from tests.unit.plugins.modules.test_db_migrate_drivers import (
    AT_THE_GATE,
    LOCK_SESSIONS,
    OBJECTS,
    PASS_THE_GATE,
    SECOND_USER,
    descendants,
    gate,
)

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

# What Java compiles further pays only in a process that lives longer than Liquibase's.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
PATIENCE = 400  # seconds; on a host that has much else to do a Java may take a minute to start
LOCK = "SELECT locked, lockedby FROM databasechangeloglock"


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch) -> LiquibaseTree:
    monkeypatch.setenv("JAVA_OPTS", QUICK)
    return LiquibaseTree(tmp_path, postgres, database)


def test_up_to_a_changeset_all_the_way_and_down_again(app: LiquibaseTree, run: Run) -> None:
    """Check mode writes nothing, while Liquibase's status would make its tables; and an older tree undoes nothing that it does not know."""
    empty = app.query(OBJECTS)
    plan = run(check=True)
    assert [(one["revision"], one["phase"]) for one in plan["applied"]] == [
        (app.revision(1), "unmarked"),
        (app.revision(2), "expand"),
        (app.revision(3), "unmarked"),
    ]
    assert app.query(OBJECTS) == empty
    assert not (app.root / "state").exists()

    part = run(revision=app.revision(2))
    assert (part["current"], names(part["pending"])) == (app.revisions(2), app.revisions(3))
    rest = run()
    assert (names(rest["applied"]), rest["up_to_date"], app.users()) == (app.revisions(3), True, 1)

    third = app.path(3).read_text(encoding="utf-8")
    app.remove(3)
    older = run()
    assert (older["changed"], older["ahead"]) == (False, app.revisions(3))
    refused = run(state="downgraded", revision="-1", fails=True)
    assert f"{app.revision(3)}, which this tree does not know" in refused["msg"]
    app.path(3).write_text(third, encoding="utf-8")
    app.write_root()

    before = app.query(OBJECTS)
    assert names(run(state="downgraded", revision="base", check=True)["undone"]) == app.revisions(3, 2, 1)
    assert app.query(OBJECTS) == before
    down = run(state="downgraded", revision=app.revision(1))
    assert [(step["revision"], step["down"]) for step in down["undone"]] == [
        (app.revision(3), "yes"),
        (app.revision(2), "empty"),
    ]
    assert down["current"] == app.revisions(1)
    assert app.query("SELECT count(*) FROM information_schema.columns WHERE column_name = 'mail'") == [(0,)]


def test_a_changeset_that_fails_half_way_and_one_that_cannot_be_undone(app: LiquibaseTree, run: Run) -> None:
    """And neither the password nor another secret is in what is said, and a wait for a table ends in time."""
    app.url(f"{app.server.url(app.database)}?sslmode=disable", 'API_KEY="key-canary-77"\n')
    app.add(4, "CREATE TABLE half (id int); SELECT 'key-canary-77', 1/0", phase="contract")
    assert f"contract migrations: {app.revision(4)}" in run(fails=True)["msg"]
    failed = run(fails=True, allow_contract=True)
    assert "division by zero" in failed["msg"]
    assert (failed["current"], names(failed["applied"])) == (app.revisions(3), app.revisions(1, 2, 3))
    assert app.query("SELECT to_regclass('half')") == [(None,)]
    for secret in ("canary", app.server.password):
        assert secret not in json.dumps(failed)

    app.add(4, "ALTER TABLE users ADD half int")
    app.path(4).write_text(app.path(4).read_text(encoding="utf-8").replace("--rollback empty", ""), encoding="utf-8")
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as other:
        other.execute(b"BEGIN")
        other.execute(b"LOCK TABLE users")
        late = run(fails=True, ddl_lock_timeout="200ms", ddl_lock_retries=0)
    assert "another session uses the table" in late["msg"]
    again = run()
    assert names(again["applied"]) == app.revisions(4)
    assert f"to apply {app.revision(4)} ended with" in again["last_attempt"]
    refused = run(state="downgraded", revision=app.revision(2), fails=True)
    assert (f"cannot be undone: {app.revision(4)}" in refused["msg"], app.users()) == (True, 1)

    app.add(2, "INSERT INTO users (name) VALUES ('edited')")
    edited = run(fails=True)
    assert f"{app.revision(2)} was: 9:" in "\n".join(edited["output"])
    assert "Validation Failed" in edited["msg"]


def test_a_killed_run_leaves_a_lock_that_the_next_one_knows(app: LiquibaseTree, run: Run) -> None:
    """Two hosts at once find it: one goes on, and the other waits. What somebody else holds is left alone."""
    app.add(4, f"{SECOND_USER}; {PASS_THE_GATE}")
    with gate(app):
        first = app.start("host1", ddl_lock_timeout="0")
        until(lambda: app.query(AT_THE_GATE), PATIENCE)
        tools = descendants(first)
        assert tools
        for pid in tools:
            assert app.server.password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        first.kill()
        first.communicate()
        impatient = finish(app.start("host2", lock_timeout=0.1))
        assert f"{first.pid}'" in impatient["msg"]
        for pid in tools:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not app.query(AT_THE_GATE) and not app.query(LOCK_SESSIONS))
    ((locked, holder),) = app.query(LOCK)
    assert (locked, "#baton.db_migrate (" in holder) == (True, True)
    results = [
        finish(process, PATIENCE)
        for process in [app.start(f"host{number}", lock_timeout=PATIENCE) for number in (1, 2)]
    ]
    assert [result.get("failed", False) for result in results] == [False] * 2, results
    assert sorted(result["changed"] for result in results) == [False, True]
    assert app.users() == 2
    assert app.query(LOCK) == [(False, None)]

    app.query("UPDATE databasechangeloglock SET locked = true, lockedby = 'app1 (10.0.0.1)', lockgranted = now()")
    app.add(5, SECOND_USER)
    refused = run(fails=True)
    assert "held by app1 (10.0.0.1) since 20" in refused["msg"]
    assert "liquibase release-locks" in refused["msg"]
    assert app.users() == 2


PROPERTIES = """
# what the app says of itself
changelogFile: changelog.yaml
liquibase.databaseChangeLogTableName = shop_log
liquibase.liquibaseSchemaName=meta
url=jdbc:postgresql://elsewhere.invalid/other
password=nobody
"""
VIEW = "--liquibase formatted sql\n--changeset ann:view runOnChange:true\n{}\n--rollback DROP VIEW mails;\n"
ALWAYS = "--liquibase formatted sql\n--changeset ann:always runAlways:true\nSELECT 1;\n--rollback empty\n"


def test_names_of_its_own_and_what_runs_again(app: LiquibaseTree, run: Run) -> None:
    """What runs on each change is pending after one, and what runs each time is not in the way of a count."""
    (app.tree / "liquibase.properties").write_text(PROPERTIES, encoding="utf-8")
    del app.params["liquibase_changelog"]
    app.query("CREATE SCHEMA meta")
    (app.tree / "db" / "0000.sql").write_text(ALWAYS, encoding="utf-8")
    view = app.tree / "db" / "0004.sql"
    view.write_text(VIEW.format("CREATE VIEW mails AS SELECT mail FROM users;"), encoding="utf-8")
    app.write_root()
    assert len(run()["applied"]) == 5
    assert app.query("SELECT count(*) FROM meta.shop_log") == [(5,)]
    view.write_text(VIEW.format("CREATE OR REPLACE VIEW mails AS SELECT mail, id FROM users;"), encoding="utf-8")
    app.add(5, SECOND_USER)
    again = run(revision="db/0004.sql::view::ann")
    assert (names(again["applied"]), names(again["pending"])) == (["db/0004.sql::view::ann"], app.revisions(5))
    assert app.query("SELECT count(*) FROM information_schema.columns WHERE table_name = 'mails'") == [(2,)]


def test_it_is_rehearsed_like_any_other_tool(app: LiquibaseTree, run: Run) -> None:
    run()
    app.add(4, "ALTER TABLE users ADD born date", "ALTER TABLE users DROP born", phase="expand")
    told = run(rehearsal="required")["rehearsal"]
    assert [(one["level"], one["kind"], one["name"]) for one in told["changes"]] == [
        ("expand", "column", "public.users.born")
    ]
    assert (told["down"]["restores"], told["again"]["equal"]) == (True, True)


def test_what_is_missing_is_named(app: LiquibaseTree, run: Run) -> None:
    assert "no program /nonexistent" in run(fails=True, liquibase_program="/nonexistent")["msg"]
    assert "no nosuch.xml in" in run(fails=True, liquibase_changelog="nosuch.xml")["msg"]
    del app.params["liquibase_changelog"]
    assert "that names a changelogFile" in run(fails=True)["msg"]
    assert run(check=True)["known"] is False
