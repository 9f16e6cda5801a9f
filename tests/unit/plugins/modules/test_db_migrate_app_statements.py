# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the running app asks of its database, as pg_stat_statements has it, against what a migration makes of the schema."""

from __future__ import annotations

import typing

import psycopg
import pytest

from tests.postgres import PostgresServer, older_programs, postgres_server
from tests.unit.plugins.modules.db_migrate_called import Result, Run
from tests.unit.plugins.modules.migration_trees import DbmateTree

if typing.TYPE_CHECKING:
    from pathlib import Path

COMMENT = "/* the app */ "
# What the app asks, and whether the migration below breaks it.
ASKED = (
    ("SELECT name FROM users WHERE id = 1", True),
    ("SELECT u.mail, (SELECT count(*) FROM users) FROM users AS u WHERE u.id IN (1, 2)", False),
    (f"{COMMENT}INSERT INTO users (name) VALUES ('a')", True),  # noqa: S608 - a constant
    ("WITH one AS (SELECT id FROM users) SELECT id FROM one LIMIT 1", False),
    ("UPDATE users SET mail = 'm' WHERE id = 1", False),
    ("INSERT INTO keyed (key, value) VALUES (1, 'v') ON CONFLICT (key) DO UPDATE SET value = excluded.value", True),
    ("SELECT value FROM keyed WHERE key = 1", False),
    ("DELETE FROM users WHERE id = 99", False),
)
# Not the app's: the catalogs, the tool's own table, and what no statement can be planned of.
BESIDES = (
    "SELECT relname FROM pg_class LIMIT 1",
    "SELECT version FROM app.schema_migrations",
    "SELECT 1",
    "CREATE TEMPORARY TABLE named AS SELECT * FROM users",
)
CHANGE = "ALTER TABLE users RENAME name TO title; ALTER TABLE keyed DROP CONSTRAINT keyed_pkey"
BACK = "ALTER TABLE keyed ADD PRIMARY KEY (key); ALTER TABLE users RENAME title TO name"


@pytest.fixture(scope="module", params=["newest", "older"])
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> typing.Iterator[PostgresServer]:
    """Return a server that keeps what it is asked: the newest one, and one that cannot plan without values for parameters."""
    programs = None if request.param == "newest" else older_programs()
    directory = tmp_path_factory.mktemp("watched")
    with postgres_server(directory, programs=programs, preload="pg_stat_statements") as server:
        for role in ("app", "reader", "owner"):
            server.query("postgres", f"CREATE ROLE {role} LOGIN PASSWORD 'own'")
        server.query("postgres", "ALTER ROLE owner SET search_path = app")
        server.query("postgres", "GRANT pg_read_all_stats TO owner")
        yield server


@pytest.fixture
def app(tmp_path: Path, watched: PostgresServer, capsys: pytest.CaptureFixture[str]) -> DbmateTree:
    """Return an app with its own schema, role and path, of which pg_stat_statements knows what it asks."""
    database = watched.create_database()
    made = DbmateTree(tmp_path, watched, database)
    made.query("CREATE EXTENSION pg_stat_statements")
    made.query("CREATE SCHEMA app AUTHORIZATION owner")
    made.query(f"ALTER ROLE app IN DATABASE {database} SET search_path = app, public")
    made.url(f"postgresql://owner:own@127.0.0.1:{watched.port}/{database}?sslmode=disable")
    # The shadow of the older one is on that server itself, so that it is planned there.
    shadow: Result = {"rehearsal_url_variable": "SHADOW_URL", "rehearsal_same_server": True}
    made.params.update(shadow)
    own = made.env_file.read_text(encoding="utf-8")
    made.env_file.write_text(f'{own}\nSHADOW_URL="{watched.url()}"\n', encoding="utf-8")
    made.call(capsys)
    made.query("CREATE TABLE app.keyed (key int PRIMARY KEY, value text)")
    made.query("ALTER TABLE app.keyed OWNER TO owner")
    made.query("GRANT ALL ON ALL TABLES IN SCHEMA app TO app, reader")
    made.query("GRANT USAGE ON SCHEMA app TO app, reader")
    made.query("GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO app")
    ask(made, "app", *(text for text, _broken in ASKED), *BESIDES)
    return made


