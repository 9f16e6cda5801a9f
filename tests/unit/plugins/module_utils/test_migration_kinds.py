# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a database URL means, what a session of MySQL is told, and what is left of a migration that failed."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils._mysql_url import Tls, options_of
from ansible_collections.baton.release.plugins.module_utils._sqlite import path_of, read, stand_in
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migrate_dbmate import described
from ansible_collections.baton.release.plugins.module_utils.migration_advice import difference, waited_in_vain
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import (
    MYSQL,
    POSTGRESQL,
    SQLITE,
    kind_of,
    refuse_other_kind,
)
from ansible_collections.baton.release.plugins.module_utils.migration_lock_mysql import is_read_only, lock_name
from ansible_collections.baton.release.plugins.module_utils.migration_session import (
    GO,
    NO_URL,
    READ_ONLY,
    SQLALCHEMY,
    limits,
    session_variables,
)
from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://h/d", POSTGRESQL),
        ("postgres://h/d", POSTGRESQL),
        ("postgresql+psycopg://h/d", POSTGRESQL),
        ("mysql://h/d", MYSQL),
        ("MySQL+PyMySQL://h/d", MYSQL),
        ("mariadb+pymysql://h/d", MYSQL),
        ("sqlite:////d.db", SQLITE),
    ],
)
def test_the_scheme_says_what_kind_of_database_it_is(url: str, kind: str) -> None:
    assert kind_of(url) == kind


@pytest.mark.parametrize("url", ["oracle://scott:tiger@h/d", "mysqlx://h/d", "secret-words", "://x", "mysql:h/d"])
def test_another_scheme_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(BatonError) as refused:
        kind_of(url)
    said = str(refused.value)
    assert "mysql://, mariadb:// or sqlite:////" in said
    assert "tiger" not in said
    assert "secret-words" not in said


@pytest.mark.parametrize(
    ("driver", "url", "options", "said"),
    [
        ("sqitch", "mysql://h/d", {}, "Sqitch would show the password"),
        ("flyway", "mariadb://h/d", {}, "the driver flyway with MySQL or MariaDB"),
        ("liquibase", "sqlite:////d.db", {}, "the driver liquibase with SQLite"),
        ("dbmate", "mysql://h/d", {"rehearsal_url_variable": "X"}, "rehearsal_url_variable with MySQL"),
        ("dbmate", "sqlite:////d.db", {"rehearsal_bin": "/x", "rehearsal_tables": ["y"]}, "rehearsal_bin, rehearsal_t"),
        ("dbmate", "mysql://h/d", {"rehearsal_same_server": True}, "(database_rehearsal_same_server in the inv"),
        ("dbmate", "mysql://h/d", {"rehearsal_statements_of": ["shop"]}, "rehearsal_statements_of with"),
    ],
)
def test_what_does_not_go_together_is_refused(driver: str, url: str, options: dict[str, typing.Any], said: str) -> None:
    with pytest.raises(BatonError, match="nothing was touched") as refused:
        refuse_other_kind(driver, url, options)
    assert said in str(refused.value)
    refuse_other_kind(driver, "postgresql://h/d", options)


def test_a_url_of_mysql_is_read_as_others_read_it() -> None:
    found = options_of("mysql+pymysql://shop%40x:p%2Fw@db.example.com:3307/sh%6Fp?charset=utf8mb4")
    assert found == ("shop@x", "p/w", "db.example.com", 3307, "shop", "", Tls(), 10)
    assert options_of("mysql://shop@/shop?unix_socket=/run/x.sock")[2:6] == ("127.0.0.1", 3306, "shop", "/run/x.sock")


