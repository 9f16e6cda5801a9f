# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What holds on MariaDB and on SQLite, with the real tools: up, down and reading, failures half-way, two at once, and kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import typing
from pathlib import Path

import pytest

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import Tree, names
from tests.unit.plugins.modules.other_database_trees import ON_MARIADB, ON_SQLITE, OwnTool, SqliteFiles, exists
from tests.unit.plugins.modules.test_db_migrate_drivers import SECOND_USER, descendants, noted

if typing.TYPE_CHECKING:
    from tests.mariadb import MariaServer

SERVERS = {"mariadb": ON_MARIADB, "sqlite": ON_SQLITE}
PATIENCE = 400  # seconds; on a host that has much else to do a module may take a minute to start
QUICK = ("command", "dbmate")
"""What starts in no time; all that does not is left out where one end of what is supported is enough."""
EACH = [
    pytest.param(f"{server}-{driver}", marks=() if driver in QUICK else pytest.mark.slow)
    for server, trees in SERVERS.items()
    for driver in trees
]
# The lock is no matter of the tool: those that start in no time, and one that has a lock of its own, or hands ours on by Python.
AT_ONCE = [one for one in EACH if one.values[0] == "mariadb-knex" or str(one.values[0]).endswith(QUICK)]
KILLED = [one for one in EACH if one.values[0] in ("mariadb-alembic", "mariadb-command", "mariadb-dbmate")]
LOCKS = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%GET_LOCK(''gate%'"


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    server, driver = request.param.split("-")
    if server == "sqlite":
        (tmp_path / "shared").mkdir()
        return ON_SQLITE[driver](tmp_path, SqliteFiles(tmp_path / "shared"), "shop")
    maria: MariaServer = request.getfixturevalue("mariadb")
    return ON_MARIADB[driver](tmp_path, maria, maria.create_database())


@contextlib.contextmanager
def gate(app: Tree, maria: MariaServer) -> typing.Iterator[str]:
    """Hold up whatever wants to pass the gate, which is a statement; each database has its own."""
    name = f"gate {app.database}"
    with maria.connect(app.database) as session, session.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        yield f"SELECT GET_LOCK('{name}', {PATIENCE})"


def takes_back(app: Tree) -> bool:
    """Say whether the tool has the database take back the whole of a migration that fails."""
    return isinstance(app.server, SqliteFiles) and app.driver in ("dbmate", "django")


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("app", EACH, indirect=True)
def test_up_down_and_half_way(app: Tree, run: Run) -> None:
    """Reading makes no table, and no file of a database."""
    where = run(state="gathered")
    assert (where["current"], names(where["pending"]), where["up_to_date"]) == ([], app.revisions(1, 2, 3), False)
    assert [one["phase"] for one in where["pending"]] == ["unmarked", "expand", "unmarked"]
    if isinstance(app.server, SqliteFiles):
        assert list(app.server.directory.iterdir()) == []
    else:
        assert app.query("SHOW TABLES") == []

    if app.driver in QUICK:
        part = run(revision=app.revision(2))
        assert (part["current"], names(part["pending"])) == (app.revisions(2), app.revisions(3))
        assert not run(revision=app.revision(2))["changed"]
    rest = run()
    assert (rest["current"], rest["up_to_date"], app.users()) == (app.revisions(3), True, 1)
    assert "rehearsal" not in rest

    app.add(4, "ALTER TABLE users ADD half int; INSERT INTO nosuch VALUES ('key-canary-77')")
    app.url(app.address(), 'API_KEY="key-canary-77"\n')
    failed = run(fails=True)
    assert "nosuch" in failed["msg"]
    assert (failed["current"], failed["applied"]) == (app.revisions(3), [])
    for secret in ("canary", app.server.password):
        assert secret not in json.dumps(failed)
    stands = exists(app, "users", "half")
    assert stands == bool(failed["stands"]) == (not takes_back(app))
    if stands:
        assert "takes no change of the schema back when a migration fails" in failed["msg"]
        assert "users" in str(failed["stands"])
        if app.driver in QUICK:
            assert "has left a part of this migration behind" in run(fails=True)["msg"]
        app.query("ALTER TABLE users DROP half")
    app.add(4, "ALTER TABLE users ADD half int", "ALTER TABLE users DROP half")
    whole = run()
    assert names(whole["applied"]) == app.revisions(4)
    assert "ended with" in whole["last_attempt"]

    down = run(state="downgraded", revision=app.revision(2))
    assert (names(down["undone"]), down["current"]) == (app.revisions(4, 3), app.revisions(2))
    assert not exists(app, "users", "mail")


@pytest.mark.parametrize("app", AT_ONCE, indirect=True)
def test_two_at_once_migrate_once(app: Tree) -> None:
    results = [finish(process, PATIENCE) for process in [app.start(f"host{number}") for number in range(2)]]
    assert [result.get("failed", False) for result in results] == [False] * 2, results
    assert sorted(result["changed"] for result in results) == [False, True]
    assert app.users() == 1


@pytest.mark.parametrize("app", ["mariadb-command", "sqlite-command"], indirect=True)
def test_the_second_waits_and_finds_nothing_to_do(app: Tree, run: Run) -> None:
    assert isinstance(app, OwnTool)
    gate = app.hold_up()
    first = app.start("host1")
    until(lambda: noted(app, "host1"), PATIENCE)
    threading.Timer(1, gate.unlink).start()
    second = run()
    assert (second["changed"], second["current"], second["seconds"] > 0.8) == (False, app.revisions(3), True)
    assert (finish(first, PATIENCE)["changed"], noted(app), app.users()) == (True, [], 1)


@pytest.mark.parametrize("app", KILLED, indirect=True)
def test_a_killed_module_leaves_the_lock_to_its_tool_and_a_killed_tool_leaves_none(
    app: Tree, run: Run, mariadb: MariaServer
) -> None:
    run(revision=app.revision(2))
    with gate(app, mariadb) as passing:
        app.add(3, f"{passing}; {SECOND_USER}")
        first = app.start("host1", ddl_lock_timeout="0")
        until(lambda: app.query(LOCKS), PATIENCE)
        for pid in descendants(first):
            assert app.server.password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        tool = descendants(first)
        first.kill()
        first.communicate()
        impatient = finish(app.start("host2", lock_timeout=0.1))
        assert "holds the migration lock after 0.1 s" in impatient["msg"]
        assert impatient["holder"]["pid"]
        kill(*tool)
        second = app.start("host1", ddl_lock_timeout="0")
        until(lambda: len(app.query(LOCKS)) == 1, PATIENCE)
        until(lambda: noted(app, "host1")[-1] == (False, app.revisions(3)), PATIENCE)
    done = finish(second, PATIENCE)
    assert (done["changed"], done["current"]) == (True, app.revisions(3)), done
    assert "was cut off" in done["last_attempt"]
    assert "rows that it had changed by then may be changed twice" in done["msg"]
    assert app.users() == 2