def ask(app: DbmateTree, role: str, *statements: str) -> None:
    """Have the app ask its database."""
    with psycopg.connect(
        f"postgresql://{role}:own@127.0.0.1:{app.server.port}/{app.database}", autocommit=True
    ) as session:
        for statement in statements:
            session.execute(statement.encode())


def test_what_the_app_asks_and_a_migration_breaks_is_named_and_refused(app: DbmateTree, run: Run) -> None:
    app.add(4, CHANGE, BACK, phase="expand")
    refused = run(rehearsal="required", rehearsal_statements_of=["app"], fails=True)
    told = refused["rehearsal"]
    broken = [one for one in told["changes"] if one["kind"] == "statement"]
    assert {one["level"] for one in broken} == {"contract"}
    assert all("of app, run 1 times, works no longer: " in one["what"] for one in broken)
    # The constants are parameters there; newer servers leave out the comment before a statement.
    told_of = {one["name"].removeprefix(COMMENT)[:20] for one in broken}
    assert told_of == {text.removeprefix(COMMENT)[:20] for text, breaks in ASKED if breaks}
    assert {one["what"].rpartition(" ")[2] for one in broken} == {"(42703)", "(42P10)"}
    assert told["app_statements"] == {"tried": len(ASKED), "broken": 3, "untried": 0, "hidden": 0, "why": ""}
    assert f"statements of the running app: 3 of {len(ASKED)} work no longer" in told["report"]
    assert "statement SELECT name FROM users" in refused["msg"]


def test_rights_count_and_whose_statements_are_the_apps_can_be_said(app: DbmateTree, run: Run) -> None:
    ask(app, "reader", "SET search_path = app", "SELECT mail FROM app.users")
    app.add(4, "REVOKE ALL ON users FROM reader", "GRANT ALL ON users TO reader")
    told = run(state="rehearsed")["rehearsal"]
    assert [(one["name"], one["what"].rpartition(" ")[2]) for one in told["changes"] if one["kind"] == "statement"] == [
        ("SELECT mail FROM app.users", "(42501)")
    ]
    assert told["level"] == "contract"
    # The same schema and the same statements: nothing is tried again, also after what the rehearsal asked itself.
    assert run(state="rehearsed")["rehearsal"]["cached"] is True
    # The app asks something new: nobody knows whether that works afterwards.
    ask(app, "app", "SELECT max(id) FROM users")
    again = run(state="rehearsed")["rehearsal"]
    assert (again["cached"], again["app_statements"]["tried"]) == (False, told["app_statements"]["tried"] + 1)
    only = run(state="rehearsed", rehearsal_statements_of=["app"])["rehearsal"]
    assert [one["kind"] for one in only["changes"] if one["kind"] == "statement"] == []


def test_what_may_not_be_read_is_counted_and_without_the_extension_nothing_is_said(app: DbmateTree, run: Run) -> None:
    app.add(4, "ALTER TABLE users ADD more text", "ALTER TABLE users DROP more")
    app.server.query("postgres", "REVOKE pg_read_all_stats FROM owner")
    try:
        told = run(state="rehearsed", rehearsal_statements_of=["app"])["rehearsal"]
        assert (told["app_statements"]["tried"], told["app_statements"]["hidden"] > 0) == (0, True)
        assert any("may not be read by the user that migrates" in line for line in told["report"])
    finally:
        app.server.query("postgres", "GRANT pg_read_all_stats TO owner")
    app.query("DROP EXTENSION pg_stat_statements")
    without = run(state="rehearsed")["rehearsal"]
    assert without["app_statements"]["why"] == "the database has no extension pg_stat_statements"
    assert not any("statements of the running app" in line for line in without["report"])
