# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Migrations of a real app tree, with the real Alembic, in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import sys
import time
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg

from tests.postgres import postgres_server
from tests.unit.plugins.modules.alembic_tree import App, sql
from tests.unit.plugins.modules.db_migrate_called import Result, Run, finish, until

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer


OBJECTS = """
SELECT 'class', relname FROM pg_class UNION ALL SELECT 'schema', nspname FROM pg_namespace
UNION ALL SELECT 'function', proname FROM pg_proc UNION ALL SELECT 'role', rolname FROM pg_roles ORDER BY 1, 2
"""
GATE = 4711
MIGRATING = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_advisory_xact_lock%' AND wait_event = 'advisory'"
LOCK_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'baton.db_migrate%'"


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> App:
    return App(tmp_path, postgres, database)


def revisions(migrations: list[dict[str, str]]) -> list[str]:
    return [one["revision"] for one in migrations]


# --- up, down, read ---


def test_upgrading_applies_everything_once_and_says_what(app: App, run: Run) -> None:
    first = run()
    assert first["changed"]
    assert (first["current_before"], first["current"], first["heads"]) == ([], ["0003"], ["0003"])
    assert first["applied"] == [
        {"revision": "0001", "description": "make users", "phase": "unmarked"},
        {"revision": "0002", "description": "first user", "phase": "expand"},
        {"revision": "0003", "description": "add mail", "phase": "unmarked"},
    ]
    assert (first["pending"], first["up_to_date"], first["known"]) == ([], True, True)
    again = run()
    assert not again["changed"]
    assert again["applied"] == []
    assert again["msg"] == "0003 is applied already"
    assert app.users() == 1


def test_upgrading_to_a_revision_stops_there_and_never_goes_down(run: Run) -> None:
    result = run(revision="0002")
    assert result["current"] == ["0002"]
    assert revisions(result["pending"]) == ["0003"]
    assert not result["up_to_date"]
    assert not run(revision="0001")["changed"]
    assert revisions(run()["applied"]) == ["0003"]


def test_downgrading_undoes_what_is_above_and_reports_empty_ways_down(app: App, run: Run) -> None:
    run()
    down = run(state="downgraded", revision="0001")
    assert down["changed"]
    assert [(one["revision"], one["down"]) for one in down["undone"]] == [("0003", "yes"), ("0002", "empty")]
    assert down["current"] == ["0001"]
    assert not run(state="downgraded", revision="0001")["changed"]
    assert run(state="downgraded", revision="base")["current"] == []
    assert app.query("SELECT to_regclass('users')") == [(None,)]


def test_a_migration_that_cannot_be_undone_is_named_before_anything_is_undone(app: App, run: Run) -> None:
    app.add("0002", "0001", "split names", sql("SELECT 1"), down='raise NotImplementedError("the old names are gone")')
    run()
    refused = run(state="downgraded", revision="0001", fails=True)
    assert refused["irreversible"] == ["0002"]
    assert run(state="gathered")["current"] == ["0003"]


@pytest.mark.parametrize("after", [None, "0002"])
def test_reading_writes_nothing(app: App, run: Run, after: str | None) -> None:
    if after:
        run(revision=after)
    before = app.query(OBJECTS)
    result = run(state="gathered", check=False)
    run(check=True)
    assert app.query(OBJECTS) == before
    assert not result["changed"]
    assert result["current"] == ([after] if after else [])
    assert revisions(result["pending"]) == ["0001", "0002", "0003"][2 if after else 0 :]
    assert not (app.root / "state").exists() or after


def test_an_env_py_that_writes_while_it_is_read_is_refused_by_the_server(app: App, run: Run) -> None:
    app.env_py('connection.execute(sqlalchemy.text("CREATE SCHEMA shop")); connection.commit()')
    assert "env.py writes to the database" in run(state="gathered", fails=True)["msg"]
    assert app.query("SELECT 1 FROM pg_namespace WHERE nspname = 'shop'") == []


# --- check mode ---


