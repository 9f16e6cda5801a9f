# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about MariaDB: its locks, its limits, what it cannot take back, and that nothing is rehearsed there."""

from __future__ import annotations

import contextlib
import time
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils import _pymysql
from ansible_collections.baton.release.plugins.module_utils.migration_lock_mysql import lock_name, mysql_lock

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import Tree, names
from tests.unit.plugins.modules.other_database_trees import ON_MARIADB, exists

if typing.TYPE_CHECKING:
    from pathlib import Path

    import pymysql

    from tests.mariadb import MariaServer

WAITING = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND STATE LIKE 'Waiting for table metadata lock'"
LOST = "the session that held the migration lock has ended meanwhile"

PATIENCE = 400  # seconds; on a host that has much else to do a module may take a minute to start


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path, mariadb: MariaServer) -> Tree:
    return ON_MARIADB[getattr(request, "param", "dbmate")](tmp_path, mariadb, mariadb.create_database())


@contextlib.contextmanager
def report(app: Tree, maria: MariaServer) -> typing.Iterator[pymysql.cursors.Cursor]:
    """Have a transaction use the table and not end."""
    with maria.connect(app.database) as session, session.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM users")
        yield cursor


def lock_session(app: Tree) -> int:
    """Return the connection that holds the migration lock."""
    return int(app.query(f"SELECT IS_USED_LOCK('{lock_name(app.database)}')")[0][0] or 0)


def test_what_waits_in_vain_is_tried_again_only_where_nothing_can_be_there_twice(
    app: Tree, run: Run, mariadb: MariaServer
) -> None:
    run(revision=app.revision(2))
    with report(app, mariadb) as other:
        process = app.start("state", ddl_lock_timeout="1s", ddl_lock_retries=20)
        until(lambda: app.query(WAITING), PATIENCE)
        until(lambda: not app.query(WAITING), PATIENCE)
        other.execute("COMMIT")
        done = finish(process)
    assert (names(done["applied"]), done["lock_timeouts"] > 0) == (app.revisions(3), True), done
    twice = "INSERT INTO users (name) VALUES ('second'); ALTER TABLE users ADD later int"
    app.query(f"CREATE PROCEDURE twice() BEGIN {twice}; END")
    for users, statements in ((2, twice), (3, "CALL twice()")):
        app.add(4, statements)
        with report(app, mariadb):
            failed = run(fails=True, ddl_lock_timeout="1s", ddl_lock_retries=20)
        assert "Lock wait timeout exceeded" in failed["msg"]
        assert "another session uses the table: run again when its transaction is over" in failed["msg"]
        assert (failed["lock_timeouts"], failed["stands"], app.users()) == (1, [], users)


def test_a_statement_runs_only_as_long_as_it_may(app: Tree, run: Run) -> None:
    run()
    app.add(4, "INSERT INTO users (name) SELECT SLEEP(30)")
    assert "raise statement_timeout" in run(fails=True, statement_timeout="300ms")["msg"]


def test_a_lock_that_is_lost_is_noticed(app: Tree, run: Run, mariadb: MariaServer) -> None:
    """Nothing is tried again, and a migration that ends well says so."""
    run(revision=app.revision(2))
    with report(app, mariadb) as other:
        process = app.start("state", ddl_lock_timeout="0")
        until(lambda: app.query(WAITING), PATIENCE)
        app.query(f"KILL {lock_session(app)}")
        other.execute("COMMIT")
        done = finish(process)
    assert (done["changed"], done["current"]) == (True, app.revisions(3)), done
    assert LOST in done["msg"]
    app.add(4, "ALTER TABLE users ADD later int")
    with report(app, mariadb):
        process = app.start("state", ddl_lock_timeout="2s", ddl_lock_retries=5)
        until(lambda: app.query(WAITING), PATIENCE)
        app.query(f"KILL {lock_session(app)}")
        failed = finish(process)
    assert (failed["failed"], failed["lock_timeouts"]) == (True, 1), failed
    assert LOST in failed["msg"]


def test_what_a_killed_run_has_left_in_the_server_is_waited_for(app: Tree, run: Run, mariadb: MariaServer) -> None:
    run(revision=app.revision(2))
    with report(app, mariadb) as other, mariadb.connect(app.database) as left:
        # As a tool whose client is gone: the server goes on.
        left._execute_command(3, "ALTER TABLE users ADD left_behind int")
        until(lambda: app.query(WAITING), PATIENCE)
        refused = run(fails=True, lock_timeout=0.1)
        assert (
            "which changes the schema without the migration lock (ALTER TABLE users ADD left_behind" in refused["msg"]
        )
        assert f"KILL {left.thread_id()}" in refused["msg"]
        process = app.start("state")
        until(lambda: lock_session(app), PATIENCE)
        other.execute("COMMIT")
    assert finish(process)["current"] == app.revisions(3)
    assert exists(app, "users", "left_behind")


