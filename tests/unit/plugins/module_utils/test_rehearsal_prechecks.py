# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is said of the target's rows before a change is what becomes of the change when it is really made there."""

from __future__ import annotations

import typing

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import arm, install

from tests.unit.plugins.module_utils.rehearsed_pair import Pair

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION number(x text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN x ~ ''^[0-9]+$''; END';
CREATE DOMAIN code AS text CHECK (length(VALUE) < 9);
CREATE TABLE users (id int PRIMARY KEY, name text, mail text, age int, big bigint, code varchar(20), price numeric(12, 2),
  feeling text, flags bit varying(8), twin pair, tags text[], padded char(8), born text);
ALTER TABLE users ADD CONSTRAINT old CHECK (age < 200) NOT VALID;
CREATE TABLE orders (id int PRIMARY KEY, user_id int, a int, b int, note text);
ALTER TABLE orders ADD CONSTRAINT older FOREIGN KEY (user_id) REFERENCES users NOT VALID;
CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE "we"" ird; drop table" ("co""l; --" text, "SELECT" int, "UPPER" int);
CREATE TABLE parts (id int, region text NOT NULL, note text) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
CREATE TABLE family (id int, name text);
CREATE TABLE child (extra int) INHERITS (family);
"""
USER = "INSERT INTO users (id, name, mail, age, big, code, price, feeling) VALUES (1, 'Ann', 'a@x', 30, 5, 'abc', 10.5, 'fine')"


def then(*statements: str) -> str:
    """Return statements as one text."""
    return "; ".join(statements)


def user(**values: str) -> str:
    """Return the statement that adds a second user, with these values beside those of the first."""
    given = {"id": "2", "name": "'Bob'", "mail": "'b@x'", "age": "31", "code": "'abd'", "feeling": "'sad'", **values}
    return then(USER, f"INSERT INTO users ({', '.join(given)}) VALUES ({', '.join(given.values())})")  # noqa: S608 - constants


ORDER = then(
    USER,
    "INSERT INTO orders (id, user_id, a, b) VALUES (1, 1, 1, 2), (2, NULL, NULL, NULL)",
    "INSERT INTO pairs VALUES (1, 2)",
)
WEIRD = """INSERT INTO "we"" ird; drop table" VALUES ('x', 1, 1), ('y', 2, NULL)"""


def order(values: str) -> str:
    """Return the statement that adds a third order."""
    return then(ORDER, f"INSERT INTO orders (id, a, b) VALUES (3, {values})")  # noqa: S608 - constants


CAST = "ALTER TABLE users ALTER {0} TYPE {1} USING {0}::{1}"
BOTH_KEYS = "ALTER TABLE orders ADD FOREIGN KEY (a, b) REFERENCES pairs"
# A change, rows with which it succeeds, rows with which it fails, and the kind of question that says so. None: nothing fails or succeeds.
CASES: tuple[tuple[str, str | None, str | None, str], ...] = (
    ("ALTER TABLE users ALTER mail SET NOT NULL", user(), user(mail="NULL"), "not-null"),
    ("ALTER TABLE users ALTER twin SET NOT NULL", then(user(twin="(1, 2)"), "DELETE FROM users WHERE id = 1"), user(), "not-null"),
    ("ALTER TABLE users ALTER twin SET NOT NULL",
     then(user(twin="ROW(NULL, NULL)::pair"), "DELETE FROM users WHERE id = 1"), None, "not-null"),
    ("ALTER TABLE users ADD town text NOT NULL", "SELECT 1", USER, "not-null"),
    ("ALTER TABLE users ADD town text NOT NULL DEFAULT 'x'; ALTER TABLE users ALTER town DROP DEFAULT", USER, None, ""),
    ("ALTER TABLE users ADD town text DEFAULT 'it''s \\'; ALTER TABLE users ADD CHECK (town = 'it''s \\')", USER, None, "check"),
    ("ALTER TABLE users ADD town text DEFAULT 'x'; ALTER TABLE users ADD CHECK (town <> 'x')", "SELECT 1", USER, "check"),
    ("ALTER TABLE users ADD town text; ALTER TABLE users ALTER town SET DEFAULT 'x', ALTER town SET NOT NULL", None, USER, "not-null"),
    ("ALTER TABLE users ADD k uuid NOT NULL DEFAULT gen_random_uuid(), ADD n bigint GENERATED ALWAYS AS IDENTITY", USER, None, ""),
    ("ALTER TABLE users ADD CONSTRAINT filled NOT NULL mail NOT VALID", user(mail="NULL"), None, ""),
    ("ALTER TABLE users RENAME mail TO post; ALTER TABLE users ALTER post SET NOT NULL", user(), user(mail="NULL"), "not-null"),
    ("ALTER TABLE users RENAME TO people; ALTER TABLE people ALTER mail SET NOT NULL", user(), user(mail="NULL"), "not-null"),
    ("ALTER TABLE users ADD UNIQUE (name)", user(), user(name="'Ann'"), "unique"),
    ("ALTER TABLE users ADD UNIQUE (twin)", then(user(), "") + user().split("; ")[0].replace("(1,", "(3,"), None, "unique"),
    ("ALTER TABLE users ADD UNIQUE NULLS NOT DISTINCT (tags)", USER, user(), "unique"),
    ("CREATE UNIQUE INDEX ON users ((lower(name)))", user(), user(name="'ANN'"), "unique"),
    ("CREATE UNIQUE INDEX ON users (name, (age % 2)) INCLUDE (mail)", user(name="'Ann'"), user(name="'Ann'", age="32"), "unique"),
    ("CREATE UNIQUE INDEX ON users (name) WHERE age > 30", user(name="'Ann'"),
     then(user(name="'Ann'"), "UPDATE users SET age = 40"), "unique"),
    ("CREATE UNIQUE INDEX ON users ((name::int)) WHERE number(name)", user(name="'12'"), user(name="'99999999999'"), "unique"),
    ("CREATE UNIQUE INDEX ON users ((true))", USER, user(), "unique"),
    ("CREATE UNIQUE INDEX ON users (name text_pattern_ops DESC)", user(), user(name="'Ann'"), "unique"),
    ("ALTER TABLE pairs DROP CONSTRAINT pairs_pkey; ALTER TABLE pairs ADD PRIMARY KEY (a)",
     "INSERT INTO pairs VALUES (1, 1), (2, 1)", "INSERT INTO pairs VALUES (1, 1), (1, 2)", "unique"),
    ("ALTER TABLE family ADD PRIMARY KEY (id)", "INSERT INTO family VALUES (1); INSERT INTO child VALUES (1)",
     "INSERT INTO family VALUES (NULL)", "not-null"),
    ("ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES users", ORDER, order("7, 1"), "foreign-key"),
    (BOTH_KEYS, order("NULL, 9"), order("1, 9"), "foreign-key"),
    (f"{BOTH_KEYS} MATCH FULL", order("1, 2"), order("NULL, 9"), "foreign-key"),
    (f"{BOTH_KEYS} NOT VALID", order("1, 9"), None, ""),
    ("ALTER TABLE users ADD FOREIGN KEY (big) REFERENCES users", then(user(big="2"), "UPDATE users SET big = id"), user(), "foreign-key"),
    ("ALTER TABLE orders VALIDATE CONSTRAINT older", ORDER,
     then(ORDER, "ALTER TABLE orders DISABLE TRIGGER ALL", "UPDATE orders SET user_id = 9",
          "ALTER TABLE orders ENABLE TRIGGER ALL"), "foreign-key"),
    ("CREATE TABLE teams (id int PRIMARY KEY); ALTER TABLE users ADD team int REFERENCES teams", USER, None, "foreign-key"),
    ("ALTER TABLE users ADD CHECK (age > 30)", then(user(age="NULL"), "DELETE FROM users WHERE id = 1"), user(), "check"),
    ("ALTER TABLE users ADD CHECK (age > 30) NOT VALID", user(), None, ""),
    ("ALTER TABLE users VALIDATE CONSTRAINT old", USER, then("ALTER TABLE users DROP CONSTRAINT old", user(age="300"),
     "ALTER TABLE users ADD CONSTRAINT old CHECK (age < 200) NOT VALID"), "check"),
    ("ALTER TABLE users ADD CHECK (10 / (age - 30) >= 0)", then(user(age="31"), "DELETE FROM users WHERE id = 1"), USER, "check"),
    ("ALTER TABLE family ADD CHECK (id > 0)", "INSERT INTO child VALUES (1)", "INSERT INTO child VALUES (-1)", "check"),
    ("ALTER TABLE family ADD CHECK (id > 0) NO INHERIT", "INSERT INTO child VALUES (-1)", "INSERT INTO family VALUES (-1)", "check"),
    ("ALTER TABLE family ALTER name SET NOT NULL", "INSERT INTO child VALUES (1, 'x')", "INSERT INTO child VALUES (1)", "not-null"),
    ("ALTER TABLE parts ALTER note SET NOT NULL", "INSERT INTO parts VALUES (1, 'eu', 'x')",
     "INSERT INTO parts VALUES (1, 'eu')", "not-null"),
    ("ALTER TABLE parts ADD UNIQUE (id, region)", "INSERT INTO parts VALUES (1, 'eu'), (1, 'us')",
     "INSERT INTO parts VALUES (1, 'us'), (1, 'us')", "unique"),
    ("ALTER TABLE users ALTER big TYPE int", USER, user(big="9999999999"), "type"),
    ("ALTER TABLE users ALTER price TYPE numeric(5, 2)", USER, user(price="12345"), "type"),
    ("ALTER TABLE users ALTER code TYPE varchar(3)", USER, user(code="'abcd'"), "type"),
    ("ALTER TABLE users ALTER code TYPE varchar(3)", user(code="'abc   '"), None, "type"),
    ("ALTER TABLE users ALTER code TYPE char(3)", USER, user(code="'abcd'"), "type"),
    ("ALTER TABLE users ALTER big TYPE varchar(2)", USER, user(big="123"), "type"),
    ("ALTER TABLE users ALTER padded TYPE varchar(3)", user(padded="'ab'"), user(padded="'abcd'"), "type"),
    ("ALTER TABLE users ALTER flags TYPE bit varying(2)", user(flags="B'10'"), user(flags="B'101'"), "type"),
    ("ALTER TABLE users ALTER flags TYPE bit(2)", user(flags="B'10'"), user(flags="B'1'"), "type"),
    (CAST.format("code", "varchar(3)"), user(code="'abcd'"), None, "type"),
    (f"{CAST.format('name', 'text')}, ALTER code TYPE varchar(3)", USER, user(code="'abcd'"), "type"),
    (f"{CAST.format('mail', 'bytea')}; {CAST.format('born', 'date')}", user(born="'2020-01-01'"), user(born="'soon'"), "type"),
    (CAST.format("name", "integer"), then(user(name="'12'"), "DELETE FROM users WHERE id = 1"), user(), "type"),
    (CAST.format("feeling", "public.mood"), user(), user(feeling="'angry'"), "type"),
    (CAST.format("born", "timestamp with time zone"), user(born="'2020-01-01'"), user(born="'soon'"), "type"),
    (CAST.format('"name"', "public.code"), user(), user(name="'much too long'"), "type"),
    ("ALTER TABLE users ALTER name TYPE code", user(), user(name="'much too long'"), "type"),
    ("ALTER TABLE users ADD UNIQUE (price); ALTER TABLE users ALTER price TYPE numeric(12, 0)",
     user(price="11.6"), then(user(price="10.6"), "UPDATE users SET price = 10.7 WHERE id = 1"), "unique"),
    ("ALTER TABLE users ALTER id TYPE bigint", USER, None, ""),
    ("ALTER TABLE users ALTER code TYPE text", USER, None, ""),
    ("""ALTER TABLE "we"" ird; drop table" ALTER "UPPER" SET NOT NULL""",
     """INSERT INTO "we"" ird; drop table" VALUES ('x', 1, 1)""", WEIRD, "not-null"),
    ("""ALTER TABLE "we"" ird; drop table" ADD CONSTRAINT "%s; '" UNIQUE ("co""l; --", "SELECT")""", WEIRD, f"{WEIRD}; {WEIRD}", "unique"),
    ("""ALTER TABLE "we"" ird; drop table" ADD CHECK ("co""l; --" <> '%s'';--')""", WEIRD,
     """INSERT INTO "we"" ird; drop table" VALUES ('%s'';--')""", "check"),
    ("""ALTER TABLE "we"" ird; drop table" ADD FOREIGN KEY ("SELECT") REFERENCES users""", "SELECT 1", WEIRD, "foreign-key"),
    ("""ALTER TABLE "we"" ird; drop table" ALTER "co""l; --" TYPE int USING "co""l; --"::int""", "SELECT 1", WEIRD, "type"),
)  # fmt: skip # one row for each case reads as a table


TABLES = 'users, orders, pairs, "we"" ird; drop table", parts, family, child'


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer) -> Pair:
    """Return a shadow and a target of the schema."""
    return Pair.make(postgres, SCHEMA, "SELECT 1")


@pytest.fixture(scope="module")
def own(pair: Pair) -> typing.Iterator[psycopg.Connection[typing.Any]]:
    """Return a session with the shadow that records what it does."""
    with psycopg.connect(pair.server.url(pair.shadow), autocommit=True) as session:
        install(session, [])
        arm(session, on=True)
        yield session


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_the_rows_is_what_becomes_of_the_change(
    pair: Pair, own: psycopg.Connection[typing.Any], case: tuple[str, str | None, str | None, str]
) -> None:
    change, good, bad, kind = case
    questions = pair.questions_of(own, change)
    for rows, fails in ((good, False), (bad, True)):
        if rows is None:
            continue
        pair.run(pair.target, f"TRUNCATE {TABLES}; {rows}")
        answers = pair.ask(questions)
        really = pair.fails(change)
        assert bool(really) == fails, really
        said = {(one["kind"], one["outcome"]) for one in answers}
        assert said <= {(one["kind"], outcome) for one in answers for outcome in ("passes", "fails")}, answers
        assert any(outcome == "fails" for _kind, outcome in said) == fails, answers
        assert ((kind, "fails" if fails else "passes") in said) if kind else not said, answers
