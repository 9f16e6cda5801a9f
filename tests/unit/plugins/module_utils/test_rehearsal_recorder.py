# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the recorder sees of single statements on empty tables: locks, scans, rewrites, changes of data; and what is compared."""

from __future__ import annotations

import typing

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision
from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import difference, read_catalog
from ansible_collections.baton.release.plugins.module_utils.rehearsal_findings import findings
from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import arm, install, read_events
from ansible_collections.baton.release.plugins.module_utils.rehearsal_report import report
from ansible_collections.baton.release.plugins.module_utils.rehearsal_run import Seen

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too
ALONE, WRITERS_WAIT = "AccessExclusiveLock", "ShareLock"
SCHEMA = """
CREATE TABLE users (id serial PRIMARY KEY, name text, age int, CONSTRAINT named CHECK (name IS NOT NULL));
ALTER TABLE users ADD CONSTRAINT old CHECK (age > 0) NOT VALID;
CREATE TABLE orders (id int PRIMARY KEY, user_id int);
CREATE TABLE steps (version text);
"""
# A statement, the locks that it takes, the tables that it reads as a whole, and those that it writes anew.
STATEMENTS: tuple[tuple[str, dict[str, str], list[str], list[str]], ...] = (
    ("ALTER TABLE users ADD nick text", {"public.users": ALONE}, [], []),
    ("ALTER TABLE users ADD nick text DEFAULT 'x'", {"public.users": ALONE}, [], []),
    (
        "ALTER TABLE users ADD key uuid DEFAULT gen_random_uuid()",
        {"public.users": ALONE},
        ["public.users"],
        ["public.users"],
    ),
    ("ALTER TABLE users ALTER age SET NOT NULL", {"public.users": ALONE}, ["public.users"], []),
    ("ALTER TABLE users ALTER name SET NOT NULL", {"public.users": ALONE}, [], []),  # a valid check proves it
    ("ALTER TABLE users ALTER age TYPE bigint", {"public.users": ALONE}, ["public.users"], ["public.users"]),
    ("ALTER TABLE users ADD CHECK (id > 0)", {"public.users": ALONE}, ["public.users"], []),
    ("ALTER TABLE users ADD CHECK (id > 0) NOT VALID", {"public.users": ALONE}, [], []),
    ("ALTER TABLE users VALIDATE CONSTRAINT old", {"public.users": "ShareUpdateExclusiveLock"}, ["public.users"], []),
    ("CREATE INDEX ON users (name)", {"public.users": WRITERS_WAIT}, ["public.users"], []),
    ("DO $$BEGIN EXECUTE 'CREATE INDEX ON users (name)'; END$$", {"public.users": WRITERS_WAIT}, ["public.users"], []),
    (
        "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID",
        {"public.orders": "ShareRowExclusiveLock", "public.users": "ShareRowExclusiveLock"},
        [],
        [],
    ),
)


@pytest.fixture
def session(postgres: PostgresServer, database: str) -> typing.Iterator[psycopg.Connection[typing.Any]]:
    """Return a session with an empty schema in which everything is recorded."""
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        install(connection, ["public.steps"])
        arm(connection, on=True)
        yield connection


def seen(session: psycopg.Connection[typing.Any], *statements: str, steps: str = "1") -> Found:
    """Return what was found of some statements; it is all taken back."""
    with session.transaction(force_rollback=True):
        before = read_catalog(session, ["public.steps"])
        for statement in statements:
            session.execute(b"SET LOCAL search_path = public")
            session.execute(statement.encode())
        after = read_catalog(session, ["public.steps"])
        events = tuple(read_events(session))
    return findings(Seen(before, after, events, frozenset()), [Revision(one) for one in steps])


def test_locks_scans_and_rewrites_of_single_statements(session: psycopg.Connection[typing.Any]) -> None:
    found = {}
    for statement, _takes, _scans, _rewrites in STATEMENTS:
        (one,) = seen(session, statement)["statements"]
        found[statement] = (one["takes"], one["scans"], one["rewrites"])
    assert found == {statement: (takes, scans, rewrites) for statement, takes, scans, rewrites in STATEMENTS}


