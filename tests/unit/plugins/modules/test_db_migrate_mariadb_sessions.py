# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Sessions with a real MariaDB: secured and limited as the URL says, lost at any moment, and a server that dies in the middle."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
import typing
from urllib.parse import quote

import pymysql
import pytest
from ansible_collections.baton.release.plugins.module_utils import _pymysql
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock_mysql import lock_name, mysql_lock

from tests.mariadb import maria_server
from tests.unit.plugins.modules.db_migrate_called import Run, finish, until
from tests.unit.plugins.modules.migration_trees import Tree
from tests.unit.plugins.modules.other_database_trees import ON_MARIADB, exists
from tests.unit.plugins.modules.test_db_migrate_drivers import noted
from tests.unit.plugins.modules.test_db_migrate_mariadb import WAITING

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.mariadb import MariaServer

PATIENCE = 400  # seconds; on a host that has much else to do a module may take a minute to start
CIPHER = "SHOW STATUS LIKE 'Ssl_cipher'"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for 127.0.0.1 that has signed itself; its key is beside it."""
    directory = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *subject, *files], check=True, capture_output=True)
    return directory / "certificate.pem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> typing.Iterator[MariaServer]:
    """Return a server of its own: it offers TLS, keeps what is committed, and dies in a test."""
    files = {"ssl_cert": certificate, "ssl_key": certificate.with_name("key.pem"), "ssl_ca": certificate}
    directory = tmp_path_factory.mktemp("secured")
    with maria_server(directory, ssl="ON", innodb_flush_log_at_trx_commit=1, **files) as server:
        yield server


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path, mariadb: MariaServer) -> Tree:
    return ON_MARIADB[getattr(request, "param", "command")](tmp_path, mariadb, mariadb.create_database())


def cipher(url: str) -> str:
    """Connect as the module does, and return by what the session is secured, "" for nothing."""
    with contextlib.closing(_pymysql.connect(url)) as session:
        return str(_pymysql.rows(session, CIPHER)[0][1])


@pytest.mark.parametrize(
    ("query", "secured"),
    [
        ("ssl-mode=DISABLED", False),
        ("ssl-mode=REQUIRED", True),
        ('ssl={"rejectUnauthorized":false}', True),
        ("ssl_ca={certificate}", True),
        ("ssl-mode=VERIFY_CA&ssl_ca={certificate}&host=localhost", True),
        ("ssl_ca={certificate}&ssl_check_hostname=false&host=localhost", True),
    ],
)
def test_a_session_is_secured_as_the_url_says(
    server: MariaServer, certificate: Path, query: str, *, secured: bool
) -> None:
    assert bool(cipher(address(server, certificate, query))) == secured


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tls=true", "the server does not prove with its certificate"),
        ("ssl_ca={certificate}&host=localhost", "the server does not prove with its certificate"),
        ("ssl_ca=/nonexistent", "a file of TLS in the database URL that cannot be used"),
        ("ssl_cipher=AES", "ssl_cipher in the database URL"),
    ],
)
def test_a_session_that_would_not_be_so_is_refused(
    server: MariaServer, certificate: Path, query: str, said: str
) -> None:
    with pytest.raises(BatonError, match="nothing was changed") as refused:
        cipher(address(server, certificate, query))
    assert said in str(refused.value)


def address(server: MariaServer, certificate: Path, query: str) -> str:
    """Return the URL with these parameters, for the name localhost where ``host`` is one of them."""
    url = f"{server.url()}?{query.replace('{certificate}', str(certificate))}"
    return url.replace("@127.0.0.1:", "@localhost:") if "&host=localhost" in query else url


def test_a_user_proves_itself_by_a_certificate(server: MariaServer, certificate: Path) -> None:
    server.query("mysql", "CREATE USER proven@'%' REQUIRE X509")
    url = f"mysql://proven@127.0.0.1:{server.port}/information_schema?ssl-mode=REQUIRED"
    with pytest.raises(BatonError, match="does not accept the user or the password"):
        cipher(url)
    assert cipher(f"{url}&ssl_cert={certificate}&ssl_key={certificate.with_name('key.pem')}")


@pytest.fixture(params=["this PyMySQL", "one before 1.2"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the library insist on TLS, or never."""
    if request.param == "one before 1.2":
        never = property(lambda _self: False, lambda _self, _value: None)
        monkeypatch.setattr(pymysql.connections.Connection, "_ssl_required", never, raising=False)