def test_check_mode_plans_and_changes_nothing(app: App, run: Run) -> None:
    plan = run(check=True)
    assert plan["changed"]
    assert plan["msg"] == "would apply 0001, 0002, 0003"
    assert revisions(plan["applied"]) == revisions(plan["pending"]) == ["0001", "0002", "0003"]
    assert plan["current"] == []
    assert app.query("SELECT to_regclass('alembic_version')") == [(None,)]
    assert not (app.root / "state").exists()
    run()
    down = run(check=True, state="downgraded", revision="0002")
    assert revisions(down["undone"]) == ["0003"]
    assert run(state="gathered")["current"] == ["0003"]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ({"project_dir": "/nonexistent"}, "no directory /nonexistent"),
        ({"project_dir": "/"}, "no alembic.ini in /"),
        ({"python": "/nonexistent/python"}, "no interpreter /nonexistent/python"),
        (
            {"env_files": ["/nonexistent.env"]},
            "no DATABASE_URL in the tool's environment; these env files do not exist",
        ),
        ({"env_files": []}, "no DATABASE_URL"),
    ],
)
def test_what_is_not_there_yet_fails_a_run_but_not_a_plan(
    run: Run, missing: Result, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert reason in run(fails=True, **missing)["msg"]
    unknown = run(check=True, **missing)
    assert (unknown["known"], unknown["changed"], unknown["pending"]) == (False, False, [])
    assert reason in unknown["msg"]
    likely = run(check=True, revisions=[{"revision": "0004", "phase": "contract"}], **missing)
    assert likely["changed"]
    assert likely["pending"] == [{"revision": "0004", "description": "", "phase": "contract"}]


# --- exactly once ---


def test_four_at_once_migrate_once(app: App) -> None:
    results = [finish(process) for process in [app.start(f"host{number}") for number in range(4)]]
    assert [result.get("failed", False) for result in results] == [False] * 4
    assert sorted(result["changed"] for result in results) == [False, False, False, True]
    assert all(result["current"] == ["0003"] for result in results)
    assert app.users() == 1


def test_a_killed_module_leaves_the_lock_to_the_tool_that_goes_on(app: App) -> None:
    """The migration runs until the test lets it pass a gate, an advisory lock."""
    gate_up = f"SELECT pg_advisory_xact_lock({GATE}), pg_sleep(0.3)"
    app.add("0004", "0003", "slow", f"{sql(gate_up)}; {sql('INSERT INTO users DEFAULT VALUES')}")
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as gate:
        gate.execute(f"SELECT pg_advisory_lock({GATE})".encode())
        first = app.start("host1", ddl_lock_timeout="0")
        until(lambda: app.query(MIGRATING))
        first.kill()
        first.communicate()
        second = app.start("host2", ddl_lock_timeout="0")
        until(lambda: len(app.query(LOCK_SESSIONS)) == 2)
        time.sleep(0.3)
        assert second.poll() is None
        assert len(app.query(MIGRATING)) == 1
        impatient = finish(app.start("host3", lock_timeout=0.1))
        assert f"'baton.db_migrate {os.uname().nodename[:30]} {first.pid}'" in impatient["msg"]
        gate.execute(f"SELECT pg_advisory_unlock({GATE})".encode())
    result = finish(second)
    assert not result["changed"], result
    assert result["current"] == ["0004"]
    assert app.users() == 2


def test_a_lock_that_is_not_to_be_had_names_its_holder(app: App, run: Run) -> None:
    name = "somebody else"
    with _psycopg.connect({}, app.server.url(app.database), application_name=name) as other:
        other.execute(b"SELECT pg_advisory_lock(hashtextextended('baton.db_migrate:' || current_database(), 0))")
        started = time.monotonic()
        refused = run(fails=True, lock_timeout=0.3)
        assert time.monotonic() - started < 5
        assert f"server process {other.info.backend_pid} ('somebody else', connected since 20" in refused["msg"]
        assert refused["holder"]["pid"] == other.info.backend_pid
        assert run(check=True)["changed"]  # a plan needs no lock
    assert run(lock_timeout=0)["changed"]


# --- what is refused, and what fails ---


def test_a_schema_ahead_of_the_tree_is_said_and_not_a_failure(app: App, run: Run) -> None:
    run()
    app.remove("0003")
    for check in (False, True):
        result = run(check=check)
        assert (result["changed"], result["ahead"], result["pending"], result["up_to_date"]) == (
            False,
            ["0003"],
            [],
            False,
        )
        assert "ahead of this tree" in result["msg"]
    assert run(state="gathered")["ahead"] == ["0003"]
    assert "which this tree does not know" in run(state="downgraded", revision="0001", fails=True)["msg"]


def test_contract_migrations_need_leave(app: App, run: Run) -> None:
    app.add("0004", "0003", "drop name", sql("ALTER TABLE users DROP name"), header='phase = "contract"')
    for check in (False, True):
        refused = run(check=check, fails=True)
        assert "contract migrations: 0004" in refused["msg"]
        assert "revision: 0003" in refused["msg"]
    assert run(state="gathered")["current"] == []
    assert run(revision="0003")["current"] == ["0003"]
    assert run(allow_contract=True)["applied"] == [
        {"revision": "0004", "description": "drop name", "phase": "contract"}
    ]


def test_a_failing_migration_leaves_nothing_half_done_and_no_secret_in_the_result(app: App, run: Run) -> None:
    password, encoded, key = "s3cret-c@nary/+%", "s3cret-c%40nary%2F%2B%25", "key-canary-77"
    app.server.query("postgres", f"CREATE ROLE {app.database}_app LOGIN PASSWORD '{password}'")
    app.query(f"GRANT ALL ON SCHEMA public TO {app.database}_app")
    app.url(
        f"postgresql+psycopg://{app.database}_app:{encoded}@127.0.0.1:{app.server.port}/{app.database}",
        f'KEY="{key}"\n',
    )
    leak = f"print(dict(os.environ), {password!r}); op.execute('SELECT 1/0 -- ' + os.environ['KEY'])"
    app.add("0004", "0003", "half", f"{sql('CREATE TABLE half (id int)')}; {leak}")
    failed = run(fails=True)
    assert "division by zero" in failed["msg"]
    assert (failed["current"], failed["applied"]) == ([], [])
    assert failed["output"]
    for canary in (password, encoded, key, "canary"):
        assert canary not in json.dumps(failed, ensure_ascii=False)
    assert app.query("SELECT to_regclass('half'), to_regclass('users')") == [(None, None)]
    app.add("0004", "0003", "half", sql("CREATE TABLE half (id int)"))
    assert revisions(run()["applied"]) == ["0001", "0002", "0003", "0004"]


def test_a_failure_says_which_migrations_stayed(app: App, run: Run) -> None:
    env = (app.tree / "migrations" / "env.py").read_text(encoding="utf-8")
    env = env.replace("connection=connection", "connection=connection, transaction_per_migration=True")
    (app.tree / "migrations" / "env.py").write_text(env, encoding="utf-8")
    app.add("0003", "0002", "broken", sql("SELECT nonsense"))
    failed = run(fails=True)
    assert failed["current"] == ["0002"]
    assert revisions(failed["applied"]) == ["0001", "0002"]
    assert "the schema is at 0002, it was at base" in failed["msg"]


LOOK = """\
import contextlib, os, pathlib
found = []
for one in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
        if os.readlink(one / "cwd") == os.getcwd() and b"It is the text of ``python -c``" in (one / "cmdline").read_bytes():
            found.append(one.name)
pathlib.Path({place!r}).write_text(" ".join(found))
"""


@pytest.mark.parametrize("broken", [False, True], ids=["goes well", "fails"])
def test_alembic_is_loaded_for_what_is_read_after_the_migration_while_that_runs(
    app: App, run: Run, broken: bool
) -> None:
    """And whatever becomes of the migration, it is not left behind."""
    look = f"exec({LOOK.format(place=str(app.root / 'seen'))!r})"
    app.add("0004", "0003", "looks", f"{look}; {sql('SELECT nonsense' if broken else 'SELECT 1')}")
    assert run(fails=broken)["current"] == ([] if broken else ["0004"])
    (reader,) = (app.root / "seen").read_text(encoding="utf-8").split()
    assert not Path("/proc", reader).exists()


def test_a_tool_that_takes_too_long_is_ended_on_the_server_too(app: App, run: Run) -> None:
    app.add("0004", "0003", "endless", sql("SELECT pg_sleep(60)"))
    failed = run(fails=True, timeout=3)
    assert "did not end in time" in failed["msg"]
    assert failed["current"] == []
    until(
        lambda: (
            not app.query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'")
        ),
        5,
    )


def test_a_migration_does_not_queue_for_a_table_behind_others_for_long(app: App, run: Run) -> None:
    run(revision="0002")
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as other:
        other.execute(b"BEGIN")
        other.execute(b"LOCK TABLE users")
        failed = run(fails=True, ddl_lock_timeout="200ms", ddl_lock_retries=0)
    assert "lock timeout" in failed["msg"]
    assert "another session uses the table" in failed["msg"]


def test_what_waited_for_a_table_in_vain_is_tried_again(app: App, run: Run) -> None:
    """The table is freed when the first attempt waits no longer."""
    run(revision="0002")
    with _psycopg.connect({}, app.server.url(app.database), application_name="test") as other:
        other.execute(b"BEGIN")
        other.execute(b"LOCK TABLE users")
        process = app.start("state", ddl_lock_timeout="200ms", ddl_lock_retries=5)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'"
        until(lambda: app.query(waiting))
        until(lambda: not app.query(waiting))
        other.execute(b"ROLLBACK")
    result = finish(process)
    assert result["changed"], result
    assert result["lock_timeouts"] >= 1
    assert result["current"] == ["0003"]


def test_a_tool_that_claims_success_is_not_believed(app: App, run: Run) -> None:
    liar = app.root / "python"
    liar.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\n', encoding="utf-8")
    liar.chmod(0o755)
    assert "reported success, but the schema is at base" in run(fails=True, python=str(liar))["msg"]


def test_several_heads_are_refused_unless_all_are_meant(app: App, run: Run) -> None:
    app.add("0003b", "0002", "another branch", sql("CREATE TABLE other (id int)"))
    assert "2 heads: 0003, 0003b" in run(fails=True)["msg"]
    assert run(revision="heads")["current"] == ["0003", "0003b"]


def test_a_host_that_has_seen_a_newer_lease_refuses(run: Run) -> None:
    run(token=7, revision="0001")
    assert "this host has seen lease 7" in run(token=6, fails=True)["msg"]
    assert run(state="gathered")["current"] == ["0001"]


@pytest.mark.parametrize("options", [{}, {"state": "gathered"}])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("", ""), "has no such database"),
        ((":{password}@", ":wrong-canary@"), "does not accept the user or the password"),
        ((":{port}/", ":1/"), "the database does not answer"),
        (("127.0.0.1", "host.invalid"), "the database does not answer"),
    ],
)
def test_a_database_that_refuses_is_told_in_words(
    app: App, run: Run, options: Result, change: tuple[str, str], message: str
) -> None:
    url = app.server.url("nosuch", driver="+psycopg")
    old, new = change
    app.url(url.replace(old.format(password=app.server.password, port=app.server.port), new) if old else url)
    failed = run(fails=True, **options)
    assert message in failed["msg"]
    assert "canary" not in json.dumps(failed)
    assert app.server.password not in json.dumps(failed)