@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("ssl-mode=DISABLED", (False, False, False)),
        ("ssl-mode=PREFERRED", (None, False, False)),
        ("tls=skip-verify", (True, False, False)),
        ("ssl_cert=/c.pem", (True, False, False)),
        ('ssl={"rejectUnauthorized":false}', (True, False, False)),
        ("sslMode=VERIFY_CA", (True, True, False)),
        ("ssl_mode=REQUIRED&ssl-ca=/ca.pem", (True, True, False)),
        ("ssl_ca=/ca.pem&ssl_check_hostname=False", (True, True, False)),
        ("ssl_capath=/ca", (True, True, True)),
        ("ssl-mode=VERIFY_IDENTITY", (True, True, True)),
        ("tls=true", (True, True, True)),
        ('ssl={"rejectUnauthorized": true}', (True, True, True)),
    ],
)
def test_tls_is_what_the_url_says_in_the_words_of_any_tool(query: str, tls: tuple[bool, ...]) -> None:
    assert options_of(f"mysql://h/d?{query}").tls[:3] == tls


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tls=our-own", "tls=our-own in the database URL"),
        ("ssl-mode=REQUIRE_ALL", "ssl_mode=REQUIRE_ALL"),
        ('ssl={"ca":"x"}', 'ssl={"ca":"x"}'),
        ("ssl_cipher=AES&ssl_crl=x", "ssl_cipher, ssl_crl in the database URL"),
        ("tls=true&ssl-mode=DISABLED", "ssl_mode, tls in the database URL"),
        ("connect_timeout=soon", "soon as connect_timeout"),
        ("timeout=-1s", "-1s as connect_timeout or timeout"),
    ],
)
def test_what_would_not_be_as_the_url_says_is_refused(query: str, said: str) -> None:
    with pytest.raises(BatonError, match="nothing was changed") as refused:
        options_of(f"mysql://h/d?{query}")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("connect_timeout=30", 30), ("timeout=1m1.5s", 61.5), ("timeout=300ms", 0.3), ("timeout=0s", 31_536_000)],
)
def test_how_long_a_server_may_take_to_answer_is_what_the_url_says(query: str, seconds: float) -> None:
    assert options_of(f"mysql://h/d?{query}").connect_timeout == seconds


@pytest.mark.parametrize(
    "url", ["mysql://u:geheim@h", "mysql://u:geheim@h/", "mysql://u:geheim@[h/d", "mysql://u:geheim@h:x/d"]
)
def test_a_url_of_mysql_that_cannot_be_read_shows_no_password(url: str) -> None:
    with pytest.raises(BatonError, match="a database URL that cannot be read") as refused:
        options_of(url)
    assert "geheim" not in str(refused.value)


def test_only_an_absolute_path_is_a_database_of_sqlite() -> None:
    assert path_of("sqlite:////srv/sh op.db?mode=rwc%20") == Path("/srv/sh op.db")
    for url in (
        "sqlite:///shop.db",
        "sqlite://",
        "sqlite://:memory:",
        "sqlite:////srv/",
        "sqlite:////srv/../x",
        "sqlite:////a\0",
    ):
        with pytest.raises(BatonError, match="without an absolute path"):
            path_of(url)
    for url in ("sqlite:////srv/sh%20op.db", "sqlite:////srv/shop#1.db"):
        with pytest.raises(BatonError, match="with % or # in its path"):
            path_of(url)


def test_a_file_of_sqlite_that_is_not_there_is_read_as_empty_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with stand_in(f"sqlite:///{path}?x=1") as instead:
        assert instead is not None
        assert path_of(instead).read_bytes() == b""
        assert path_of(instead) != path
        assert instead.endswith("?x=1")
    assert read(path, "SELECT 1") == []
    assert list(tmp_path.iterdir()) == []
    path.touch()
    with stand_in(f"sqlite:///{path}") as instead:
        assert instead is None
    path.write_text("no database" * 100, encoding="utf-8")
    with pytest.raises(BatonError, match="no database of SQLite"):
        read(path, "SELECT * FROM x")
    for strange in (tmp_path, tmp_path / ("x" * 300), Path("/dev/null")):
        with pytest.raises(BatonError, match="which cannot be the database"):
            read(strange, "SELECT 1")
        with pytest.raises(BatonError, match="which cannot be the database"), stand_in(f"sqlite:///{strange}"):
            pass


def test_the_name_of_a_lock_is_one_for_each_database_and_short() -> None:
    names = {lock_name(one) for one in ("shop", "stock", "x" * 64, "x" * 63 + "y", "é" * 64)}
    assert len(names) == 5
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize(
    ("told", "read_only"),
    [(0, False), (1, True), ("OFF", False), ("ON", True), ("NO_LOCK", True), ("NO_LOCK_NO_ADMIN", True)],
)
def test_a_server_is_read_only_by_a_number_or_by_a_word(told: object, *, read_only: bool) -> None:
    assert is_read_only(told) == read_only


def settings(**more: typing.Any) -> ToolSettings:
    return ToolSettings(**{"project_dir": Path("/"), "environment": {}, "env_files": [], "database_url_variable": "U",
                           "ddl_lock_timeout": "5s", "timeout": 1.0, **more})  # fmt: skip # as a call


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("5s", "5"), ("200ms", "1"), ("1500", "2"), ("2min", "120"), ("0", "31536000"), ("0s", "31536000")],
)
def test_a_wait_is_in_whole_seconds(given: str, seconds: str) -> None:
    found = limits(settings(ddl_lock_timeout=given), "MariaDB")
    assert found == {"lock_wait_timeout": seconds, "innodb_lock_wait_timeout": seconds}