@pytest.mark.usefixtures("library")
def test_a_server_without_tls_is_refused_where_the_url_demands_it(mariadb: MariaServer) -> None:
    with pytest.raises(BatonError, match="TLS, which the database URL demands"):
        cipher(f"{mariadb.url()}?ssl-mode=REQUIRED")


def test_a_server_that_does_not_answer_is_waited_for_as_long_as_the_url_says() -> None:
    with socket.socket() as mute, contextlib.ExitStack() as full:
        mute.bind(("127.0.0.1", 0))
        mute.listen(0)
        for _number in range(3):  # more than it has room for: whoever comes now is not answered
            waiting = full.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(mute.getsockname())
        started = time.monotonic()
        with pytest.raises(BatonError, match="the database does not answer"):
            cipher(f"mysql://shop@127.0.0.1:{mute.getsockname()[1]}/shop?timeout=300ms")
        assert 0.3 <= time.monotonic() - started < 8


def test_a_password_may_be_in_any_language(mariadb: MariaServer) -> None:
    mariadb.query("mysql", "CREATE USER foreign_words@'%' IDENTIFIED BY 'pä€s/s'")
    cipher(f"mysql://foreign_words:{quote('pä€s/s', safe='')}@127.0.0.1:{mariadb.port}/information_schema")


def test_a_server_may_speak_another_language(mariadb: MariaServer) -> None:
    mariadb.query("mysql", "SET GLOBAL lc_messages = 'de_DE'")
    try:
        with pytest.raises(BatonError, match="does not accept the user or the password") as refused:
            cipher(mariadb.url(password="".join(["wrong", "-one"])))
        assert "Access denied" not in refused.value.details["details"]
    finally:
        mariadb.query("mysql", "SET GLOBAL lc_messages = 'en_US'")


@pytest.mark.parametrize("app", ["dbmate"], indirect=True)
def test_limits_in_the_url_are_those_of_the_migrations(app: Tree, run: Run) -> None:
    """And those that the URL leaves out are ours."""
    app.add(4, "CREATE TABLE told AS SELECT @@lock_wait_timeout AS ours, @@innodb_lock_wait_timeout AS own")
    app.url(f"{app.address()}?innodb_lock_wait_timeout=3")
    run(ddl_lock_timeout="7s")
    assert app.query("SELECT ours, own FROM told") == [(7, 3)]


@pytest.mark.parametrize("app", ["dbmate"], indirect=True)
def test_a_table_of_dbmate_may_be_called_as_it_likes(app: Tree, run: Run) -> None:
    assert run(environment={"DBMATE_MIGRATIONS_TABLE": "done%s"})["current"] == app.revisions(3)


