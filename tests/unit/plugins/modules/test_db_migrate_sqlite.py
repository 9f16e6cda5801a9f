# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about SQLite: a file, a lock beside it, and no server that would refuse anything."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock_sqlite import sqlite_lock

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import Tree, names
from tests.unit.plugins.modules.other_database_trees import ON_SQLITE, OwnTool, SqliteFiles, exists
from tests.unit.plugins.modules.test_db_migrate_drivers import SECOND_USER, descendants, noted

PATIENCE = 400  # seconds; on a host that has much else to do a module may take a minute to start


@pytest.fixture
def files(tmp_path: Path) -> SqliteFiles:
    (tmp_path / "shared").mkdir()
    return SqliteFiles(tmp_path / "shared")


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path, files: SqliteFiles) -> Tree:
    return ON_SQLITE[getattr(request, "param", "dbmate")](tmp_path, files, "shop")


@pytest.mark.parametrize("app", ["command"], indirect=True)
def test_a_killed_module_leaves_the_lock_to_its_tool_and_a_killed_tool_leaves_none(app: Tree, run: Run) -> None:
    run(revision=app.revision(2))
    app.add(3, SECOND_USER)
    assert isinstance(app, OwnTool)
    gate = app.hold_up()
    first = app.start("host1")
    until(lambda: noted_begun(app) and descendants(first), PATIENCE)
    children = descendants(first)
    first.kill()
    first.communicate()
    impatient = finish(app.start("host2", lock_timeout=0.1))
    assert impatient["holder"]["pid"] == first.pid, impatient
    assert "or the tool that it started, holds the migration lock" in impatient["msg"]
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    gate.unlink()
    done = finish(app.start("host1"))
    assert (names(done["applied"]), app.users()) == (app.revisions(3), 2)
    assert "was cut off" in done["last_attempt"]


def noted_begun(app: Tree) -> bool:
    """Say whether the first host has begun."""
    return bool(noted(app, "host1")) and noted(app, "host1")[-1] == (False, app.revisions(3))


def test_a_database_that_is_in_use_is_waited_for_and_tried_again(app: Tree, run: Run, files: SqliteFiles) -> None:
    run(revision=app.revision(2))
    with closing(sqlite3.connect(files.path("shop"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        failed = run(fails=True, ddl_lock_retries=0)
        assert "database is locked" in failed["msg"]
        assert "another session uses the table" in failed["msg"]
        assert failed["lock_timeouts"] == 1
        process = app.start("state", ddl_lock_retries=10)
        until(lambda: len(noted(app)) > 2, PATIENCE)
        other.execute("COMMIT")
        assert names(finish(process)["applied"]) == app.revisions(3)


def test_a_lock_whose_file_was_removed_is_none_any_more(files: SqliteFiles) -> None:
    with sqlite_lock(files.url("shop"), wait=0) as session:
        assert session.held()
        with (
            pytest.raises(BatonError, match="holds the migration lock after 0 s"),
            sqlite_lock(files.url("shop"), wait=0),
        ):
            pass
        Path(f"{files.path('shop')}.baton-lock").unlink()
        assert not session.held()


def test_the_file_of_the_lock_has_to_stay(app: Tree, run: Run, files: SqliteFiles) -> None:
    run(revision=app.revision(2))
    lock = Path(f"{files.path('shop')}.baton-lock")
    assert lock.exists()
    app.add(3, "ALTER TABLE users ADD mail text")
    lock.unlink()
    lock.symlink_to(app.root / "elsewhere")
    assert "no file for the migration lock" in run(fails=True)["msg"]
    assert not (app.root / "elsewhere").exists()
    lock.unlink()
    (app.root / "elsewhere").write_text("of somebody else", encoding="utf-8")
    lock.hardlink_to(app.root / "elsewhere")
    assert "it is no file of its own" in run(fails=True)["msg"]
    assert (app.root / "elsewhere").read_text(encoding="utf-8") == "of somebody else"
    lock.unlink()
    assert run()["current"] == app.revisions(3)


def test_what_is_wrong_is_said_in_words(app: Tree, run: Run, files: SqliteFiles) -> None:
    for url in ("sqlite:///shop.db", "sqlite://", "sqlite:////"):
        app.url(url)
        assert "a URL of SQLite without an absolute path" in run(fails=True)["msg"]
        assert "without an absolute path" in run(state="gathered", fails=True)["msg"]
    app.url("sqlite:////nonexistent/shop.db")
    assert "no file for the migration lock (/nonexistent/shop.db.baton-lock)" in run(fails=True)["msg"]
    app.url(app.address())
    assert "rehearsal_bin with SQLite" in run(fails=True, rehearsal_bin="/x")["msg"]
    told = run(check=True, rehearsal="report")["rehearsal"]
    assert (told["made"], "not rehearsed" in told["report"][0]) == (False, True)
    assert list(files.directory.iterdir()) == []
    files.path("shop").write_text("no database" * 100, encoding="utf-8")
    assert "a file that is no database of SQLite" in run(state="gathered", fails=True)["msg"]


@pytest.mark.parametrize("app", ["django"], indirect=True)
def test_settings_of_another_database_are_refused(app: Tree, run: Run) -> None:
    settings = app.tree / "settings.py"
    text = settings.read_text(encoding="utf-8").replace('startswith("sqlite")', 'startswith("mysql")')
    settings.write_text(text, encoding="utf-8")
    app.url("mysql://shop@127.0.0.1:1/shop")
    refused = run(state="gathered", fails=True)["msg"]
    assert "settings whose database 'default' is sqlite, and a database URL of MySQL or MariaDB" in refused
    assert not exists(app, "users")
