# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A table that another transaction holds: who that is, how often it is tried, what is left behind, and that it goes on afterwards."""

from __future__ import annotations

import contextlib
import time
import typing
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import DbmateTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> DbmateTree:
    return DbmateTree(tmp_path, postgres, database)


@contextlib.contextmanager
def report(app: DbmateTree, statement: str = "SELECT count(*) FROM users") -> typing.Iterator[int]:
    """Have a transaction use the table and not end, and give the pid of its session in the server."""
    with _psycopg.connect({}, app.server.url(app.database), application_name="nightly report") as session:
        session.execute(b"BEGIN")
        session.execute(statement.encode())
        yield session.info.backend_pid


def test_who_holds_the_table_is_named_and_the_same_command_succeeds_when_it_is_over(app: DbmateTree, run: Run) -> None:
    run(revision=app.revision(2))
    with report(app) as pid:
        failed = run(fails=True, ddl_lock_timeout="1s", ddl_lock_retries=1)
    assert f"users was held by server process {pid} (role postgres, 'nightly report', from 127.0.0.1," in failed["msg"]
    assert "idle in transaction, its transaction began at 20" in failed["msg"]
    assert f"run again when its transaction is over, or end it (SELECT pg_terminate_backend({pid}))" in failed["msg"]
    assert "it was tried 2 times" in failed["msg"]
    blocker = failed["blockers"][0]
    assert (len(failed["blockers"]), blocker["pid"], blocker["table"]) == (1, pid, "users")
    assert (failed["lock_timeouts"], failed["applied"], failed["current"]) == (2, [], app.revisions(2))
    assert names(run()["applied"]) == app.revisions(3)


def test_it_is_not_tried_again_when_its_time_would_be_over(app: DbmateTree, run: Run) -> None:
    """The pauses would be 1, 2, 4 and more seconds, and minutes altogether."""
    run(revision=app.revision(2))
    with report(app):
        started = time.monotonic()
        failed = run(fails=True, ddl_lock_timeout="200ms", ddl_lock_retries=20, timeout=6)
    assert "lock timeout" in failed["msg"]
    assert failed["lock_timeouts"] in (1, 2, 3)
    assert time.monotonic() - started < 60


def test_an_index_that_waited_in_vain_is_named_with_who_kept_it_and_not_tried_again(app: DbmateTree, run: Run) -> None:
    run()
    app.add(4, "CREATE INDEX CONCURRENTLY by_name ON users (name)", transaction=False)
    # It lets readers be, and waits for who has written.
    with report(app, "UPDATE users SET name = 'second'") as pid:
        failed = run(fails=True, ddl_lock_timeout="1s", ddl_lock_retries=3)
    assert f"it waited for server process {pid} (role postgres, 'nightly report'" in failed["msg"]
    assert "run DROP INDEX CONCURRENTLY public.by_name; another session uses the table" in failed["msg"]
    assert (failed["invalid_indexes"], failed["lock_timeouts"]) == (["public.by_name"], 1)
    assert "run DROP INDEX CONCURRENTLY public.by_name" in run(fails=True)["msg"]
    app.query("DROP INDEX by_name")
    assert names(run()["applied"]) == app.revisions(4)


def test_an_index_of_no_use_that_a_migration_skips_is_told(app: DbmateTree, run: Run) -> None:
    run()
    app.query("INSERT INTO users (name) VALUES ('first')")
    with contextlib.suppress(_psycopg.DatabaseError):
        app.query("CREATE UNIQUE INDEX CONCURRENTLY one_name ON users (name)")
    app.add(4, "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_name ON users (name)", transaction=False)
    assert "invalid indexes, which are of no use: public.one_name" in run()["msg"]


LOST = "the session that held the migration lock has ended meanwhile"
WAITS = "wait_event_type = 'Lock' AND query LIKE '%{words}%'"
WAITING = "SELECT pid FROM pg_stat_activity WHERE {which}"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
OF_THE_LOCK = "datname = current_database() AND application_name LIKE 'baton.db_migrate %' AND application_name NOT LIKE '%looking out'"


