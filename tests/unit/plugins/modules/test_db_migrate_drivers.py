# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What holds for every driver, with the real tools in a real PostgreSQL: Django, knex, dbmate, Sqitch, and commands of an app.

In place of Flyway, which no test here can have, runs ``tests/fake_flyway.py``. Liquibase has tests of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg
from ansible_collections.baton.release.plugins.module_utils.migration_log import changes

from tests.unit.plugins.modules.db_migrate_called import Result, Run, finish, until
from tests.unit.plugins.modules.migration_trees import TREES, Tree, names

if typing.TYPE_CHECKING:
    import subprocess

    from tests.postgres import PostgresServer

OBJECTS = """
SELECT 'class', relname FROM pg_class UNION ALL SELECT 'schema', nspname FROM pg_namespace
UNION ALL SELECT 'function', proname FROM pg_proc UNION ALL SELECT 'role', rolname FROM pg_roles ORDER BY 1, 2
"""
GATE = 4712
AT_THE_GATE = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_advisory_xact_lock(4712)%' AND wait_event = 'advisory'"
)
PASS_THE_GATE = f"SELECT pg_advisory_xact_lock({GATE})"
SECOND_USER = "INSERT INTO users (name) VALUES ('second')"
LOCK_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'baton.db_migrate %'"


# Node.js starts in half a second, and the commands of the tree are knex once more.
SLOW = pytest.param("command", marks=pytest.mark.slow)
SLOW_DJANGO = pytest.param("django", marks=pytest.mark.slow)
SLOW_KNEX = pytest.param("knex", marks=pytest.mark.slow)


# Java starts in two seconds: what holds for all is in a few tests of its own for Liquibase.
@pytest.fixture(params=[SLOW, *sorted(set(TREES) - {"command", "liquibase"})])
def app(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, database: str) -> Tree:
    return TREES[request.param](tmp_path, postgres, database)


@contextlib.contextmanager
def gate(app: Tree) -> typing.Iterator[None]:
    """Hold up whatever wants to pass the gate."""
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as session:
        session.execute(f"SELECT pg_advisory_lock({GATE})".encode())
        yield


