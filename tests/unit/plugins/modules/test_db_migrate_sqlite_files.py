# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Files of SQLite as they may be found: oddly called, not to be entered, read or written, in use, or something else altogether."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import _sqlite
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock_sqlite import sqlite_lock

from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import Tree
from tests.unit.plugins.modules.other_database_trees import ON_SQLITE, SqliteFiles, exists
from tests.unit.plugins.modules.test_db_migrate_drivers import noted

PATIENCE = 400  # seconds; on a host that has much else to do a module may take a minute to start
# Rights mean nothing to root. In a user namespace root's own files belong to an ordinary user.
AS_SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
ODD = "it's (a) shop; 50 € + [x] & =@,:ä.db"


@pytest.fixture
def files(tmp_path: Path) -> SqliteFiles:
    (tmp_path / "shared").mkdir()
    return SqliteFiles(tmp_path / "shared")


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path, files: SqliteFiles) -> Tree:
    return ON_SQLITE[getattr(request, "param", "command")](tmp_path, files, "shop")


def lock_of(files: SqliteFiles) -> Path:
    return Path(f"{files.path('shop')}.baton-lock")


@pytest.mark.parametrize("driver", ["command", "dbmate", pytest.param("alembic", marks=pytest.mark.slow)])
def test_a_path_may_have_odd_characters(
    driver: str, tmp_path: Path, files: SqliteFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And so may that of the empty file which is read in place of a database that is not there yet."""
    (tmp_path / "blank and ä").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "blank and ä"))
    app = ON_SQLITE[driver](tmp_path, files, ODD.removesuffix(".db"))
    assert app.call(capsys, state="gathered")["current"] == []
    assert app.call(capsys)["current"] == app.revisions(3)
    assert app.call(capsys, state="gathered")["current"] == app.revisions(3)
    assert sorted(path.name for path in files.directory.iterdir()) == [ODD, f"{ODD}.baton-lock"]


@pytest.mark.parametrize("spelled", ["sh%20op", "shop#1"])
def test_what_tools_read_in_different_ways_is_refused(app: Tree, run: Run, files: SqliteFiles, spelled: str) -> None:
    app.url(f"sqlite:///{files.directory}/{spelled}.db")
    for how in ({}, {"state": "gathered"}, {"check": True}):
        assert "a URL of SQLite with % or # in its path" in run(fails=True, **how)["msg"]
    assert list(files.directory.iterdir()) == []


@pytest.mark.parametrize("kind", ["directory", "pipe"])
@pytest.mark.usefixtures("app")
def test_what_is_no_file_is_refused_and_not_opened(run: Run, files: SqliteFiles, kind: str) -> None:
    """Whoever opened a pipe would wait for ever."""
    path = files.path("shop")
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    for how in ({}, {"state": "gathered"}, {"check": True}):
        assert f"{path}, which cannot be the database: it is no file" in run(fails=True, **how)["msg"]
    assert list(files.directory.iterdir()) == [path]


@pytest.mark.parametrize(("kind", "said"), [("directory", "Is a directory"), ("pipe", "it is no file of its own")])
@pytest.mark.usefixtures("app")
def test_a_lock_that_is_no_file_is_refused(run: Run, files: SqliteFiles, kind: str, said: str) -> None:
    if kind == "directory":
        lock_of(files).mkdir()
    else:
        os.mkfifo(lock_of(files))
    assert f"no file for the migration lock ({lock_of(files)}): {said}" in run(fails=True)["msg"]
    assert not files.path("shop").exists()


NO_ENTRY = "which cannot be the database: Permission denied"
NO_LOCK = "no file for the migration lock"


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (("directory", 0o000, "gathered"), NO_ENTRY),
        (("directory", 0o555, "upgraded"), NO_LOCK),
        (("database", 0o000, "gathered"), "the file of the database cannot be opened"),
        (("database", 0o444, "upgraded"), "let the user that migrates write it, and the directory that it is in"),
        (("lock", 0o444, "upgraded"), NO_LOCK),
    ],
)
def test_what_may_not_be_entered_read_or_written_is_said(
    app: Tree, run: Run, files: SqliteFiles, closed: tuple[str, int, str], said: str
) -> None:
    run(revision=app.revision(2))
    what, mode, state = closed
    path = {"directory": files.directory, "database": files.path("shop"), "lock": lock_of(files)}[what]
    if what == "directory":
        lock_of(files).unlink()
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode)
    try:
        refused = finish(app.start("state", through=AS_SOMEBODY, state=state), PATIENCE)
    finally:
        path.chmod(before)
    assert refused["failed"]
    assert said in refused["msg"]
    assert run()["current"] == app.revisions(3)


@pytest.mark.parametrize("app", ["dbmate"], indirect=True)
def test_a_database_in_use_is_waited_for_while_it_is_read(
    app: Tree, run: Run, files: SqliteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    with closing(sqlite3.connect(files.path("shop"), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(_sqlite, "_SECONDS", 0.1)
        refused = run(fails=True, state="gathered")
        assert "the database is in use by somebody else, who writes to it" in refused["msg"]
        monkeypatch.setattr(_sqlite, "_SECONDS", float(PATIENCE))
        threading.Timer(0.3, other.execute, ["COMMIT"]).start()
        assert run(state="gathered")["current"] == app.revisions(3)


def test_a_database_with_a_log_that_is_written_ahead_is_migrated_beside_its_readers(
    app: Tree, run: Run, files: SqliteFiles
) -> None:
    run(revision=app.revision(2))
    with closing(sqlite3.connect(files.path("shop"), isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchall()
        assert run(state="gathered")["current"] == app.revisions(2)
        app.add(4, "ALTER TABLE users ADD half int; INSERT INTO nosuch VALUES (1)")
        failed = run(fails=True)
        assert failed["stands"] == ["changed: table users"]
    assert (failed["current"], exists(app, "users", "mail")) == (app.revisions(3), True)


def test_a_lock_that_is_removed_while_somebody_waits_for_it_is_refused(files: SqliteFiles) -> None:
    """The one who waits would hold another lock than whoever comes next."""
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(BatonError) as error, sqlite_lock(files.url("shop"), wait=PATIENCE):
            pass
        refused.append(str(error.value))

    with sqlite_lock(files.url("shop"), wait=0):
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: opened(lock_of(files)) == 2, PATIENCE)
        lock_of(files).unlink()
    thread.join(PATIENCE)
    assert len(refused) == 1
    assert "shop.db.baton-lock, which was removed or replaced meanwhile; nothing was changed" in refused[0]


def opened(path: Path) -> int:
    """Return how often this process has a file open."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += one.samefile(path)
    return found


def test_a_note_that_there_is_no_room_for_is_said(files: SqliteFiles) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with (
            pytest.raises(BatonError, match="File too large"),
            sqlite_lock(files.url("shop"), wait=0),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("when", ["status", "up"])
def test_a_lock_that_is_lost_is_noticed(app: Tree, run: Run, files: SqliteFiles, when: str) -> None:
    tool = app.tree / "tool.py"
    text = tool.read_text(encoding="utf-8")
    remove = f"if sys.argv[1].startswith({when!r}): os.unlink({str(lock_of(files))!r})\n"
    tool.write_text(text.replace("done, action =", f"{remove}done, action ="), encoding="utf-8")
    result = run(fails=when == "status")
    if when == "status":
        assert "the migration lock, which was lost before anything was begun" in result["msg"]
        assert (noted(app), files.path("shop").exists()) == ([], False)
    else:
        assert "the session that held the migration lock has ended meanwhile" in result["msg"]
        assert result["current"] == app.revisions(3)


def test_what_a_tool_leaves_running_does_not_keep_the_lock(app: Tree, run: Run) -> None:
    tool = app.tree / "tool.py"
    left = "if sys.argv[1] != 'status': os.system('sleep 60 & echo $! >> left')\n"
    text = tool.read_text(encoding="utf-8")
    tool.write_text(text.replace("done, action =", f"{left}done, action ="), encoding="utf-8")
    run(revision=app.revision(2))
    try:
        assert run(lock_timeout=0)["current"] == app.revisions(3)
    finally:
        for pid in (app.tree / "left").read_text(encoding="ascii").split():
            os.kill(int(pid), signal.SIGKILL)