def test_without_its_lock_nothing_is_tried_again(app: DbmateTree) -> None:
    app.add(4, "CREATE INDEX CONCURRENTLY by_name ON users (name)", transaction=False)
    finish(app.start("state", revision=app.revision(2)))
    with report(app):
        process = app.start("state", ddl_lock_timeout="2s", ddl_lock_retries=5)
        until(lambda: app.query(WAITING.format(which=WAITS.format(words="ADD mail"))))
        app.query(TERMINATE.format(which=OF_THE_LOCK))
        failed = finish(process)
    assert (failed["failed"], failed["lock_timeouts"]) == (True, 1)
    assert LOST in failed["msg"]


def test_what_is_left_is_named_although_the_lock_is_lost(app: DbmateTree, run: Run) -> None:
    run()
    app.add(4, "CREATE INDEX CONCURRENTLY by_name ON users (name)", transaction=False)
    with report(app, "UPDATE users SET name = 'second'"):
        process = app.start("state", ddl_lock_timeout="0")
        waiting = WAITS.format(words="CONCURRENTLY by_name")
        until(lambda: app.query(WAITING.format(which=waiting)))
        app.query(TERMINATE.format(which=OF_THE_LOCK))
        app.query(TERMINATE.format(which=waiting))
        failed = finish(process)
    assert LOST in failed["msg"]
    assert failed["invalid_indexes"] == ["public.by_name"]


def test_a_migration_that_ends_well_without_its_lock_says_so(app: DbmateTree, run: Run) -> None:
    run(revision=app.revision(2))
    with report(app):
        process = app.start("state", ddl_lock_timeout="0")
        until(lambda: app.query(WAITING.format(which=WAITS.format(words="ADD mail"))))
        app.query(TERMINATE.format(which=OF_THE_LOCK))
    done = finish(process)
    assert (done["changed"], done["current"]) == (True, app.revisions(3))
    assert LOST in done["msg"]


def test_a_rehearsed_migration_waits_beside_the_queue_and_says_for_whom(app: DbmateTree, run: Run) -> None:
    """Not even another one that wants the table for itself has to wait: there is no statement of the migration in line."""
    run(revision=app.revision(2))
    run(state="rehearsed", rehearsal="required")
    with report(app) as pid, ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(run, fails=True, rehearsal="required", lock_timeout=3, ddl_lock_retries=0)
        longest = 0.0
        while not waiting.done():
            began = time.monotonic()
            with _psycopg.connect({}, app.server.url(app.database), application_name="a request") as session:
                session.execute(b"SELECT count(*) FROM users")
            longest = max(longest, time.monotonic() - began)
        failed = waiting.result()
    assert f"users was held by server process {pid} (role postgres, 'nightly report'" in failed["msg"]
    assert f"run again when its transaction is over, or end it (SELECT pg_terminate_backend({pid}))" in failed["msg"]
    assert "nothing was changed" in failed["msg"]
    assert [one["pid"] for one in failed["blockers"]] == [pid]
    assert "lock_timeouts" not in failed  # the tool was not started
    assert longest < 2
    assert names(run(rehearsal="required", lock_timeout=3)["applied"]) == app.revisions(3)


def test_a_rehearsed_migration_begins_when_the_transaction_is_over(app: DbmateTree, run: Run) -> None:
    run(revision=app.revision(2))
    with ThreadPoolExecutor(1) as beside:
        with report(app):
            waiting = beside.submit(
                run, rehearsal="required", lock_timeout=60, ddl_lock_timeout="1ms", ddl_lock_retries=0
            )
            time.sleep(5)
            assert not waiting.done()
        done = waiting.result()
    assert (names(done["applied"]), done["lock_timeouts"]) == (app.revisions(3), 0)
