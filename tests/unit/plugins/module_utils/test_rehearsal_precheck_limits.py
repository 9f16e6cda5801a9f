# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a question to the target's rows does not decide, may not do and does not tell."""

from __future__ import annotations

import json
import typing

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import listed
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_run import ask

from tests.unit.plugins.module_utils.rehearsed_pair import Found, Pair, around

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, name text, mail text, n int);
CREATE TABLE notes (id int PRIMARY KEY, user_id int REFERENCES users ON DELETE SET NULL, body text);
CREATE TABLE log (line text);
CREATE TABLE watched (id int);
CREATE TABLE parts (id int, region text) PARTITION BY LIST (region);
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
CREATE TABLE loose (id int, region text);
CREATE TABLE spans (id int, during int4range);
CREATE DOMAIN code AS text;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER anything AFTER UPDATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE FUNCTION fine(x text) RETURNS boolean LANGUAGE sql AS 'SELECT x <> ''''';
"""
ROWS = """
INSERT INTO users SELECT n, 'secret-' || n, CASE WHEN n > 3 THEN 'secret@' || n END, n FROM generate_series(1, 1500) AS n;
INSERT INTO notes VALUES (1, NULL, NULL);
"""
NOT_NULL = "ALTER TABLE users ALTER mail SET NOT NULL"


@pytest.fixture
def pair(postgres: PostgresServer) -> Pair:
    """Return a shadow, and a target in which three users have no mail."""
    return Pair.make(postgres, SCHEMA, ROWS)


def only(answers: list[Found]) -> Found:
    """Return the one answer."""
    (one,) = answers
    return one


@pytest.mark.parametrize(
    ("statements", "doubt"),
    [
        (("UPDATE users SET mail = 'x' WHERE mail IS NULL", NOT_NULL), "also change rows of public.users"),
        (("DO $$BEGIN EXECUTE 'DELETE FROM users WHERE mail IS NULL'; END$$", NOT_NULL), "also change rows of public.users"),
        (("TRUNCATE users CASCADE", NOT_NULL), "also change rows of public.users"),
        (("DELETE FROM users WHERE id = 1", "ALTER TABLE notes ALTER user_id SET NOT NULL"), "also change rows of public.notes"),
        # As an ORM does: it reads the rows, and saves each of them.
        (("DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM users LOOP UPDATE users SET mail = 'x' WHERE id = r.id; END LOOP; END$$",
          NOT_NULL), "go through the rows of public.users"),
        (("SELECT id FROM users WHERE id = 7", NOT_NULL), "go through the rows of public.users"),
        (("SELECT * FROM notes", NOT_NULL), "go through the rows of public.notes and may change others"),
        (("SELECT * FROM notes", "INSERT INTO log VALUES ('x')", "ALTER TABLE notes ALTER body SET NOT NULL"),
         "go through the rows of public.notes"),
        (("DROP TABLE parts_rest", "ALTER TABLE parts ALTER region SET NOT NULL"), "change which tables are parts of public.parts"),
        (("UPDATE watched SET id = 1", NOT_NULL), "change rows of public.watched, which has triggers"),
        (("CREATE OR REPLACE FUNCTION fine(x text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
          "ALTER TABLE users ADD CHECK (fine(mail))"), "also change public.fine(x text)"),
    ],
)  # fmt: skip # one row for each case reads as a table
def test_what_the_migrations_may_mend_is_not_decided(pair: Pair, statements: tuple[str, ...], doubt: str) -> None:
    one = only(pair.answers(*statements))
    assert (one["outcome"], doubt in one["doubt"]) == ("undecided", True), one
    assert "not decided, as the migrations" in listed(one)


def test_what_another_table_gets_decides_nothing_about_this_one(pair: Pair) -> None:
    assert only(pair.answers("INSERT INTO log VALUES ('x')", NOT_NULL))["outcome"] == "fails"


def test_statements_that_change_the_schema_are_not_taken_for_code_that_goes_through_rows(pair: Pair) -> None:
    statements = (
        "CREATE INDEX CONCURRENTLY ON users (n)",
        "ALTER TABLE users ADD k uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE notes ADD FOREIGN KEY (id) REFERENCES users",
        "REFRESH MATERIALIZED VIEW sums",
        NOT_NULL,
    )
    pair.run(pair.shadow, "CREATE MATERIALIZED VIEW sums AS SELECT 1")
    one = [each for each in pair.answers(*statements) if each["kind"] == "not-null"]
    assert (only(one)["outcome"], only(one)["rows"], only(one)["doubt"]) == ("fails", 3, "")


def test_rows_that_refer_to_a_table_that_is_made_now_may_find_what_they_refer_to(pair: Pair) -> None:
    made = "CREATE TABLE teams (id int PRIMARY KEY)"
    one = only(pair.answers(made, "ALTER TABLE users ADD FOREIGN KEY (n) REFERENCES teams"))
    assert (one["outcome"], one["rows"], one["more"]) == ("undecided", 1000, True)
    assert listed(one) == (
        "more than 1000 rows refer to no row; not decided, as the migrations make public.teams and may fill it"
    )


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (("ALTER TABLE users ALTER name TYPE int USING length(name)",), "made anew with USING"),
        (("ALTER TABLE users ALTER name TYPE int USING name::int + 1",), "made anew with USING"),
        (("DO $$BEGIN EXECUTE 'ALTER TABLE users ALTER name TYPE int USING 1'; END$$",), "made anew with USING"),
        (("ALTER TABLE users ALTER mail TYPE varchar(9) USING mail::varchar(9), ALTER name TYPE int USING 1",), "made anew with USING"),
        (("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER TABLE users ALTER name TYPE int USING 1; END$$",
          "SELECT f()"), "was not seen"),
        (("ALTER TABLE users ALTER name TYPE varchar(3)[] USING ARRAY[name]",), "each part of an array"),
        (("CREATE TYPE mood AS ENUM ('sad')", "ALTER TABLE users ALTER name TYPE mood USING name::mood"), "make first (42704)"),
        (("ALTER TABLE users ADD x int GENERATED ALWAYS AS (n * 2) STORED UNIQUE",), "the migrations make public.users.x"),
        (("ALTER TABLE users ADD x uuid DEFAULT gen_random_uuid() UNIQUE",), "the migrations make public.users.x"),
        (("ALTER TABLE spans ADD EXCLUDE USING gist (during WITH &&)",), "exclude each other"),
        (("CREATE EXTENSION btree_gist", "ALTER TABLE spans ADD UNIQUE (id, during WITHOUT OVERLAPS)"), "exclude each other"),
        (("ALTER TABLE parts ATTACH PARTITION loose FOR VALUES IN ('eu')",), "its rows belong there"),
        (("CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us')",), "belong to that one"),
        (("ALTER DOMAIN code ADD CHECK (VALUE <> '')",), "columns of a domain"),
    ],
)  # fmt: skip # one row for each case reads as a table
def test_what_cannot_be_asked_is_said_to_be_unchecked(pair: Pair, statements: tuple[str, ...], why: str) -> None:
    answers = pair.answers(*statements)
    assert {one["outcome"] for one in answers if why in one["why"]} == {"unchecked"}, answers
    assert {one["outcome"] for one in answers} <= {"unchecked", "passes"}


def test_a_question_that_takes_too_long_is_given_up_and_decides_nothing(pair: Pair) -> None:
    pair.run(
        pair.target,
        "CREATE FUNCTION slow(x int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN true; END'",
    )
    pair.run(pair.shadow, "CREATE FUNCTION slow(x int) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    one = only(pair.answers("ALTER TABLE users ADD CHECK (slow(n))", timeout=0.2))
    assert listed(one) == "not checked: took longer than 0.2 s"
    assert 0.2 <= one["seconds"] < 2


def test_all_questions_together_have_an_end(pair: Pair) -> None:
    question = pair.questions(NOT_NULL)[0]
    slow = {**question, "sql": "SELECT 0 * count(pg_sleep(9))"}
    answers = pair.ask([slow] * 20, timeout=0.05)
    assert [one["why"] for one in answers][:2] == ["took longer than 0.05 s"] * 2
    assert answers[-1]["why"] == "the questions before it took 0.6 s"


def test_a_table_that_another_session_holds_is_not_waited_for(pair: Pair) -> None:
    questions = pair.questions(NOT_NULL)
    with psycopg.connect(pair.server.url(pair.target)) as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        assert listed(only(pair.ask(questions))) == "not checked: another session holds the table"


def test_what_the_user_may_not_read_is_not_checked_and_the_rest_is(pair: Pair) -> None:
    questions = pair.questions(
        NOT_NULL, "ALTER TABLE notes ALTER body SET NOT NULL", "ALTER TABLE watched ALTER id SET NOT NULL"
    )
    pair.run(pair.target, "CREATE ROLE reader LOGIN PASSWORD 'own'", "GRANT SELECT ON notes, watched TO reader")
    pair.run(pair.target, "ALTER TABLE watched ENABLE ROW LEVEL SECURITY")
    try:
        url = f"postgresql://reader:own@127.0.0.1:{pair.server.port}/{pair.target}"
        answers = {one["table"]: one for one in ask(around(url), questions, timeout=5)}
        assert answers["public.notes"]["outcome"] == "fails"
        denied = "not checked: the user that migrates may not read it (permission denied)"
        assert listed(answers["public.users"]) == denied
        # What a policy hides from this user is in the way all the same.
        assert listed(answers["public.watched"]) == denied
    finally:
        pair.run(pair.target, "DROP OWNED BY reader", "DROP ROLE reader")


def test_a_question_cannot_write_whatever_the_functions_that_it_calls_do(pair: Pair) -> None:
    writes = "CREATE FUNCTION counts(x int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (x); RETURN true; END'"
    for database in (pair.shadow, pair.target):
        pair.run(database, writes)
    one = only(pair.answers("ALTER TABLE users ADD CHECK (counts(n))"))
    assert listed(one) == "not checked: the database refused the question (25006)"
    assert pair.server.query(pair.target, "SELECT count(*) FROM log") == [(0,)]


def test_no_value_of_a_row_is_told(pair: Pair) -> None:
    answers = pair.answers(
        "ALTER TABLE users ALTER name TYPE int USING name::int",
        "ALTER TABLE users ALTER mail TYPE varchar(3)",
        "CREATE UNIQUE INDEX ON users ((id % 2))",
    )
    assert [one["outcome"] for one in answers] == ["fails"] * 3
    assert "secret" not in json.dumps(answers)
    assert listed(answers[0]) == "a value cannot be taken (InvalidTextRepresentation, 22P02)"
    assert listed(answers[1]) == "more than 1000 rows do not fit"
    assert listed(answers[2]) == "2 values are in more than one row"
