# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Liquibase's own lock in a real PostgreSQL: what is ours and over is released, all else is left alone and named."""

from __future__ import annotations

import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils import _liquibase_tables, _psycopg
from ansible_collections.baton.release.plugins.module_utils._liquibase_tables import APPLICATION, Tables
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

OURS = "app1#baton.db_migrate (10.0.0.1)"
THEIRS = "app1 (10.0.0.1)"


class Lock:
    """The table in a database, and what reads it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self._postgres, self._database = postgres, database
        self.tables = Tables(Surroundings({}, postgres.url(database), (), frozenset()), {})
        self.query(
            "CREATE TABLE databasechangeloglock (id int, locked boolean, lockgranted timestamp, lockedby varchar(255))"
        )

    def query(self, statement: str) -> list[tuple[typing.Any, ...]]:
        return self._postgres.query(self._database, statement)

    def held_by(self, holder: str) -> None:
        self.query(f"INSERT INTO databasechangeloglock VALUES (1, true, '2026-01-02 03:04:05', '{holder}')")  # noqa: S608 - one of the two above

    def row(self) -> tuple[typing.Any, ...]:
        return self.query("SELECT locked, lockedby FROM databasechangeloglock")[0]


@pytest.fixture
def lock(postgres: PostgresServer, database: str) -> Lock:
    return Lock(postgres, database)


def test_a_lock_of_ours_is_released(lock: Lock) -> None:
    lock.tables.free_lock()
    lock.held_by(OURS)
    lock.tables.free_lock()
    assert lock.row() == (False, None)


def test_a_lock_of_somebody_else_is_left_alone(lock: Lock) -> None:
    lock.held_by(THEIRS)
    with pytest.raises(BatonError, match=r"held by app1 \(10.0.0.1\) since 2026-01-02 03:04:05"):
        lock.tables.free_lock()
    assert lock.row() == (True, THEIRS)


def test_a_lock_of_ours_is_kept_while_its_session_is_at_work(
    lock: Lock, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.held_by(OURS)
    monkeypatch.setattr(_liquibase_tables, "_ENDING", 0.1)
    with (
        _psycopg.connect({}, postgres.url(database), application_name=APPLICATION),
        pytest.raises(BatonError, match="which is still at work"),
    ):
        lock.tables.free_lock()
    assert lock.row() == (True, OURS)
    monkeypatch.setattr(_liquibase_tables, "_ENDING", 30)
    lock.tables.free_lock()
    assert lock.row() == (False, None)


def test_without_its_table_there_is_nothing_to_free(postgres: PostgresServer, database: str) -> None:
    tables = Tables(Surroundings({}, postgres.url(database), (), frozenset()), {"liquibaseschemaname": "nosuch"})
    tables.free_lock()
    assert tables.ran() == []


def test_what_ran_is_read_in_its_order_from_tables_of_any_name(postgres: PostgresServer, database: str) -> None:
    postgres.query(database, "CREATE SCHEMA meta")
    postgres.query(
        database,
        'CREATE TABLE meta."Shop_Log" (id text, author text, filename text, dateexecuted timestamp, orderexecuted int, md5sum text,'
        " description text)",
    )
    postgres.query(
        database,
        "INSERT INTO meta.\"Shop_Log\" VALUES ('b', 'ann', 'classpath:db/x.xml', '2026-01-02', 2, NULL, NULL),"
        " ('a', 'ann', 'db/x.xml', '2026-01-02', 1, '9:aa', 'createTable')",
    )
    told = {"databasechangelogtablename": "SHOP_LOG", "liquibaseschemaname": "META"}
    tables = Tables(Surroundings({}, postgres.url(database), (), frozenset()), told)
    assert [(one.name, one.checksum) for one in tables.ran()] == [
        ("db/x.xml::a::ann", "9:aa"),
        ("db/x.xml::b::ann", ""),
    ]
