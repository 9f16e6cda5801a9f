# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Rehearsals on servers that were given for them, of an older PostgreSQL too: what they find, what they leave, and what is refused."""

from __future__ import annotations

import signal
import typing

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.rehearsal_given import NAME

from tests.postgres import PostgresServer, older_programs, postgres_server
from tests.unit.plugins.modules.db_migrate_called import Result, Run, until
from tests.unit.plugins.modules.migration_trees import DbmateTree

if typing.TYPE_CHECKING:
    from pathlib import Path

REQUIRED: Result = {"rehearsal": "required"}
THERE = """SELECT datname::text FROM pg_database UNION ALL SELECT rolname::text FROM pg_roles
            UNION ALL SELECT setconfig::text FROM pg_db_role_setting ORDER BY 1"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[PostgresServer]:
    """Return a server of an older PostgreSQL, on which targets are."""
    with postgres_server(tmp_path_factory.mktemp("older"), programs=older_programs()) as server:
        for role in ("owner", "reader"):
            server.query("postgres", f"CREATE ROLE shop_{role} LOGIN PASSWORD 'own'")
        server.query("postgres", "ALTER ROLE shop_owner SET search_path = app, public")
        yield server


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[PostgresServer]:
    """Return another server of the older PostgreSQL, for rehearsals."""
    with postgres_server(tmp_path_factory.mktemp("given"), programs=older_programs()) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, older: PostgresServer, given: PostgresServer, capsys: pytest.CaptureFixture[str]) -> DbmateTree:
    """Return an app whose migrations 1 to 3 are applied, by an ordinary user with a schema of its own."""
    database = older.create_database()
    older.query(database, "CREATE SCHEMA app AUTHORIZATION shop_owner")
    made = DbmateTree(tmp_path, older, database)
    made.params["rehearsal_url_variable"] = "REHEARSAL_URL"
    reach(made, given)
    made.call(capsys)
    made.query("GRANT SELECT ON app.users TO shop_reader")
    return made


def reach(app: DbmateTree, given: PostgresServer, *, url: str = "") -> None:
    """Write the env file."""
    own = f"postgresql://shop_owner:own@127.0.0.1:{app.server.port}/{app.database}?sslmode=disable"
    app.url(own, f'REHEARSAL_URL="{url or given.url()}"\n')


def there(server: PostgresServer) -> list[str]:
    """Return the databases, roles and settings of a server."""
    return [str(name) for (name,) in server.query("postgres", THERE)]


def test_a_shadow_on_a_given_server_shows_what_one_of_its_own_shows_and_is_gone_afterwards(
    app: DbmateTree, given: PostgresServer, run: Run
) -> None:
    app.add(
        4,
        "ALTER TABLE users ALTER name SET NOT NULL; UPDATE users SET mail = 'm'; CREATE INDEX named ON users (name);"
        " GRANT SELECT (mail) ON users TO shop_reader; ALTER TABLE users ADD born date",
        "DROP INDEX named; ALTER TABLE users DROP born",
    )
    before = there(given)
    told = run(state="rehearsed")["rehearsal"]
    assert there(given) == before
    assert (told["server_kind"], told["server"], told["level"]) == ("given", told["target"], "contract")
    assert not any("rehearsed with PostgreSQL" in line for line in told["report"])
    # The same again is not rehearsed again, whatever became of the server.
    assert run(state="rehearsed")["rehearsal"]["cached"] is True
    own = run(state="rehearsed", rehearsal_url_variable=None)["rehearsal"]
    assert (own["server_kind"], own["cached"]) == ("throw-away", False)
    newer = f"rehearsed with PostgreSQL {own['server']}, the database is of version {told['server']}"
    assert own["server"] == told["server"] or any(line.startswith(newer) for line in own["report"])
    for part in ("changes", "statements", "down", "again"):
        assert told[part] == own[part]
    assert [one["sql"] for one in told["prechecks"]] == [one["sql"] for one in own["prechecks"]]
    assert {one["tag"]: (one["takes"], one["scans"]) for one in told["statements"] if one["tag"] == "CREATE INDEX"} == {
        "CREATE INDEX": ({}, ["app.users"])
    }
    assert told["down"]["loses"] == ["app.users.born"]
    assert told["down"]["differences"]


def test_a_migration_that_fails_leaves_nothing_there(app: DbmateTree, given: PostgresServer, run: Run) -> None:
    app.add(4, "DO $$BEGIN ASSERT (SELECT count(*) FROM users) > 5; END$$")
    before = there(given)
    refused = run(**REQUIRED, fails=True)
    assert "in a shadow of the target and ended with 2" in refused["msg"]
    assert there(given) == before


def test_what_a_killed_rehearsal_has_left_the_next_one_drops_and_nothing_else(
    app: DbmateTree, given: PostgresServer, run: Run
) -> None:
    app.add(4, "SELECT pg_sleep(600)")
    process = app.start("host", state="rehearsed")
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
    until(lambda: given.query("postgres", asleep)[0][0], seconds=600)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [one for one in there(given) if one.startswith(NAME)]
    assert len(left) == 2  # a database and a login of the same name
    alive, other = f"{NAME}{'a' * 16}", f"{NAME}of_somebody_else"
    for name in (alive, other):
        given.query("postgres", f"CREATE DATABASE {name}")
    app.add(4, "ALTER TABLE users ADD more text", "ALTER TABLE users DROP more")
    with psycopg.connect(given.url("template1"), autocommit=True) as holder:
        key = b"SELECT pg_advisory_lock(hashtextextended('baton.rehearsal:' || %s, 0))"
        holder.execute(key, [alive])
        run(state="rehearsed")
        now = there(given)
    assert not set(left) & set(now)
    assert {alive, other} <= set(now)
    for name in (alive, other):
        given.query("postgres", f"DROP DATABASE {name}")


def test_a_server_that_will_not_do_is_refused_in_words(
    app: DbmateTree, older: PostgresServer, given: PostgresServer, postgres: PostgresServer, run: Run
) -> None:
    app.add(4, "ALTER TABLE users ADD more text", "ALTER TABLE users DROP more")
    before = there(given)

    def refused(url: str, **more: typing.Any) -> str:
        reach(app, given, url=url)
        return str(run(**REQUIRED, **more, fails=True)["msg"])

    assert "the target's own server, given for rehearsals" in refused(older.url())
    given.query("postgres", "CREATE ROLE plain LOGIN PASSWORD 'plain-secret'")
    plain = f"postgresql://plain:plain-secret@127.0.0.1:{given.port}/postgres"
    assert "the role plain without CREATEDB and CREATEROLE" in refused(plain)
    given.query("postgres", "ALTER ROLE plain CREATEDB CREATEROLE")
    assert "superuser" in refused(plain)
    given.query("postgres", "DROP ROLE plain")
    assert there(given) == before
    wrong = "wrong-secret"
    said = refused(given.url(password=wrong))
    assert "the database does not accept the user or the password" in said
    assert wrong not in said
    assert "without one host" in refused("postgresql:///postgres")
    # The embedded server has no pgcrypto.
    app.query("CREATE EXTENSION pgcrypto")
    assert "without pgcrypto" in refused(postgres.url())
    app.env_file.write_text(
        app.env_file.read_text(encoding="utf-8").replace("REHEARSAL_URL", "OTHER"), encoding="utf-8"
    )
    assert "no REHEARSAL_URL in the environment" in run(**REQUIRED, fails=True)["msg"]
    done = run(rehearsal="report")
    assert (done["rehearsal"]["made"], done["current"]) == (False, ["0004"])


def test_the_targets_own_server_does_when_that_is_said(app: DbmateTree, older: PostgresServer, run: Run) -> None:
    app.add(4, "ALTER TABLE users ADD more text", "ALTER TABLE users DROP more")
    reach(app, older)
    before, migrated = there(older), app.query("SELECT * FROM app.schema_migrations")
    told = run(state="rehearsed", rehearsal_same_server=True)["rehearsal"]
    assert [(one["level"], one["name"]) for one in told["changes"]] == [("expand", "app.users.more")]
    assert (there(older), app.query("SELECT * FROM app.schema_migrations")) == (before, migrated)


def test_a_server_older_than_the_target_is_refused(
    tmp_path: Path, postgres: PostgresServer, database: str, given: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    app = DbmateTree(tmp_path, postgres, database)
    app.params["rehearsal_url_variable"] = "REHEARSAL_URL"
    app.url(postgres.url(database), f'REHEARSAL_URL="{given.url()}"\n')
    assert "a server for rehearsals of version" in app.call(capsys, **REQUIRED, fails=True)["msg"]
