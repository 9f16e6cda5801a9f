# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The gate on the rows of the target, with the real dbmate: they are asked each time, and refused before anything is changed."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from tests.unit.plugins.modules.db_migrate_called import Result, Run
from tests.unit.plugins.modules.migration_trees import DbmateTree

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

REQUIRED: Result = {"rehearsal": "required", "allow_contract": True, "allow_review": True}
SAVES = """DO $$DECLARE one record;
BEGIN
  FOR one IN SELECT id FROM users LOOP UPDATE users SET mail = 'm' || one.id WHERE id = one.id; END LOOP;
END$$"""


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str, capsys: pytest.CaptureFixture[str]) -> DbmateTree:
    """Return an app whose migrations 0001 to 0003 are applied, with three users without mail."""
    made = DbmateTree(tmp_path, postgres, database)
    made.call(capsys)
    made.query("INSERT INTO users (name) VALUES ('of a user'), ('of a user')")
    return made


def written(app: DbmateTree) -> list[tuple[typing.Any, ...]]:
    """Return how many rows were ever written, and the last transaction that got a number."""
    return app.query(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::int, pg_current_xact_id_if_assigned()::text,"
        " (SELECT max(xmin::text::bigint) FROM pg_class) FROM pg_stat_user_tables"
    )


def test_rows_in_the_way_are_refused_whatever_is_allowed_and_asked_again_when_the_rehearsal_is_not(
    app: DbmateTree, run: Run
) -> None:
    up = "ALTER TABLE users ALTER mail SET NOT NULL; CREATE UNIQUE INDEX ON users (name)"
    app.add(4, up, "ALTER TABLE users ALTER mail DROP NOT NULL")
    before = written(app)
    refused = run(fails=True, **REQUIRED)
    assert refused["msg"] == (
        "Found: not-null public.users.mail is to refuse NULL, and in public.users 3 rows are NULL there (0004);"
        " unique public.users_name_idx is to hold (CREATE UNIQUE INDEX users_name_idx ON public.users USING btree (name)), and in"
        " public.users 1 values are in more than one row (0004); read in the database, nothing was changed."
        " Expected: no rows on which the migrations fail half-way."
        " To do: give the rows that are NULL a value; remove or change rows until each value is there once;"
        " by hand, or in the migration before it does this, and run again."
    )
    assert "of a user" not in json.dumps(refused)
    assert written(app) == before
    assert app.query("SELECT max(version) FROM schema_migrations") == [("0003",)]

    app.query("UPDATE users SET mail = 'm'")
    once = run(fails=True, **REQUIRED)
    assert [one["outcome"] for one in once["rehearsal"]["prechecks"]] == ["passes", "fails"]
    assert (once["rehearsal"]["cached"], once["rehearsal"]["digest"]) == (True, refused["rehearsal"]["digest"])
    # Check mode rehearses nothing, and asks what is there to be asked.
    assert run(check=True, fails=True, **REQUIRED)["msg"] == once["msg"]

    app.query("UPDATE users SET name = id")
    done = run(**REQUIRED)
    assert (done["current"], done["rehearsal"]["cached"]) == (["0004"], True)
    assert (
        "rows: not-null public.users.mail is to refuse NULL: no row is in the way (0004)" in done["rehearsal"]["report"]
    )


def test_a_report_says_it_and_lets_the_migration_fail(app: DbmateTree, run: Run) -> None:
    app.add(4, "ALTER TABLE users ALTER mail SET NOT NULL")
    told = run(state="rehearsed")
    assert told["msg"].endswith("found: contract, and rows of the database are in the way of 1 of its changes")
    assert (
        "rows: not-null public.users.mail is to refuse NULL: 3 rows are NULL there (0004)"
        in told["rehearsal"]["report"]
    )
    assert "contains null values" in run(rehearsal="report", fails=True)["msg"]


@pytest.mark.parametrize("fill", ["UPDATE users SET mail = 'm' || id WHERE mail IS NULL", SAVES], ids=["SQL", "code"])
def test_what_a_migration_mends_before_is_not_refused(app: DbmateTree, run: Run, fill: str) -> None:
    app.add(4, fill)
    app.add(5, "ALTER TABLE users ALTER mail SET NOT NULL")
    done = run(**REQUIRED)
    (one,) = done["rehearsal"]["prechecks"]
    assert (one["outcome"], one["rows"], one["revisions"]) == ("undecided", 3, ["0005"])
    assert done["current"] == ["0005"]


def test_rows_in_the_way_of_the_way_down_are_refused_too(app: DbmateTree, run: Run) -> None:
    app.query("UPDATE users SET mail = 'm' || id")
    app.add(4, "ALTER TABLE users ALTER mail DROP NOT NULL", "ALTER TABLE users ALTER mail SET NOT NULL")
    app.query("ALTER TABLE users ALTER mail SET NOT NULL")
    run()
    app.query("INSERT INTO users (name) VALUES ('x')")
    options: Result = {"state": "downgraded", "keep": ["0003"], **REQUIRED}
    assert (
        "not-null public.users.mail is to refuse NULL, and in public.users 1 rows are NULL there"
        in run(fails=True, **options)["msg"]
    )
    app.query("UPDATE users SET mail = 'm' WHERE mail IS NULL")
    assert run(**options)["current"] == ["0003"]


def test_how_long_a_question_may_take_is_an_option(app: DbmateTree, run: Run) -> None:
    app.query(
        "CREATE FUNCTION slow(x int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN true; END'"
    )
    app.add(4, "ALTER TABLE users ADD CHECK (slow(id))")
    (one,) = run(state="rehearsed", precheck_timeout=0.1)["rehearsal"]["prechecks"]
    assert (one["outcome"], one["why"]) == ("unchecked", "took longer than 0.1 s")
    done = run(precheck_timeout=30, **REQUIRED)
    assert (done["rehearsal"]["prechecks"][0]["outcome"], done["rehearsal"]["cached"]) == ("passes", True)


def test_what_the_way_up_did_to_rows_is_told_before_it_is_undone(app: DbmateTree, run: Run) -> None:
    """The schema comes back as it was, and the rows do not."""
    up = "DELETE FROM users; ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '')"
    app.add(4, up, "ALTER TABLE users DROP CONSTRAINT named; UPDATE users SET mail = 'none'")
    told = run(state="rehearsed")["rehearsal"]
    assert [(one["tag"], one["tables"]) for one in told["down"]["changes_data"]] == [("UPDATE", ["public.users"])]
    assert any(line.startswith("the way down changes data of public.users, ") for line in told["report"])
    run()
    back = run(state="rehearsed", way="down", revision="0003")["rehearsal"]
    (change,) = back["down"]["changes_data"]
    assert (change["tag"], change["revision"]) == ("DELETE", "0004")
    (line,) = (one for one in back["report"] if one.startswith("the way up changed data of public.users, "))
    assert line.endswith(" (DELETE, 0004), and the way down may not bring back what was there")
    assert any(one.startswith("UPDATE public.users: changes data of public.users") for one in back["report"])
    assert app.users() == 0
