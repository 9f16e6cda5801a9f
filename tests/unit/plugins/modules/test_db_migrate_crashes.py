# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The database killed at every step of a migration: the next run finishes, or says exactly what is left, and nothing is there twice."""

from __future__ import annotations

import contextlib
import typing
from dataclasses import dataclass

import pytest
from ansible_collections.baton.release.plugins.module_utils import _psycopg

from tests.postgres import MortalServer, mortal_server
from tests.unit.plugins.modules.alembic_tree import App, sql
from tests.unit.plugins.modules.db_migrate_called import Called, Result, Run, finish, until
from tests.unit.plugins.modules.migration_trees import DbmateTree

if typing.TYPE_CHECKING:
    from pathlib import Path

GATE = 4713
# A gate before each statement that changes the schema or the tool's own table. What a sequence counts is not rolled back.
GATES = f"""
CREATE SEQUENCE passed;
CREATE FUNCTION hold(gate bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('passed') = gate THEN PERFORM pg_advisory_xact_lock({GATE}); END IF;
END $$;
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hold({{gate}}); RETURN NULL; END $$;
CREATE TRIGGER held BEFORE INSERT OR UPDATE ON {{history}} EXECUTE FUNCTION held();
CREATE FUNCTION held_too() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hold({{gate}}); END $$;
CREATE EVENT TRIGGER held_too ON ddl_command_start EXECUTE FUNCTION held_too();
"""
AT_THE_GATE = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND application_name NOT LIKE 'baton%'"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{statement}%'"
TABLE = "CREATE TABLE notes (id int)"
ROW = "INSERT INTO notes VALUES (1)"
COLUMN = "ALTER TABLE users ADD seen int DEFAULT 0"
INDEX = "CREATE INDEX CONCURRENTLY by_name ON users (name)"
LAST = "ALTER TABLE users ADD note text"
INDEXES = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('by_name')"
MIGRATION_LOCK = "hashtextextended('baton.db_migrate:' || current_database(), 0)"
THERE = """
SELECT (SELECT count(*) FROM notes), (SELECT count(*) FROM information_schema.columns WHERE table_name = 'users'),
       (SELECT count(*) FROM users)
"""


GATES_BY_NAME = {
    1: "before the first statement",
    2: "before another statement",
    3: "before they are noted",
    4: "before the one outside of a transaction",
    5: "before that is noted",
    6: "before the last one",
    7: "before the last one is noted",
}


@dataclass
class AlembicApp(App):
    """The app with Alembic, and three migrations more: several statements, one outside of a transaction, and one more."""

    history = "alembic_version"
    own = 0
    leaves = (5, 6, 7)
    """After these gates the index is there and not noted: as it comes, Alembic notes it in one transaction with what follows."""

    def more(self) -> None:
        """Add the three migrations."""
        self.add("0004", "0003", "several", f"{sql(TABLE)}; {sql(ROW)}; {sql(COLUMN)}")
        block = f"with op.get_context().autocommit_block(): {sql(INDEX)}"
        self.add("0005", "0004", "index", block)
        self.add("0006", "0005", "last", sql(LAST))


class DbmateApp(DbmateTree):
    """The same app with dbmate."""

    history = "schema_migrations"
    own = 1
    """How many statements the tool makes before those of the first migration."""
    leaves = (5,)

    def more(self) -> None:
        """Add the three migrations."""
        self.add(4, f"{TABLE}; {ROW}; {COLUMN}")
        self.add(5, INDEX, transaction=False)
        self.add(6, LAST)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[MortalServer]:
    """Return a server of its own: the others of these tests would die with it."""
    with mortal_server(tmp_path_factory.mktemp("mortal")) as server:
        yield server


@pytest.fixture(params=["dbmate", pytest.param("alembic", marks=pytest.mark.slow)])
def app(request: pytest.FixtureRequest, tmp_path: Path, server: MortalServer) -> AlembicApp | DbmateApp:
    kind = AlembicApp if request.param == "alembic" else DbmateApp
    return kind(tmp_path, server, server.create_database())


