# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about Sqitch: what it would undo by itself, its order, its registry, and changes that were reworked."""

from __future__ import annotations

import re
import subprocess
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.migrate_sqitch import Change, described, parse_plan

from tests.unit.plugins.modules.db_migrate_called import Result, Run
from tests.unit.plugins.modules.migration_trees import SqitchTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> SqitchTree:
    return SqitchTree(tmp_path, postgres, database)


def test_what_was_applied_before_the_change_that_fails_stays(app: SqitchTree, run: Run) -> None:
    """Sqitch by itself would revert all that this run has deployed, the table of users with them."""
    app.add(4, "SELECT 1/0")
    failed = run(fails=True)
    assert (failed["current"], names(failed["applied"])) == (app.revisions(3), app.revisions(1, 2, 3))
    assert app.users() == 1


def test_a_change_that_was_planned_late_is_refused_in_words(app: SqitchTree, run: Run) -> None:
    """Sqitch by itself would say that there is nothing to deploy."""
    run()
    app.add(4, "SELECT 1")
    app.plan = ["step1", "step4", "step2", "step3"]
    app.write_plan()
    refused = run(fails=True)
    assert "step4, planned before step3, which is applied; nothing was changed" in refused["msg"]
    assert run(state="gathered")["current"] == app.revisions(3)


def test_a_registry_of_its_own_and_who_did_it(app: SqitchTree, run: Run) -> None:
    own: Result = {"sqitch_registry": "meta", "environment": {"SQITCH_FULLNAME": "Ann"}}
    assert run(**own)["changed"]
    assert app.query("SELECT DISTINCT committer_name, committer_email FROM meta.changes") == [
        ("Ann", "baton.release@localhost")
    ]
    assert not run(**own)["changed"]
    assert run(**own, state="downgraded", revision="-1")["current"] == app.revisions(2)


def test_a_change_that_was_reworked_is_told_from_what_it_was(app: SqitchTree, run: Run) -> None:
    run()
    who = {"SQITCH_FULLNAME": "Ann", "SQITCH_EMAIL": "ann@example.com", "PATH": "/usr/bin:/bin"}
    for words in (["tag", "v1", "-n", "v1"], ["rework", "step2", "-n", "again"]):
        subprocess.run(["sqitch", *words], cwd=app.tree, env=who, check=True, capture_output=True)
    (app.tree / "deploy" / "step2.sql").write_text("INSERT INTO users (name) VALUES ('again');\n", encoding="utf-8")
    (app.tree / "revert" / "step2.sql").write_text("DELETE FROM users WHERE name = 'again';\n", encoding="utf-8")
    seen = run(state="gathered")
    (again,) = names(seen["pending"])
    assert seen["current"] == app.revisions(3)
    assert re.fullmatch("step2@[0-9a-f]{8}", again)
    assert run()["current"] == [again]
    assert app.users() == 2
    # What an older tree calls step2 is still the first one.
    later = (app.tree / "sqitch.plan").read_text(encoding="utf-8")
    app.write_plan()
    older = run(state="gathered")
    assert (older["heads"], older["ahead"]) == (app.revisions(3), [again])
    (app.tree / "sqitch.plan").write_text(later, encoding="utf-8")
    assert "would undo " + again in run(state="downgraded", keep=["step2", "step3"], check=True)["msg"]
    assert run(state="downgraded", revision="step3")["current"] == app.revisions(3)
    assert app.users() == 1


def test_it_is_rehearsed_like_any_other_tool(app: SqitchTree, run: Run) -> None:
    run()
    app.add(4, "ALTER TABLE users ADD born date", "ALTER TABLE users DROP born", phase="expand")
    told = run(rehearsal="required")["rehearsal"]
    assert [(one["level"], one["kind"], one["name"]) for one in told["changes"]] == [
        ("expand", "column", "public.users.born")
    ]
    assert (told["down"]["restores"], told["again"]["equal"]) == (True, True)


def test_what_is_missing_is_named(app: SqitchTree, run: Run) -> None:
    assert "no program /nonexistent" in run(fails=True, sqitch_program="/nonexistent")["msg"]
    (app.tree / "sqitch.conf").unlink()
    assert "no sqitch.conf in" in run(fails=True)["msg"]
    assert run(check=True)["known"] is False


CHANGE = Change("1" * 40, "shop", "users", "make users")


@pytest.mark.parametrize(
    ("deploy", "revert", "phase", "down"),
    [
        ("BEGIN;\nSELECT 1;\nCOMMIT;", "-- Revert\nBEGIN;\n-- XXX\nCOMMIT;", "unmarked", "empty"),
        ("-- phase: contract\nDROP TABLE x;", "CREATE TABLE x ();", "contract", "yes"),
        ("-- phase:expand \r\n", "/* nothing\n to do */", "expand", "empty"),
        ("", None, "unmarked", "refuses"),
    ],
)
def test_the_scripts_say_phase_and_way_down(deploy: str, revert: str | None, phase: str, down: str) -> None:
    one = described(CHANGE, deploy, revert)
    assert (one.revision, one.description, one.phase, one.down) == ("users", "make users", phase, down)


def test_only_changes_are_read_from_what_is_printed() -> None:
    text = f"# Project: shop\nperl: warning: no locale\n\n{'1' * 40}\tshop\tusers\tmake users\n{'2' * 40}\tshop\tx\t\n"
    assert [(one.name, one.note) for one in parse_plan(text)] == [("users", "make users"), ("x", "")]