def test_a_server_that_ends_idle_sessions_does_not_end_that_of_the_lock(app: Tree, mariadb: MariaServer) -> None:
    mariadb.query("mysql", "SET GLOBAL wait_timeout = 1")
    try:
        with mysql_lock(app.address(), wait=0) as session:
            time.sleep(2.5)
            assert session.held()
    finally:
        mariadb.query("mysql", "SET GLOBAL wait_timeout = 28800")


@pytest.mark.parametrize("app", ["knex"], indirect=True)
def test_a_knexfile_of_another_database_is_refused(app: Tree, run: Run) -> None:
    app.url("postgresql://127.0.0.1:1/x")
    refused = run(state="gathered", fails=True)["msg"]
    assert "a knexfile for mysql, and a database URL of PostgreSQL" in refused


def test_a_server_that_is_read_only_is_refused(app: Tree, run: Run, mariadb: MariaServer) -> None:
    mariadb.query("mysql", "SET GLOBAL read_only = 1")
    try:
        assert "a server that is read-only" in run(fails=True)["msg"]
    finally:
        mariadb.query("mysql", "SET GLOBAL read_only = 0")
    assert not exists(app, "users")


@pytest.mark.parametrize("app", ["alembic"], indirect=True)
def test_an_env_py_that_writes_while_it_is_read_is_refused_by_the_server(app: Tree, run: Run) -> None:
    path = app.tree / "migrations" / "env.py"
    writing = '    connection.execute(sqlalchemy.text("CREATE TABLE x (i int)"))\n    context.configure'
    path.write_text(path.read_text(encoding="utf-8").replace("    context.configure", writing), encoding="utf-8")
    assert "env.py writes to the database while it is only read" in run(state="gathered", fails=True)["msg"]
    assert not exists(app, "x")


def test_nothing_is_rehearsed_and_that_is_said(app: Tree, run: Run) -> None:
    told = run(check=True, rehearsal="report")["rehearsal"]
    assert (told["made"], told["level"]) == (False, "review")
    assert "a database of MySQL or MariaDB, in which migrations are not rehearsed" in told["why"]
    assert f"review: {app.revision(1)}, which has no mark" in "\n".join(told["report"])
    for options in ({"rehearsal": "required"}, {"state": "rehearsed"}, {"rehearsal": "required", "check": True}):
        assert "in which migrations are not rehearsed" in run(fails=True, **options)["msg"]
    assert not exists(app, "users")
    done = run(rehearsal="report")
    assert (done["rehearsal"]["level"], done["current"]) == ("review", app.revisions(3))
    app.add(4, "ALTER TABLE users ADD later int", phase="expand")
    assert run(rehearsal="report")["rehearsal"]["level"] == "expand"
    app.add(5, "ALTER TABLE users DROP name", phase="contract")
    assert "contract migrations" in run(fails=True, rehearsal="report")["msg"]
    assert run(rehearsal="report", allow_contract=True)["rehearsal"]["level"] == "contract"


def test_what_is_wrong_is_said_in_words(
    app: Tree, run: Run, mariadb: MariaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.url(mariadb.url(app.database, password="".join(["wrong-", "canary"])))
    failed = run(fails=True)
    assert "does not accept the user or the password" in failed["msg"]
    assert "canary" not in str(failed)
    app.url(mariadb.url("nosuch"))
    assert "the server has no such database" in run(fails=True)["msg"]
    app.url(f"mysql://shop:{mariadb.password}@127.0.0.1:1/x")
    assert "the database does not answer" in run(fails=True)["msg"]
    app.url(app.address())
    assert "rehearsal_url_variable with MySQL or MariaDB" in run(fails=True, rehearsal_url_variable="X")["msg"]
    monkeypatch.setattr(_pymysql, "_MISSING", "No module named 'pymysql'")
    missing = run(fails=True)["msg"]
    assert "python3-pymysql" in missing
    assert "pip install PyMySQL" in missing


def test_a_run_waits_no_longer_than_it_may_for_the_lock_of_another(app: Tree, run: Run, mariadb: MariaServer) -> None:
    with mariadb.connect(app.database) as session, session.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (lock_name(app.database),))
        started = time.monotonic()
        refused = run(fails=True, lock_timeout=0.5)
        assert time.monotonic() - started >= 0.5
        assert refused["holder"]["pid"] == session.thread_id()
        assert f"KILL {session.thread_id()}" in refused["msg"]
    assert run()["current"] == app.revisions(3)
