# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is read of Liquibase: its properties, names, checksums and comments, and what it prints."""

from __future__ import annotations

import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils._liquibase_reader import (
    Changeset,
    named,
    parse_listed,
    parse_undone,
)
from ansible_collections.baton.release.plugins.module_utils._liquibase_tables import configured
from ansible_collections.baton.release.plugins.module_utils.migrate_liquibase import changed, described

if typing.TYPE_CHECKING:
    from pathlib import Path


def test_what_the_app_tells_it_in_files_and_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "liquibase.properties").write_text(
        "# changelogFile: no.xml\nchangeLogFile: a.xml\nliquibase.command.defaultSchemaName=shop\n\nempty\n",
        encoding="utf-8",
    )
    (tmp_path / "liquibase.local.properties").write_text("databaseChangelogTableName = mine\n", encoding="utf-8")
    told = configured(
        tmp_path, {"LIQUIBASE_COMMAND_CHANGELOG_FILE": "b.xml", "LIQUIBASE_LIQUIBASE_SCHEMA_NAME": "meta"}
    )
    assert told["changelogfile"] == "b.xml"
    assert (told["defaultschemaname"], told["databasechangelogtablename"]) == ("shop", "mine")
    assert told["liquibaseschemaname"] == "meta"
    (tmp_path / "other.properties").write_text("changelogFile=c.xml\n", encoding="utf-8")
    assert configured(tmp_path, {"LIQUIBASE_DEFAULTS_FILE": "other.properties"})["changelogfile"] == "c.xml"


@pytest.mark.parametrize(
    "path", ["db/a.xml", "classpath:db/a.xml", "classpath:/db/a.xml", "./db/a.xml", "/db//a.xml", "db\\a.xml"]
)
def test_a_path_is_the_same_wherever_it_was_found(path: str) -> None:
    assert named(path) == "db/a.xml"


def one(id_: str, checksum: str) -> Changeset:
    return Changeset("a.xml", "ann", id_, checksum)


def test_only_checksums_of_one_kind_are_compared() -> None:
    tree = [one("1", "9:aa"), one("2", "9:bb"), one("3", "9:cc"), one("4", "9:dd")]
    ran = [one("1", "9:aa"), one("2", "9:b0"), one("3", "8:c0"), one("4", ""), one("5", "9:e0")]
    assert changed(tree, ran) == {"a.xml::2::ann"}


@pytest.mark.parametrize(
    ("comments", "phase", "description"),
    [
        ("", "unmarked", "createTable"),
        ("phase: contract", "contract", "createTable"),
        ("phase:expand; add users", "expand", "add users"),
        ("add users\n  phase: contarct", "contarct", "add users"),
        ("the next phase: later", "unmarked", "the next phase: later"),
    ],
)
def test_the_comment_says_phase_and_description(comments: str, phase: str, description: str) -> None:
    found = described(Changeset("a.xml", "ann", "1", "", "createTable", comments))
    assert (found.revision, found.phase, found.description) == ("a.xml::1::ann", phase, description)


def test_only_changesets_are_read_from_what_is_printed() -> None:
    assert parse_listed(
        "Starting\n2 changesets have not been applied\n     a.xml::1::ann\n     ./b.xml::x y::ann\n"
    ) == [
        "a.xml::1::ann",
        "b.xml::x y::ann",
    ]
    script = (
        "-- Rollback 3 Change(s) Script\n\n-- Rolling Back ChangeSet: a.xml::2::ann\nDROP TABLE x;\n\n"
        "-- Rolling Back ChangeSet: a.xml::1::ann\n-- nothing\n\n-- Release Database Lock\n"
    )
    assert parse_undone(script) == {"a.xml::2::ann": "yes", "a.xml::1::ann": "empty"}