@pytest.mark.parametrize(
    ("library", "found"),
    [
        ("raise ImportError('No module named pymysql')", "no PyMySQL for"),
        ("VERSION = (0, 8, 1, None)\nclass err: MySQLError = Exception", "PyMySQL 0.8"),
    ],
)
def test_without_the_library_nothing_is_touched(
    app: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, found: str
) -> None:
    """Python looks for what it imports where it was started first."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pymysql.py").write_text(f"{library}\n", encoding="utf-8")
    tool = app.tree / "tool.py"
    tool.write_text(f"open('ran', 'w')\n{tool.read_text(encoding='utf-8')}", encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    refused = finish(app.start("state"), PATIENCE)
    assert refused["failed"]
    assert f"Found: {found}" in refused["msg"]
    assert f"install the package python3-pymysql, or run '{sys.executable} -m pip install PyMySQL'" in refused["msg"]
    assert (app.query("SHOW TABLES"), (app.tree / "ran").exists(), noted(app)) == ([], False, [])


def sessions(app: Tree) -> set[int]:
    """Return the connections to the database of the app, but for that of the question."""
    found = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    return {pid for (pid,) in app.query(found)}


def test_whose_session_ends_while_it_waits_for_the_lock_is_told(app: Tree, mariadb: MariaServer) -> None:
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(BatonError) as error, mysql_lock(app.address(), wait=PATIENCE):
            pass
        refused.append(str(error.value))

    with mariadb.connect(app.database) as session, session.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (lock_name(app.database),))
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: len(sessions(app)) == 2, PATIENCE)
        for pid in sessions(app) - {session.thread_id()}:
            mariadb.query("mysql", f"KILL {pid}")
        thread.join(PATIENCE)
    assert len(refused) == 1
    assert "the database has ended the session" in refused[0]
    assert "nothing was changed" in refused[0]


def test_a_lock_that_is_lost_while_the_schema_is_read_is_noticed_before_anything_is_begun(app: Tree, run: Run) -> None:
    tool = app.tree / "tool.py"
    taken = f"IS_USED_LOCK('{lock_name(app.database)}')"
    kill = f'    cursor.execute("SELECT {taken}")\n    cursor.execute(f"KILL {{cursor.fetchone()[0]}}")\n'
    text = tool.read_text(encoding="utf-8")
    tool.write_text(text.replace('if action == "status":\n', f'if action == "status":\n{kill}'), encoding="utf-8")
    refused = run(fails=True)
    assert "the migration lock, which was lost before anything was begun" in refused["msg"]
    assert (app.query("SHOW TABLES"), noted(app)) == ([], [])
    tool.write_text(text, encoding="utf-8")
    assert run()["current"] == app.revisions(3)


def test_a_server_that_dies_in_the_middle_leaves_what_is_explained(
    tmp_path: Path, server: MariaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where the schema is nor what stands of it can be read by then, which is said."""
    app = ON_MARIADB["dbmate"](tmp_path, server, server.create_database())
    app.call(capsys)
    app.add(4, "ALTER TABLE users ADD half int; SELECT SLEEP(400)")
    process = app.start("state", ddl_lock_timeout="0")
    until(lambda: exists(app, "users", "half"), PATIENCE)
    server.kill()
    failed = finish(process, PATIENCE)
    assert "where the schema is now could not be read (Found: the database does not answer" in failed["msg"]
    assert "what of it stands in the schema could not be read" in failed["msg"]
    assert "the session that held the migration lock has ended meanwhile" in failed["msg"]
    assert "see that the database runs, then run again" in failed["msg"]
    assert failed["stands"] == []
    server.start()
    refused = app.call(capsys, fails=True)
    assert "that attempt has left a part of this migration behind" in refused["msg"]
    assert (refused["current"], refused["stands"]) == (app.revisions(3), [])
    app.query("ALTER TABLE users DROP half")
    app.add(4, "ALTER TABLE users ADD half int")
    assert app.call(capsys)["current"] == app.revisions(4)


@pytest.mark.parametrize("how", ["query", "prepared"])
def test_what_a_killed_tool_has_left_in_the_server_is_known_behind_its_comments(
    app: Tree, mariadb: MariaServer, how: str
) -> None:
    statement = "-- migrate:up\n/* why */ # so\nALTER TABLE held ADD left_behind int"
    mariadb.query(app.database, "CREATE TABLE held (id int)")
    with mariadb.connect(app.database) as holder, mariadb.connect(app.database) as left, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM held")
        if how == "query":
            left._execute_command(0x03, statement)
        else:
            left._execute_command(0x16, statement)
            (number,) = struct.unpack("<I", left._read_packet().get_all_data()[1:5])
            left._execute_command(0x17, struct.pack("<IBI", number, 0, 1))
        until(lambda: app.query(WAITING), PATIENCE)
        with pytest.raises(BatonError) as refused, mysql_lock(app.address(), wait=0):
            pass
        assert f"connection {left.thread_id()}, which changes the schema without the migration lock (-- migrate:up" in (
            str(refused.value)
        )
        cursor.execute("COMMIT")
    until(lambda: exists(app, "held", "left_behind"), PATIENCE)
    with mysql_lock(app.address(), wait=0) as session:
        assert session.held()