def descendants(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found: list[int] = []
    waiting = [process.pid]
    while waiting:
        below = [pid for pid, parent in parents.items() if parent == waiting[0]]
        found, waiting = [*found, *below], [*waiting[1:], *below]
    return found


def test_up_to_a_revision_all_the_way_and_down_again(app: Tree, run: Run) -> None:
    """And reading writes nothing: no table of the tool, no directory of ours."""
    empty = app.query(OBJECTS)
    where, plan = run(state="gathered"), run(check=True)
    assert (where["current"], names(where["pending"]), where["up_to_date"]) == ([], app.revisions(1, 2, 3), False)
    assert plan["changed"]
    assert names(plan["applied"]) == app.revisions(1, 2, 3)
    assert [one["phase"] for one in plan["applied"]] == ["unmarked", "expand", "unmarked"]
    assert app.query(OBJECTS) == empty
    assert not (app.root / "state").exists()

    part = run(revision=app.revision(2))
    assert (part["current"], names(part["pending"])) == (app.revisions(2), app.revisions(3))
    assert names(run(revision=app.revision(1), check=True)["applied"]) == []
    rest = run()
    assert (names(rest["applied"]), rest["up_to_date"]) == (app.revisions(3), True)
    assert not run()["changed"]
    assert app.users() == 1

    before = app.query(OBJECTS)
    assert names(run(state="downgraded", revision=app.revision(1), check=True)["undone"]) == app.revisions(3, 2)
    assert app.query(OBJECTS) == before
    one = run(state="downgraded", revision="-1")
    assert (names(one["undone"]), one["current"]) == (app.revisions(3), app.revisions(2))
    down = run(state="downgraded", revision=app.revision(1))
    # What the commands of the app say has no word about it.
    empty_way = "yes" if app.driver == "command" else "empty"
    assert [(step["revision"], step["down"]) for step in down["undone"]] == [(app.revision(2), empty_way)]
    assert not run(state="downgraded", revision=app.revision(1))["changed"]
    assert run(state="downgraded", revision="base")["current"] == []
    assert app.query("SELECT to_regclass('users')") == [(None,)]


def noted(app: Tree, host: str = "state") -> list[tuple[bool, list[str]]]:
    """Return what a host has noted of each attempt: whether its end is known, and the revisions that it has applied."""
    return [(one["known"], one["applied"]) for one in changes(app.root / host)]


def test_a_migration_that_fails_half_way_says_where_it_stands_and_runs_again(app: Tree, run: Run) -> None:
    """And neither the password nor another secret is in what is said."""
    app.url(f"{app.server.url(app.database)}?sslmode=disable", 'API_KEY="key-canary-77"\n')
    run()
    app.add(4, "CREATE TABLE half (id int); SELECT 'key-canary-77', 1/0")
    failed = run(fails=True)
    assert "division by zero" in failed["msg"]
    assert (failed["current"], failed["applied"]) == (app.revisions(3), [])
    assert app.query("SELECT to_regclass('half')") == [(None,)]
    for secret in ("canary", app.server.password):
        assert secret not in json.dumps(failed)
    assert f"to apply {app.revision(4)} ended with" in run(state="gathered")["last_attempt"]
    app.add(4, "CREATE TABLE half (id int)")
    again = run()
    assert names(again["applied"]) == app.revisions(4)
    assert f"to apply {app.revision(4)} ended with" in again["last_attempt"]
    assert run()["last_attempt"] == ""
    assert noted(app) == [(True, app.revisions(1, 2, 3)), (True, []), (True, app.revisions(4))]


def test_two_at_once_migrate_once(app: Tree) -> None:
    """Django without our lock would insert the first user twice."""
    results = [finish(process) for process in [app.start(f"host{number}") for number in range(2)]]
    assert [result.get("failed", False) for result in results] == [False] * 2, results
    assert sorted(result["changed"] for result in results) == [False, True]
    assert all(result["current"] == app.revisions(3) for result in results)
    assert app.users() == 1


def test_a_killed_module_leaves_the_lock_to_its_tool(app: Tree, run: Run) -> None:
    run()
    app.add(4, f"{PASS_THE_GATE}; {SECOND_USER}")
    with gate(app):
        first = app.start("host1", ddl_lock_timeout="0")
        until(lambda: app.query(AT_THE_GATE))
        for pid in descendants(first):
            assert app.server.password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        first.kill()
        first.communicate()
        assert noted(app, "host1")[-1] == (False, app.revisions(4))
        impatient = finish(app.start("host2", lock_timeout=0.1))
        assert f"{first.pid}'" in impatient["msg"]
        assert impatient["holder"]["application_name"].endswith(f" {first.pid}")
    second = finish(app.start("host1"))
    assert (second["changed"], second["current"]) == (False, app.revisions(4)), second
    assert "was cut off" in second["last_attempt"]
    assert noted(app, "host1")[-1] == (True, app.revisions(4))
    assert app.users() == 2


def test_a_killed_tool_leaves_nothing_and_the_next_run_starts_over(app: Tree, run: Run) -> None:
    run()
    app.add(4, f"{SECOND_USER}; {PASS_THE_GATE}")
    with gate(app):
        first = app.start("state", ddl_lock_timeout="0")
        until(lambda: app.query(AT_THE_GATE))
        for pid in (first.pid, *descendants(first)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first.communicate()
        # Since PostgreSQL 14 the server notices by itself that its client is gone.
        until(lambda: not app.query(AT_THE_GATE) and not app.query(LOCK_SESSIONS))
    again = run()
    assert names(again["applied"]) == app.revisions(4)
    assert "was cut off" in again["last_attempt"]
    assert noted(app)[1:] == [(True, []), (True, app.revisions(4))]
    assert app.users() == 2


def test_an_older_tree_undoes_nothing_that_it_does_not_know(app: Tree, run: Run) -> None:
    run()
    app.remove(3)
    for check in (False, True):
        result = run(check=check)
        assert (result["changed"], result["ahead"], result["up_to_date"]) == (False, app.revisions(3), False)
        assert "ahead of this tree" in result["msg"]
    for revision in (app.revision(1), "-1", "base"):
        refused = run(state="downgraded", revision=revision, fails=True)
        assert f"{app.revision(3)}, which this tree does not know" in refused["msg"]
    assert run(state="gathered")["current"] == app.revisions(3)
    assert app.query("SELECT mail FROM users") == [(None,)]


@pytest.mark.parametrize("app", ["dbmate", "knex", "sqitch", SLOW, SLOW_DJANGO], indirect=True)
def test_contract_migrations_need_leave(app: Tree, run: Run) -> None:
    app.add(4, "ALTER TABLE users DROP name", phase="contract")
    for check in (False, True):
        refused = run(check=check, fails=True)
        assert f"contract migrations: {app.revision(4)}" in refused["msg"]
    assert run(revision=app.revision(3))["current"] == app.revisions(3)
    assert [one["phase"] for one in run(allow_contract=True)["applied"]] == ["contract"]
    app.add(5, "SELECT 1", phase="contarct")
    assert "with the phase 'contarct'" in (refused := run(fails=True)["msg"]) or "phase as one of" in refused


@pytest.mark.parametrize("app", ["dbmate", "sqitch", SLOW, SLOW_DJANGO, SLOW_KNEX], indirect=True)
def test_a_migration_waits_for_a_table_only_as_long_as_it_may(app: Tree, run: Run) -> None:
    run(revision=app.revision(2))
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as other:
        other.execute(b"BEGIN")
        other.execute(b"LOCK TABLE users")
        failed = run(fails=True, ddl_lock_timeout="200ms", ddl_lock_retries=0)
    assert "another session uses the table" in failed["msg"]
    app.add(3, "SELECT pg_sleep(30)")
    assert "raise statement_timeout" in run(fails=True, statement_timeout="300ms")["msg"]


@pytest.mark.parametrize("app", ["knex", "sqitch", SLOW_DJANGO], indirect=True)
def test_what_a_migration_without_a_transaction_left_behind_is_explained(app: Tree, run: Run) -> None:
    run()
    app.add(4, "CREATE TABLE half (id int); SELECT 1/0", transaction=False)
    assert "may have left something behind" in run(fails=True)["msg"]
    assert app.query("SELECT to_regclass('half') IS NOT NULL") == [(True,)]
    again = run(fails=True)
    assert "remove that part by hand" in again["msg"]
    assert "; before, the attempt of 20" in again["msg"]


@pytest.mark.parametrize("app", ["dbmate"], indirect=True)
def test_an_index_that_was_left_behind_is_named_until_it_is_gone(app: Tree, run: Run) -> None:
    run()
    app.query("INSERT INTO users (name) VALUES ('first')")
    app.add(4, "CREATE UNIQUE INDEX CONCURRENTLY one_name ON users (name)", transaction=False)
    for _attempt in range(2):
        failed = run(fails=True)
        assert failed["invalid_indexes"] == ["public.one_name"]
        assert "DROP INDEX CONCURRENTLY" in failed["msg"]
    app.query("DELETE FROM users WHERE id > 1")
    app.query("DROP INDEX one_name")
    assert run()["invalid_indexes"] == []


@pytest.mark.parametrize("app", ["knex"], indirect=True)
def test_a_lock_of_knex_that_outlived_its_process_is_explained(app: Tree, run: Run) -> None:
    run()
    app.add(4, f"{PASS_THE_GATE}; {SECOND_USER}", transaction=False)
    with gate(app):
        first = app.start("state", ddl_lock_timeout="0")
        until(lambda: app.query(AT_THE_GATE))
        for pid in (first.pid, *descendants(first)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first.communicate()
        until(lambda: not app.query(AT_THE_GATE) and not app.query(LOCK_SESSIONS))
    refused = run(fails=True)
    assert "a lock in knex_migrations_lock, although no db_migrate is running" in refused["msg"]
    assert "knex migrate:unlock" in refused["msg"]
    assert run(state="gathered")["current"] == app.revisions(3)
    app.query("UPDATE knex_migrations_lock SET is_locked = 0")
    assert names(run()["applied"]) == app.revisions(4)


@pytest.mark.parametrize("app", ["dbmate", SLOW_DJANGO], indirect=True)
def test_a_hotfix_beside_what_a_newer_version_applied_is_applied(app: Tree, run: Run) -> None:
    run()
    app.remove(3)
    app.path(3).with_name(app.path(3).name.replace("step", "fix").replace("0003", "0004")).write_text(
        app.path(2).read_text(encoding="utf-8").replace("0001_step", "0002_step"), encoding="utf-8"
    )
    result = run()
    assert len(result["applied"]) == 1
    assert app.users() == 2
    assert "which this tree does not know" in run(state="downgraded", revision=app.revision(1), fails=True)["msg"]


@pytest.mark.parametrize("app", ["django"], indirect=True)
@pytest.mark.parametrize(
    "option",
    [
        {"commands": {"status": ["x"], "up": ["x"]}},
        {"dbmate_directory": "x"},
        {"dbmate_program": "/x"},
        {"flyway_program": "/x"},
        {"knex_file": "x"},
        {"knex_node": "/x"},
        {"liquibase_changelog": "x"},
        {"liquibase_program": "/x"},
        {"sqitch_program": "/x"},
        {"sqitch_registry": "x"},
    ],
)
def test_an_option_of_another_driver_is_refused(run: Run, option: Result) -> None:
    assert f"the option {next(iter(option))} with the driver django" in run(fails=True, **option)["msg"]