def test_what_a_transaction_holds_while_it_reads_another_table_as_a_whole(
    session: psycopg.Connection[typing.Any],
) -> None:
    found = seen(session, "ALTER TABLE orders ADD note text", "ALTER TABLE users ALTER age SET NOT NULL")
    assert found["statements"][1]["holds"] == {"public.orders": ALONE}
    assert found["statements"][1]["scans"] == ["public.users"]
    (line,) = [
        line
        for line in report({**found, "tables": {"public.users": {"rows": 3_000_000, "bytes": 5 << 30}}})
        if "reads" in line
    ]
    assert line == (
        "ALTER TABLE public.users: locks public.users (AccessExclusiveLock), reads the whole of public.users, 5 GB in about"
        " 3000000 rows, while it holds public.orders (AccessExclusiveLock) (1)"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (name) SELECT 'x' WHERE false",
        "UPDATE users SET name = 'x'",
        "DELETE FROM users",
        "TRUNCATE users",
        "WITH gone AS (DELETE FROM users RETURNING id) SELECT * FROM gone",
        "DO $$BEGIN EXECUTE 'UPDATE users SET age = 1'; END$$",
    ],
)
def test_a_change_of_data_is_seen_though_there_are_no_rows(
    session: psycopg.Connection[typing.Any], statement: str
) -> None:
    found = seen(session, statement)
    assert [one["changes_data"] for one in found["statements"]] == [["public.users"]]
    assert found["changes"][0]["level"] in ("review", "contract")


def test_triggers_that_are_disabled_hide_nothing(session: psycopg.Connection[typing.Any]) -> None:
    off, on = "ALTER TABLE users DISABLE TRIGGER ALL", "ALTER TABLE users ENABLE TRIGGER ALL"
    told = [str(one["what"]) for one in seen(session, off, "UPDATE users SET age = 1", on)["changes"]]
    assert any("nobody knows what happened to its rows" in one for one in told)
    # Nor does a session that has the server leave out triggers.
    session.execute(b"SET session_replication_role = replica")
    assert seen(session, "UPDATE users SET age = 1")["level"] == "review"


def test_what_only_reads_or_makes_something_new_does_nothing_to_tables_in_use(
    session: psycopg.Connection[typing.Any],
) -> None:
    for statement in (
        "SELECT * FROM users",
        "CREATE TABLE new (id int)",
        "CREATE TABLE new (id int); INSERT INTO new VALUES (1)",
    ):
        found = seen(session, statement)
        assert (found["statements"], found["level"]) == ([], "expand")


def test_each_change_is_told_with_the_migration_that_made_it(session: psycopg.Connection[typing.Any]) -> None:
    statements = (
        "ALTER TABLE users ADD nick text",
        "INSERT INTO steps VALUES ('1')",
        "ALTER TABLE users ALTER age SET NOT NULL",
        "ALTER TABLE orders DROP user_id",
        "UPDATE users SET name = 'x'",
        "INSERT INTO steps VALUES ('2')",
    )
    found = seen(session, *statements, steps="12")
    assert {one["name"]: one["revisions"] for one in found["changes"]} == {
        "public.orders.user_id": ["2"],
        "public.users": ["2"],
        "public.users.age": ["2"],
        "public.users.nick": ["1"],
    }
    assert [one["revision"] for one in found["statements"]] == ["1", "2", "2", "2"]


def test_an_index_made_concurrently_is_seen_though_no_lock_is_left(session: psycopg.Connection[typing.Any]) -> None:
    before = read_catalog(session)
    session.execute(b"CREATE INDEX CONCURRENTLY quick ON public.users (age)")
    session.execute(b"VACUUM FULL public.orders")
    found = findings(Seen(before, read_catalog(session), tuple(read_events(session)), frozenset()), [Revision("1")])
    assert {(one["level"], one["name"]) for one in found["changes"]} == {
        ("expand", "public.quick"),
        ("review", "public.orders"),
    }
    assert [one["concurrently"] for one in found["statements"]] == [True]


def test_two_schemas_are_the_same_whatever_way_led_there(session: psycopg.Connection[typing.Any]) -> None:
    before = read_catalog(session)
    session.execute(b"ALTER TABLE public.users RENAME name TO title; ALTER TABLE public.users RENAME title TO name")
    session.execute(b"DROP TABLE public.orders; CREATE TABLE public.orders (id int PRIMARY KEY, user_id int)")
    assert difference(before, read_catalog(session)) == []
    session.execute(b"ALTER TABLE public.orders DROP id; ALTER TABLE public.orders ADD id int PRIMARY KEY")
    assert difference(before, read_catalog(session)) == [
        "column public.orders.id: position was 1, is 2",
        "column public.orders.user_id: position was 2, is 1",
    ]