def test_an_interpreter_without_the_tool_is_named(app: App, run: Run) -> None:
    bare = app.root / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    assert f"{bare} has no alembic" in run(fails=True, python=str(bare))["msg"]


def test_a_missing_library_says_what_to_install_and_is_not_needed_to_plan(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_psycopg, "_MISSING", "No module named 'psycopg'")
    assert "python3-psycopg" in run(fails=True)["msg"]
    assert run(check=True)["changed"]


@pytest.mark.parametrize("url", ["oracle://u:canary@h/d", "sqlite:///x", "postgresql://u:canary@[broken/d", "canary"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(app: App, run: Run, url: str) -> None:
    app.url(url)
    assert "canary" not in json.dumps(run(fails=True))


def test_the_lock_session_finds_the_database_as_libpq_would(app: App, run: Run) -> None:
    """A URL without a password, one parameter that only the app's own driver knows, and the rest in the environment."""
    app.url(
        f"postgresql+psycopg://postgres@/{app.database}?only_for_asyncpg=1",
        f'PGPASSWORD="{app.server.password}"\nPGHOST="127.0.0.1"\nPGPORT="{app.server.port}"\n',
    )
    assert run()["changed"]


def test_a_standby_is_named_as_what_it_is(app: App, run: Run, tmp_path: Path) -> None:
    with postgres_server(tmp_path, standby=True) as standby:
        app.url(standby.url(driver="+psycopg"))
        assert "a standby of the database postgres, which is read-only" in run(fails=True)["msg"]


# --- what a version in use needs ---


@pytest.mark.parametrize("keep", [["0002"], ["0003"], ["0001", "0003"]])
def test_what_a_version_in_use_needs_is_not_undone(run: Run, keep: list[str]) -> None:
    run()
    refused = run(state="downgraded", revision="0001", keep=keep, fails=True)
    assert "which a version in use needs; nothing was changed" in refused["msg"]
    assert run(state="gathered")["current"] == ["0003"]
    assert revisions(run(state="downgraded", revision="0002", keep=["0002"])["undone"]) == ["0003"]


def test_what_the_tree_does_not_know_cannot_be_kept_by_it(run: Run) -> None:
    run()
    refused = run(state="downgraded", revision="0002", keep=["0007"], fails=True)
    assert "0007, which a version in use needs and this tree does not know" in refused["msg"]


def test_all_that_is_not_to_be_kept_is_undone(app: App, run: Run) -> None:
    app.add("0002b", "0002", "beside", sql("SELECT 1"))
    run(revision="heads")
    refused = run(state="downgraded", keep=["0003"], fails=True)
    assert "0002b beside 0003, not on top of it" in refused["msg"]
    assert run(state="downgraded", fails=True)["msg"].startswith("state is downgraded but any of")
    assert "nothing that is to be kept" in run(state="downgraded", keep=[], fails=True)["msg"]
    done = run(state="downgraded", keep=["0002"])
    assert (set(revisions(done["undone"])), done["current"]) == ({"0003", "0002b"}, ["0002"])
    assert not run(state="downgraded", keep=["0002"])["changed"]