def test_how_long_a_statement_may_run_is_called_differently() -> None:
    assert limits(settings(statement_timeout="1500ms"), "MariaDB")["max_statement_time"] == "1.5"
    assert limits(settings(statement_timeout="2s"), "MySQL")["max_execution_time"] == "2000"


def test_each_tool_is_told_in_its_own_way() -> None:
    wanted = {"lock_wait_timeout": "5", "innodb_lock_wait_timeout": "5"}
    statement = "SET SESSION lock_wait_timeout=5,innodb_lock_wait_timeout=5"
    url = "mysql+pymysql://h/d"
    told = session_variables("U", url, wanted, SQLALCHEMY)
    assert told["BATON_INIT_COMMAND"] == statement
    assert told["U"] == f"{url}?init_command={statement.replace(' ', '+')}"
    assert session_variables("U", f"{url}?charset=x", wanted, SQLALCHEMY)["U"].startswith(
        f"{url}?charset=x&init_command="
    )
    assert session_variables("U", f"{url}?init_command=x", wanted, SQLALCHEMY)["U"] == f"{url}?init_command=x"
    assert "?init_command=" in session_variables("U", "mysql://u:init_command=@h/d", wanted, SQLALCHEMY)["U"]
    assert session_variables("U", "mysql+pyodbc://h/d", wanted, SQLALCHEMY)["U"] == "mysql+pyodbc://h/d"
    assert (
        session_variables("U", "mysql://h/d", wanted, GO)["U"]
        == "mysql://h/d?lock_wait_timeout=5&innodb_lock_wait_timeout=5"
    )
    given = "mysql://h/d?innodb_lock_wait_timeout=9"  # the name of the other one is a part of it
    assert session_variables("U", given, wanted, GO)["U"] == f"{given}&lock_wait_timeout=5"
    assert session_variables("U", "mysql://h/d", READ_ONLY, GO)["U"] == "mysql://h/d"
    assert session_variables("U", url, wanted, NO_URL)["U"] == url
    assert session_variables("U", url, READ_ONLY, NO_URL)["BATON_INIT_COMMAND"] == "SET SESSION TRANSACTION READ ONLY"


def test_what_a_failure_has_left_is_named_without_what_goes_without_saying() -> None:
    before = {"table a": "", "column a.x": "int", "index a.i": "x"}
    after = {
        "table a": "",
        "column a.x": "text",
        "table b": "",
        "column b.y": "int",
        "index b.k": "y",
        "column a.z": "int",
    }
    assert difference(before, after) == ["new: column a.z", "new: table b", "gone: index a.i", "changed: column a.x"]
    assert difference(None, after) == difference(before, None) == difference(before, before) == []


@pytest.mark.parametrize(
    ("kind", "output", "waited"),
    [
        (MYSQL, "(1205, 'Lock wait timeout exceeded; try restarting transaction')", True),
        (MYSQL, "Error 1213 (40001): Deadlock", True),
        (MYSQL, "(1060, \"Duplicate column name 'x1205'\")", False),
        (SQLITE, "sqlite3.OperationalError: database is locked", True),
        (POSTGRESQL, "database is locked", False),
    ],
)
def test_who_waited_in_vain_is_known_by_the_words_of_the_database(kind: str, output: str, waited: bool) -> None:
    assert waited_in_vain(kind, Ended(1, output, [])) == waited
    assert not waited_in_vain(kind, Ended(None, output, []))


@pytest.mark.parametrize(
    ("kind", "body", "whole"),
    [
        (MYSQL, "\nALTER TABLE a ADD b int;\n", True),
        (MYSQL, "\n-- one; two\nALTER TABLE a ADD b int\n", True),
        (MYSQL, "\nINSERT INTO a VALUES ('--'); ALTER TABLE a ADD b int\n", False),
        (MYSQL, "\nINSERT INTO a VALUES ('\n-- '); ALTER TABLE a ADD b int\n", False),
        (MYSQL, "\nINSERT INTO a VALUES (1);\nALTER TABLE a ADD b int;\n", False),
        (MYSQL, "\n-- it's what\n# does it\n/* all */ call everything()\n", False),
        (SQLITE, "\nINSERT INTO a VALUES (1);\nALTER TABLE a ADD b int;\n", True),
        (SQLITE, " transaction:false\nINSERT INTO a VALUES (1);\n", False),
    ],
)
def test_only_what_can_have_left_nothing_behind_is_whole(kind: str, body: str, whole: bool) -> None:
    assert described("01_x.sql", f"-- migrate:up{body}-- migrate:down\nx; y;", kind).whole == whole