@contextlib.contextmanager
def session(app: Called, *statements: str) -> typing.Iterator[None]:
    """Have a transaction open that has run some statements, until the server dies."""
    other = _psycopg.connect({}, app.server.url(app.database), application_name="test")
    with contextlib.closing(other):
        for statement in ("BEGIN", *statements):
            other.execute(statement.encode())
        yield


def killed(app: Called, server: MortalServer, when: str, **options: typing.Any) -> Result:
    """Start the module, kill the server as soon as the query ``when`` has rows, start it again, and return what the module said."""
    process = app.start("state", ddl_lock_timeout="0", **options)
    until(lambda: app.query(when))
    server.kill()
    result = finish(process)
    server.start()
    assert result["failed"], result
    assert app.server.password not in str(result)
    return result


def cases() -> typing.Iterator[typing.Any]:
    """Yield every gate with the tool that starts at once, and with Alembic those at which it leaves something else behind."""
    for tool, gates in (("dbmate", tuple(GATES_BY_NAME)), ("alembic", (3, 5, 7))):
        for gate in gates:
            yield pytest.param(
                tool, gate, id=f"{tool}-{GATES_BY_NAME[gate]}", marks=[pytest.mark.slow] if tool == "alembic" else []
            )


@pytest.mark.parametrize(("app", "gate"), list(cases()), indirect=["app"])
def test_the_next_run_finishes_or_says_what_is_left(
    app: AlembicApp | DbmateApp, server: MortalServer, run: Run, gate: int
) -> None:
    run()
    app.more()
    app.query(GATES.format(gate=gate + app.own, history=app.history))
    with session(app, f"SELECT pg_advisory_lock({GATE})"):
        first = killed(app, server, AT_THE_GATE)
    assert "where the schema is now could not be read (" in first["msg"]
    app.query(f"DROP EVENT TRIGGER held_too; DROP TRIGGER held ON {app.history}")
    assert "to apply 0004, 0005, 0006 ended with" in run(state="gathered")["last_attempt"]
    if gate in app.leaves:
        refused = run(fails=True)
        assert 'relation "by_name" already exists' in refused["msg"]
        assert (
            "has left a part of this migration behind, which ran outside a transaction: remove that part"
            in refused["msg"]
        )
        assert app.query(INDEXES) == [(True,)]
        app.query("DROP INDEX by_name")
    again = run()
    assert again["current"] == ["0006"]
    assert "to apply" in again["last_attempt"]
    assert (app.query(THERE), app.query(INDEXES)) == ([(1, 5, 1)], [(True,)])
    assert (run()["changed"], run()["last_attempt"]) == (False, "")


def test_an_index_that_was_half_built_is_named(app: AlembicApp | DbmateApp, server: MortalServer, run: Run) -> None:
    app.more()
    run(revision="0004")
    with session(app, "UPDATE users SET name = 'other'"):
        killed(app, server, WAITING.format(statement="CREATE INDEX CONCURRENTLY"))
    refused = run(fails=True)
    assert refused["invalid_indexes"] == ["public.by_name"]
    assert 'relation "by_name" already exists' in refused["msg"]
    assert "run DROP INDEX CONCURRENTLY public.by_name" in refused["msg"]
    app.query("DROP INDEX by_name")
    assert run()["current"] == ["0006"]
    assert (app.query(THERE), app.query(INDEXES)) == ([(1, 5, 1)], [(True,)])


@pytest.mark.parametrize("app", ["dbmate"], indirect=True)
def test_a_server_that_dies_while_something_is_waited_for(app: DbmateApp, server: MortalServer, run: Run) -> None:
    """The migration lock, and then a table: nothing has happened by then."""
    run(revision="0002")
    with session(app, f"SELECT pg_advisory_lock({MIGRATION_LOCK})"):
        first = killed(app, server, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'baton.db_migrate%'")
    assert "the database has ended the session" in first["msg"]
    assert "nothing was changed" in first["msg"]
    with session(app, "LOCK TABLE users"):
        second = killed(app, server, WAITING.format(statement="ALTER TABLE"))
    assert "where the schema is now could not be read (" in second["msg"]
    again = run()
    assert ([one["revision"] for one in again["applied"]], app.users()) == (["0003"], 1)
    server.kill()
    down = run(fails=True)
    assert "the database does not answer" in down["msg"]
    server.start()
    assert not run()["changed"]
