# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the drivers of Flyway and Liquibase refuse before they run anything; a script answers as Flyway documents."""

from __future__ import annotations

import json
import os
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils._liquibase_reader import Changeset
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migrate_flyway import Flyway
from ansible_collections.baton.release.plugins.module_utils.migrate_liquibase import Liquibase, described
from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, Way
from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings


def settings(tree: Path) -> ToolSettings:
    return ToolSettings(
        project_dir=tree,
        environment={"DATABASE_URL": "postgresql://shop@127.0.0.1:1/shop"},
        env_files=[],
        database_url_variable="DATABASE_URL",
        ddl_lock_timeout="5s",
        timeout=30.0,
    )


class Answers:
    """A program that answers what it is told to, and notes what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "flyway"
        self.program.write_text(
            f'#!/bin/sh\necho "$1" >> {directory}/asked\ncat {directory}/answer\n', encoding="utf-8"
        )
        self.program.chmod(0o755)

    def answer(self, **said: typing.Any) -> None:
        (self.directory / "answer").write_text(json.dumps({"database": "shop", **said}), encoding="utf-8")

    @property
    def asked(self) -> list[str]:
        return (self.directory / "asked").read_text(encoding="utf-8").split()


def row(version: str, state: str, **more: str) -> dict[str, str]:
    return {"category": "Versioned", "version": version, "state": state, "undoable": "Yes", **more}


ROWS = [
    row("1", "Success"),
    row("2", "Pending"),
    row("3", "Pending"),
    row("", "Pending", category="Repeatable", description="all views"),
]


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path)


@pytest.fixture
def flyway(answers: Answers) -> Flyway:
    return Flyway(settings(answers.directory), program=str(answers.program), down=False)


@pytest.fixture
def session() -> typing.Iterator[LockSession]:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield LockSession(descriptor, 180000, list, lambda: True)
    os.close(descriptor)


def up(schema: Schema, *targets: str) -> Way:
    return Way(schema, up=True, targets=targets, steps=tuple(schema.pending(targets)), nothing="")


def test_a_flyway_that_reads_another_database_is_refused(flyway: Flyway, answers: Answers) -> None:
    answers.answer(database="other", migrations=ROWS)
    with pytest.raises(BatonError, match="a Flyway that reads the database other"):
        flyway.schema()


def test_what_flyway_would_apply_besides_is_refused(flyway: Flyway, answers: Answers, session: LockSession) -> None:
    answers.answer(migrations=ROWS)
    way = up(flyway.schema(), "2")
    with pytest.raises(BatonError, match="R__all_views, which Flyway would apply as well"):
        flyway.up(way, session)
    assert answers.asked == ["info"]


def test_what_says_that_it_failed_has_failed_however_it_ended(
    flyway: Flyway, answers: Answers, session: LockSession
) -> None:
    answers.answer(migrations=ROWS[:2])
    way = up(flyway.schema(), "2")
    answers.answer(success=False)
    assert (flyway.up(way, session).returncode, answers.asked) == (1, ["info", "migrate"])


def test_nothing_is_undone_while_one_is_noted_as_failed(flyway: Flyway, answers: Answers, session: LockSession) -> None:
    answers.answer(migrations=[row("1", "Success"), row("2", "Failed")])
    schema = flyway.schema()
    way = Way(schema, up=False, targets=("base",), steps=tuple(schema.above("base")), nothing="")
    with pytest.raises(BatonError, match="2, which Flyway has noted as failed"):
        flyway.down(way, session)
    assert answers.asked == ["info"]


def test_a_rollback_by_number_that_would_undo_something_else_is_refused(tmp_path: Path, session: LockSession) -> None:
    """As with a changeset that was changed and counts as pending, which Liquibase counts as one that ran."""
    (tmp_path / "changelog.xml").touch()
    tool = Liquibase(settings(tmp_path), program="/bin/false", changelog="changelog.xml", down=True)
    ran = [Changeset("a.xml", "ann", str(number), "") for number in (1, 2, 3)]
    tool._tree, tool._ran = ran, ran
    steps = tuple(one for one in _revisions(ran) if one.revision.endswith("::2::ann"))
    schema = Schema((), (), _revisions(ran), tuple(one.name for one in ran[:2]))
    with pytest.raises(BatonError, match=r"a\.xml::3::ann, which a rollback would undo as well; nothing was changed"):
        tool.down(Way(schema, up=False, targets=("a.xml::1::ann",), steps=steps, nothing=""), session)


def _revisions(changesets: list[Changeset]) -> tuple[Revision, ...]:

    return tuple(described(one) for one in changesets)
